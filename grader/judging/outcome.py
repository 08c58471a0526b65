"""What a run of an exercise's tests showed, and the record that is made of it: here and once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.syllabus import Exercise
from grader.judging.comparison import banned_call
from grader.judging.failure_text import TestFailure, explained, told
from grader.judging.localization import failing_functions
from grader.judging.summary import diagnosed
from grader.judging.trial import Run, Trial
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line
from grader.observation.kind import Kind
from grader.results.record import ExerciseResult, NamedMistake, TestResult, share

if TYPE_CHECKING:
    from grader.judging.session import CourseSession

_MOST_FLAGS = 50
"""Banned calls of one exercise that are listed one by one."""


@dataclass(frozen=True)
class Outcome:
    """An exercise's trial after its tests have run, and how its tests went in the file's order.

    `seconds` is how long the tests took; `profile` how far the answer was locked in.
    """

    exercise: Exercise
    trial: Trial
    runs: tuple[Run, ...]
    seconds: float
    seed: int = 0
    profile: str = "none"

    @classmethod
    def of(cls, trial: Trial, session: CourseSession, seconds: float) -> Outcome:
        """The outcome of a trial in a session whose tests have run."""
        profile = session.profile if session.isolate else "none"
        runs = tuple(trial.runs.values())
        return cls(trial.exercise, trial, runs, seconds, session.seed, profile)

    @property
    def passed(self) -> bool:
        return bool(self.runs) and all(run.passed for run in self.runs)

    @property
    def share(self) -> Fraction:
        """The part of the exercise's points that was earned."""
        return share((run.weight, run.passed) for run in self.runs)


def failures_of(outcome: Outcome, root: Path) -> Iterator[TestFailure]:
    """The tests that found something wrong with the answer.

    Paths in what they say are relative to `root`. A test that failed without finding anything broke
    down itself and is left out.
    """
    for run in outcome.runs:
        if run.finding is not None and not run.passed:
            yield TestFailure(
                outcome.exercise.id,
                run.test,
                run.sentence,
                run.finding,
                seconds=outcome.exercise.limits.call_seconds,
                root=root,
                seed=outcome.seed,
            )


def result_of(
    outcome: Outcome,
    root: Path,
    *,
    when: float,
    file_hash: str,
    lines: Iterable[str] = (),
    details: Iterable[str] = (),
) -> ExerciseResult:
    """The record of a run that has just ended.

    Args:
        outcome: the run.
        root: the folder that paths in messages are relative to.
        when: the moment that the run began.
        file_hash: the answer's, as it was then.
        lines: what to say about the failures; `complaints` makes them for a learner.
        details: the same at length.
    """
    failures = {failure.test: failure for failure in failures_of(outcome, root)}
    return ExerciseResult(
        exercise=outcome.exercise.id,
        points=outcome.exercise.points,
        seed=outcome.seed,
        profile=outcome.profile,
        when=when,
        seconds=outcome.seconds,
        file_hash=file_hash,
        tests=tuple(_test_result(run, failures.get(run.test), outcome) for run in outcome.runs),
        flags=tuple(_flags(outcome.runs)),
        lines=tuple(lines),
        details=tuple(details),
        failing=failing_functions(outcome),
    )


def _test_result(run: Run, failure: TestFailure | None, outcome: Outcome) -> TestResult:
    about = run.test, run.sentence, run.weight
    if run.passed:
        if not run.banned:
            return TestResult(*about, Kind.PASSED)
        return TestResult(*about, Kind.BANNED, (sanitize_line(f"  {banned_call(run.banned[0])}"),))
    if failure is None:  # the test itself broke down
        return TestResult(*about, Kind.NOT_GRADED)
    mistakes = outcome.trial.diagnosis.named(run.test)
    named = tuple(NamedMistake(mistake.id, mistake.sentence) for mistake in mistakes)
    message = _message(diagnosed(failure, outcome.trial))
    return TestResult(*about, failure.finding.kind, message, named)


def _message(failure: TestFailure) -> tuple[str, ...]:
    """What a failed test says, below its sentence: the mistake first, if one is known."""
    title, *lines = told(failure)
    if failure.mistakes:
        lines.insert(0, f"  {explained(failure.mistakes, failure.finding.kind)}")
    return tuple(lines or [title])


def _flags(runs: Sequence[Run]) -> Iterator[str]:
    """The banned calls that were noted, each once and not too many of them."""
    hits = dict.fromkeys(hit for run in runs for hit in run.banned)
    yield from dict.fromkeys(
        sanitize_line(banned_call(hit)) for hit in itertools.islice(hits, _MOST_FLAGS)
    )
    if len(hits) > _MOST_FLAGS:
        yield say("grading.more_flags", count=len(hits) - _MOST_FLAGS)
