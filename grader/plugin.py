"""The pytest plugin, which `conftest.py` loads: its options, and what a learner reads.

It decides nothing about right and wrong; see `judging.trial` for that, and `judging.fixtures` for
what tests are written with.
"""

from __future__ import annotations

import grader.judging.torch_first  # isort: skip  # noqa: F401

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest._code.code import TerminalRepr

from grader import early
from grader.course.answers import UsageError
from grader.course.course import Course
from grader.course.syllabus import ROOT, UnknownExercise
from grader.judging.comparison import Finding
from grader.judging.failure_text import TestFailure, render
from grader.judging.options import RunOptions
from grader.judging.session import RUN, CourseSession, begin_session, course_session
from grader.judging.summary import (
    PRINTED,
    diagnosed,
    print_failures,
    print_warnings,
    printed_lines,
)
from grader.judging.trial import Run
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line
from grader.observation.deadline import BACKSTOP
from grader.observation.kind import Kind
from grader.observation.record import Interruption
from grader.observation.trouble import end_at_learner
from grader.results.record import TRY_AGAIN

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter

pytest_plugins = ("grader.judging.fixtures",)

_GRADER = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("course", "the course")
    group.addoption(
        "--impl",
        default="exercises",
        metavar="=WHOSE",
        help="whose answers to test: --impl=exercises (default), =solutions, =minimind_ref or "
        "=DIR, a folder of exNN_*.py; always written with an equals sign",
    )
    group.addoption(
        "--own",
        action="store_true",
        help="take prerequisites from the same answers instead of from the solutions",
    )
    group.addoption("--seed", default="0", metavar="N|random", help="seed of all test inputs")
    group.addoption("--device", default="cpu", help="where the answer runs, e.g. cuda")
    group.addoption(
        "--isolate",
        action="store_true",
        help="run the answer in a separate process, as the grader does",
    )
    group.addoption(
        "--sandbox",
        choices=("auto", "process", "light", "full"),
        default="auto",
        help="how far a separate process is locked in; auto takes light where the machine can",
    )
    group.addoption(
        "--variant",
        metavar="ID",
        help="put a known mistake or alternative over the answer (for authors of tests)",
    )


def pytest_configure(config: pytest.Config) -> None:
    early.refuse_space(list(config.invocation_params.args))
    config.addinivalue_line("markers", "weight(n): a test's share of its exercise's points")
    given = next((p for p in config.pluginmanager.get_plugins() if isinstance(p, RunOptions)), None)
    try:
        options = given or typed_options(config)
        session = CourseSession(options, typed=given is None, benchmarks=_is_for_benchmarks(config))
    except (UsageError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None
    begin_session(config, session)
    if session.tests_own_answers:
        from grader.learner.attempts import Attempts  # its history would be read for nothing

        config.pluginmanager.register(Attempts())
    config.args[:] = [_tests_of(argument, config) for argument in config.args]
    if session.tests_own_answers and session.benchmarks:
        _keep_timings(config, session)


def _keep_timings(config: pytest.Config, session: CourseSession) -> None:
    """Have pytest-benchmark write what it measures of one exercise where the report finds it."""
    from grader.learner.timings import timings_file

    files = {Path(argument.partition("::")[0]) for argument in config.args}
    exercises = [session.exercise_of(config.invocation_params.dir / file) for file in files]
    if len(exercises) != 1 or exercises[0] is None or config.getoption("benchmark_json"):
        return
    file = timings_file(exercises[0], session.course.root)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
    if os.access(file.parent, os.W_OK):  # else the table on the screen has to be enough
        config.option.benchmark_json = file


def typed_options(config: pytest.Config) -> RunOptions:
    """What was chosen on the command line. Raises UsageError for a seed that is none."""
    option = config.getoption
    return RunOptions(
        impl=option("--impl"),
        own=option("--own"),
        variant=option("--variant"),
        seed=_seed(option("--seed")),
        isolate=option("--isolate"),
        profile=option("--sandbox"),
        device=option("--device"),
        course=Course.load(ROOT),
    )


def _tests_of(argument: str, config: pytest.Config) -> str:
    """An argument of pytest; a stub's stands for its tests, so that an editor can name its file."""
    course = course_session(config).course
    path = (config.invocation_params.dir / argument).resolve()
    if path.parent != course.root / "exercises" or not path.is_file():
        return argument
    try:
        return str(course.paths(course.syllabus.find(path.name)).test_file)
    except UnknownExercise:
        return argument


def _seed(text: str) -> int:
    if text == "random":
        return secrets.randbelow(2**31)
    try:
        return int(text)
    except ValueError:
        raise UsageError(say("answers.no_seed", text=text)) from None


def pytest_report_header(config: pytest.Config) -> str:
    session = course_session(config)
    how = f"in a separate process ({session.profile})" if session.isolate else "in this process"
    whose = sanitize_line(session.implementation.describe())
    return f"answers: {whose}, {how}, seed {session.seed}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    session = course_session(config)
    if not _is_for_benchmarks(config):
        _leave_out_benchmarks(config, items)
    if session.isolate:
        return  # the judge's own deadline ends a worker
    for item in items:
        exercise = session.exercise_of(item.path)
        if exercise is not None:
            # The processor's seconds are limited; this ends an answer that sleeps or waits.
            item.add_marker(pytest.mark.timeout(exercise.limits.call_seconds * BACKSTOP))


def _is_for_benchmarks(config: pytest.Config) -> bool:
    names = ("benchmark_only", "benchmark_enable")
    return any(config.getoption(name, False) for name in names)


def _leave_out_benchmarks(config: pytest.Config, items: list[pytest.Item]) -> None:
    benchmarks = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
    if benchmarks:
        items[:] = [item for item in items if item not in benchmarks]
        config.hook.pytest_deselected(items=benchmarks)


def pytest_sessionfinish(session: pytest.Session) -> None:
    course = course_session(session.config)
    course.close()
    if 0 < session.testsfailed == course.not_graded:
        session.exitstatus = TRY_AGAIN


def sentence_of(item: pytest.Item) -> str:
    """The fact that a test states: its docstring's first paragraph, else its name."""
    text = getattr(getattr(item, "function", None), "__doc__", None) or item.name
    return " ".join(str(text).strip().split("\n\n")[0].split()).rstrip(".")


def weight_of(item: pytest.Item) -> int:
    """A test's share of its exercise's points: 1 unless marked, none for a benchmark."""
    if "benchmark" in getattr(item, "fixturenames", ()):
        return 0
    marker = item.get_closest_marker("weight")
    return int(marker.args[0]) if marker else 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    run = item.stash.get(RUN, None)
    if run is None or call.when != "call":
        return (yield)
    finding = run.finding or _assertion(call.excinfo) or _out_of_time(call.excinfo)
    if finding is not None:
        # Ours takes its place; setting a traceback out takes longer than most tests.
        item.repr_failure = lambda *_: ""  # type: ignore[method-assign]
    report = yield
    exercise = course_session(item.config).exercise_of(item.path)
    assert exercise is not None
    run.sentence, run.weight = sentence_of(item), weight_of(item)
    run.passed = report.passed
    course_session(item.config).trials[exercise.id].runs[run.test] = run
    if run.printed:
        report.sections.append((PRINTED, "\n".join(printed_lines(run.printed))))
    if finding is not None and report.failed:
        _note_failure(item, run, finding, report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector, call: Any) -> None:
    """With --pdb, open the debugger in the learner's frame, not in torch or in ours."""
    course = course_session(node.config)
    exercise = course.exercise_of(node.path)
    if node.config.getoption("usepdb") and exercise is not None and exercise.id in course.trials:
        end_at_learner(call.excinfo.tb, course.trials[exercise.id].learner_files)


def _assertion(excinfo: pytest.ExceptionInfo[BaseException] | None) -> Finding | None:
    """The sentence of a test's own assertion; anything else is our fault and shown whole."""
    if excinfo is None or not isinstance(excinfo.value, AssertionError):
        return None
    if _GRADER in Path(excinfo.traceback[-1].path).parents:
        return None
    lines = [line for line in str(excinfo.value).splitlines() if line.strip()]
    return Finding(Kind.PROPERTY, (lines[0] if lines else "it does not hold",))


def _out_of_time(excinfo: pytest.ExceptionInfo[BaseException] | None) -> Finding | None:
    """Where the backstop strikes outside an answer, the judge itself got no processor."""
    if excinfo is None or type(excinfo.value) is not pytest.fail.Exception:
        return None
    busy = Interruption(Kind.NOT_GRADED, message=say("workers.busy"))
    return Finding(busy.kind, (), busy)


def _note_failure(item: pytest.Item, run: Run, finding: Finding, report: Any) -> None:
    session = course_session(item.config)
    exercise = session.exercise_of(item.path)
    assert exercise is not None
    run.finding = finding
    failure = TestFailure(
        exercise.id,
        run.test,
        sentence_of(item),
        finding,
        seconds=exercise.limits.call_seconds,
        root=session.course.root,
        seed=session.seed,
    )
    if not hasattr(item.config, "workerinput"):  # pytest-xdist sends reports; lines are enough
        report.course_failure = failure
    report.longrepr = _Told(session, failure)


class _Told(TerminalRepr):
    """A failure in words, for whoever asks: an editor, JUnit's XML, pytest-xdist.

    Which mistakes explain it is worked out only then. What a learner reads is the summary of all
    failures, which knows more by then and finds the mistakes sooner.
    """

    def __init__(self, session: CourseSession, failure: TestFailure) -> None:
        self._session, self._failure = session, failure

    def toterminal(self, tw: TerminalWriter) -> None:
        for line in render_with_diagnosis(self._session, self._failure):
            tw.line(line)


def render_with_diagnosis(session: CourseSession, failure: TestFailure) -> list[str]:
    """A failure's lines, with the mistakes that explain all that the run has seen by now."""
    return render(diagnosed(failure, session.trials[failure.exercise]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: Any, config: pytest.Config
) -> Generator[None, Any, Any]:
    """Print the learner's failures in our words; pytest prints what is left and counts all."""
    print_warnings(terminalreporter, course_session(config).course.root)
    failed = terminalreporter.stats.get("failed", [])
    ours = [report for report in failed if hasattr(report, "course_failure")]
    if not ours or config.option.tbstyle == "no":
        return (yield)
    terminalreporter.stats["failed"] = [report for report in failed if report not in ours]
    print_failures(terminalreporter, ours, course_session(config).trials)
    try:
        return (yield)
    finally:
        terminalreporter.stats["failed"] = failed
