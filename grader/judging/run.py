"""Run an exercise's tests by pytest inside this process, and hand back what its trial saw.

Used by everything but the learner's own `pytest`: the progress report, the course check and the
figures. The process must have torch imported with one thread (`grader.plugin` does it).
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from grader.course.syllabus import BrokenCourse, Curriculum, Exercise
from grader.judging.trial import Run, Trial
from grader.messages.catalog import say
from grader.plugin import CourseSession, course_session
from grader.results.record import TRY_AGAIN

_LEFT_OUT = (
    *("warnings", "unraisableexception", "threadexception", "faulthandler", "benchmark"),
    *("logging", "cacheprovider", "junitxml", "pastebin", "doctest", "unittest", "stepwise"),
    *("setuponly", "setupplan", "hypothesispytest", "anyio"),
)
"""Plugins that have nothing to say here, and take a tenth of the time: some collect garbage after
every run, start processes or write files."""


class TestsFailed(BrokenCourse):
    """Pytest could not run the tests at all."""

    __test__ = False


@dataclass
class Observer:
    """The plugin that a run is watched through, and what it overrides.

    `threads` is torch's thread count during the run; `module_for` gives a module to test in place
    of a file; `kept` holds what the reference and mistakes said, between runs of one seed.
    `curriculum` replaces the one on disk, limits and all; `note_bans` is explained at `Trial`.
    `seconds` are what the tests of each file took; `interrupted` says that somebody pressed Ctrl-C.
    """

    threads: int = 1
    module_for: Callable[[Exercise], ModuleType | None] = lambda exercise: None
    kept: dict[Any, Any] | None = None
    zygote: Any = None
    curriculum: Curriculum | None = None
    note_bans: bool = False
    session: CourseSession | None = None
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    interrupted: bool = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # What pytest raises where tests cannot be collected is a kind of it.
        self.interrupted = type(excinfo.value) is KeyboardInterrupt

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.session = course_session(session.config)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[Path(report.location[0]).name] += report.duration


@dataclass(frozen=True)
class Outcome:
    """An exercise's trial after its tests have run, and how its tests went in the file's order."""

    exercise: Exercise
    trial: Trial
    runs: tuple[Run, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return bool(self.runs) and all(run.passed for run in self.runs)

    @property
    def share(self) -> Fraction:
        """The part of the exercise's points that was earned."""
        total = sum(run.weight for run in self.runs)
        earned = sum(run.weight for run in self.runs if run.passed)
        return Fraction(earned, total) if total else Fraction(0)


def run_tests(
    root: Path, exercises: Sequence[Exercise], options: Sequence[str], observer: Observer
) -> list[Outcome]:
    """Run the tests of some exercises in this process, without a word on the terminal.

    Raises TestsFailed where pytest itself failed, with what it said.
    """
    files = [str(exercise.paths(root).test_file) for exercise in exercises]
    arguments = [f"--rootdir={root}", "-c", str(root / "pyproject.toml")]
    arguments += ["-q", "--tb=no", *(f"-pno:{plugin}" for plugin in _LEFT_OUT), *options]
    said = io.StringIO()
    observer.session = None
    observer.seconds.clear()
    with _ours_alone(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main([*arguments, *files], plugins=[_Registration(observer)])
    if observer.interrupted:
        raise KeyboardInterrupt
    ran = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, TRY_AGAIN)
    if not ran or observer.session is None:
        raise TestsFailed(say("running.no_tests", code=int(code), said=said.getvalue().rstrip()))
    trials = observer.session.trials
    outcomes = []
    for exercise in exercises:
        if exercise.id not in trials:
            raise TestsFailed(say("running.no_test_of", exercise=exercise.id))
        trial = trials[exercise.id]
        seconds = observer.seconds[exercise.paths(root).test_file.name]
        outcomes.append(Outcome(exercise, trial, tuple(trial.runs.values()), seconds))
    return outcomes


@contextlib.contextmanager
def _ours_alone() -> Iterator[None]:
    """Without the options that somebody has set for pytest: "-x" would leave tests out."""
    theirs = {name: os.environ.pop(name, None) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in theirs.items() if value is not None})


class _Registration:
    """Registers the observer when pytest configures, before the course's own plugin asks for it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(self._observer, "course-observer")
