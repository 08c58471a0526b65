"""Run one exercise's tests for `grader watch`, again and again, in a process that stays warm."""

from __future__ import annotations

import gc
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from grader.course.answers import NoAnswer, read_source
from grader.course.course import Course
from grader.course.files import file_hash
from grader.course.variants import read_variants
from grader.isolation.machine import best_profile
from grader.judging.complaints import complaints
from grader.judging.options import RunOptions
from grader.judging.outcome import Outcome, result_of
from grader.judging.run import RunObserver, TestsFailed, run_tests
from grader.learner.history import RunRecord
from grader.learner.watch.verdict import Verdict
from grader.messages.catalog import language, say, sentences
from grader.observation.late import late_imports
from grader.observation.learner_warnings import split

_MOST_WARNINGS = 20
_MOST_PRINTED = 200
"""Lines of what an answer printed that are shown."""


class Runs:
    """Runs tests on inputs of one seed, and keeps what the reference says to them."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._caches: dict[str, dict[Any, Any]] = {}
        self._options = RunOptions(seed=secrets.randbelow(2**31), course=course)
        self._profile = best_profile()

    def warm(self, id: str) -> None:
        """Run the right answer once: what that imports, and what the reference says, is kept."""
        if id in self._caches:
            return
        exercise = self._course.syllabus.find(id)
        given = self._course.paths(exercise).solution.exists()
        impl = "solutions" if given else "minimind_ref"
        self._caches[id] = {}
        # What a right answer does without, and a wrong one would wait for.
        read_variants(self._course.paths(exercise).mistakes)
        sentences(language())
        with suppress(TestsFailed):  # the run to come says so
            run_tests([exercise], replace(self._options, impl=impl, cache=self._caches[id]))
        gc.collect()
        gc.freeze()  # a collection in a runner would copy every page that it shares with this one

    def imports(self, id: str) -> tuple[str, ...]:
        """What a worker for the learner's answer must have imported before the answer is run."""
        exercise = self._course.syllabus.find(id)
        try:
            text = read_source(self._course.paths(exercise).stub).text
        except NoAnswer:  # the run to come says so
            text = ""
        return (*exercise.imports, *late_imports(text))

    def run(self, id: str, zygote: Any, wait: Callable[[], int]) -> Verdict:
        """Collect an exercise's tests, wait for the number of a request, and run them."""
        exercise = self._course.syllabus.find(id)
        observer = _Waiting(wait=wait, answer=self._course.paths(exercise).stub)
        options = replace(
            self._options,
            isolate=True,
            profile=self._profile,
            zygote=zygote,
            cache=self._caches.get(id),
        )
        try:
            (outcome,) = run_tests([exercise], options, observer)
        except TestsFailed as failure:
            return Verdict(observer.number or wait(), id, problem=str(failure))
        return _verdict(outcome, self._course.root, observer)


@dataclass(eq=False)
class _Waiting(RunObserver):
    """Holds a run back between collecting the tests and the first of them."""

    wait: Callable[[], int] = lambda: 0
    answer: Path = Path()
    number: int = 0
    when: float = 0.0
    file_hash: str = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        self.number = self.wait()
        self.when = time.time()
        self.file_hash = file_hash(self.answer)


def _verdict(outcome: Outcome, root: Path, run: _Waiting) -> Verdict:
    exercise = outcome.exercise
    result = result_of(
        outcome,
        root,
        when=run.when,
        file_hash=run.file_hash,
        lines=complaints(outcome, root),
    )
    return Verdict(
        run.number,
        exercise.id,
        record=RunRecord.of(result, "watch"),
        lines=result.lines,
        printed=tuple(_printed(outcome, root)),
    )


def _printed(outcome: Outcome, root: Path) -> Iterator[str]:
    """The answer's warnings and what it printed in the tests that it failed, each text once."""
    told = [(run, *split(run.printed)) for run in outcome.runs]
    warned = dict.fromkeys(line for _, warnings, _ in told for line in warnings)
    yield from (line.removeprefix(f"{root}{os.sep}") for line in list(warned)[:_MOST_WARNINGS])
    texts = dict.fromkeys(rest for run, _, rest in told if not run.passed and rest.strip())
    lines = [line for text in texts for line in text.rstrip().splitlines()]
    yield from lines[:_MOST_PRINTED]
    if len(lines) > _MOST_PRINTED:
        yield say("watch.more_lines", count=len(lines) - _MOST_PRINTED)
