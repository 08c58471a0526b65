"""Run an exercise's tests by pytest inside this process, and hand back what its trial saw.

Used by everything but the learner's own `pytest`: the progress report, the course check and the
figures.
"""

from __future__ import annotations

import grader.judging.torch_first  # isort: skip  # noqa: F401

import contextlib
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from grader.course.syllabus import BrokenCourse, Exercise
from grader.judging.options import RunOptions
from grader.judging.outcome import Outcome
from grader.judging.session import CourseSession, course_session
from grader.messages.catalog import say
from grader.results.record import TRY_AGAIN

_LEFT_OUT = (
    *("warnings", "unraisableexception", "threadexception", "faulthandler", "logging"),
    *("cacheprovider", "junitxml", "pastebin", "doctest", "unittest", "stepwise"),
    *("setuponly", "setupplan"),
)
"""Pytest's own plugins that have nothing to say here, and take a tenth of the time: some collect
garbage after every run, start processes or write files."""
_NEEDED = ("--disable-plugin-autoload", "-ppytest_timeout")
"""Plugins that somebody has installed beside the course would shuffle its tests, repeat those that
fail, or seed the generators that answers must leave alone."""


class TestsFailed(BrokenCourse):
    """Pytest could not run the tests at all."""

    __test__ = False


@dataclass(eq=False)
class RunObserver:
    """The plugin that a run is watched through; register one for each run.

    `seconds` are what the tests of each file took; `interrupted` says that somebody pressed Ctrl-C.
    """

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


def run_tests(
    exercises: Sequence[Exercise],
    options: RunOptions,
    observer: RunObserver | None = None,
    *,
    to_first_failure: bool = False,
) -> list[Outcome]:
    """Run the tests of some exercises in this process, and print nothing.

    With `to_first_failure` no test runs after one that failed.

    Raises TestsFailed where pytest itself failed, with what it printed.
    """
    observer = observer or RunObserver()
    course = options.course
    files = [str(course.paths(exercise).test_file) for exercise in exercises]
    arguments = [f"--rootdir={course.root}", "-c", str(course.root / "pyproject.toml")]
    # An isolated answer prints in its own process, so that there is nothing to capture here.
    arguments += ["-q", "--tb=no", *(["-s"] if options.isolate else [])]
    arguments += ["-x"] if to_first_failure else []
    arguments += [*_NEEDED, *(f"-pno:{plugin}" for plugin in _LEFT_OUT), *files]
    printed = io.StringIO()
    with _ours_alone(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = pytest.main(arguments, plugins=[options, observer])
    if observer.interrupted:
        raise KeyboardInterrupt
    ran = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, TRY_AGAIN)
    if not ran or observer.session is None:
        what = printed.getvalue().rstrip()
        raise TestsFailed(say("running.no_tests", code=int(code), said=what))
    trials = observer.session.trials
    outcomes = []
    for exercise in exercises:
        if exercise.id not in trials:
            raise TestsFailed(say("running.no_test_of", exercise=exercise.id))
        trial = trials[exercise.id]
        seconds = observer.seconds[course.paths(exercise).test_file.name]
        outcomes.append(Outcome.of(trial, observer.session, seconds))
    return outcomes


@contextlib.contextmanager
def _ours_alone() -> Iterator[None]:
    """Without the options that somebody has set for pytest: "-x" would leave tests out."""
    theirs = {name: os.environ.pop(name, None) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in theirs.items() if value is not None})
