"""The pytest plugin: options, the fixtures that tests are written with, and what a learner reads.

`conftest.py` loads it. It decides nothing about right and wrong; see `trial` for that.
"""

from __future__ import annotations

import gc
import os

# Before torch: with the collector off its import takes two thirds of the time, and with one
# thread two runs side by side do not wait for each other's barriers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
gc.disable()
import torch  # noqa: E402

gc.freeze()
gc.enable()

import contextlib  # noqa: E402
import secrets  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Generator, Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

from grader import early  # noqa: E402
from grader.course.answers import UsageError, choose  # noqa: E402
from grader.course.syllabus import ROOT, Curriculum, Exercise, UnknownExercise, load  # noqa: E402
from grader.judging.comparison import Finding  # noqa: E402
from grader.judging.expectation import CostLimits  # noqa: E402
from grader.judging.failure_text import TestFailure, render  # noqa: E402
from grader.judging.inputs import Samples, derived  # noqa: E402
from grader.judging.summary import (  # noqa: E402
    PRINTED,
    diagnosed,
    print_failures,
    print_warnings,
    printed_lines,
)
from grader.judging.trial import Run, Trial  # noqa: E402
from grader.messages.catalog import say  # noqa: E402
from grader.messages.sanitize import harmless  # noqa: E402
from grader.observation.deadline import BACKSTOP  # noqa: E402
from grader.observation.eager import compile_nothing  # noqa: E402
from grader.observation.kind import Kind  # noqa: E402
from grader.observation.record import Interruption  # noqa: E402
from grader.observation.trouble import end_at_learner  # noqa: E402
from grader.results.record import TRY_AGAIN  # noqa: E402

_SESSION = pytest.StashKey["CourseSession"]()
_RUN = pytest.StashKey[Run]()

_LOADING_SECONDS = 240.0
"""What an exercise may take longer on an accelerator, which loads each kernel at its first use."""


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
    try:
        session = CourseSession(config)
    except (UsageError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_SESSION] = session
    if session.is_the_learner_s:
        from grader.learner.attempts import Attempts

        config.pluginmanager.register(Attempts())
    config.args[:] = [_tests_of(argument, session) for argument in config.args]
    torch.set_num_threads(session.threads)


def _tests_of(argument: str, session: CourseSession) -> str:
    """An argument of pytest; a stub's stands for its tests, so that an editor can name its file."""
    path = (session.config.invocation_params.dir / argument).resolve()
    if path.parent != session.root / "exercises" or not path.is_file():
        return argument
    try:
        return str(session.curriculum.find(path.name).paths(session.root).test_file)
    except UnknownExercise:
        return argument


class CourseSession:
    """The state of one pytest run: its choices and one trial per exercise."""

    def __init__(self, config: pytest.Config) -> None:
        self.root = ROOT
        self.config = config
        observer = config.pluginmanager.get_plugin("course-observer")
        self.implementation = choose(
            config.getoption("--impl"),
            self.root,
            own=config.getoption("--own"),
            variant=config.getoption("--variant"),
        )
        self.seed = _seed(config.getoption("--seed"))
        self.isolate: bool = config.getoption("--isolate")
        self.device = _device(config.getoption("--device"))
        curriculum: Curriculum = getattr(observer, "curriculum", None) or load(self.root)
        self.curriculum = curriculum if self.device == "cpu" else _with_time_to_load(curriculum)
        self.threads: int = getattr(observer, "threads", 1)
        self._kept = getattr(observer, "kept", None)
        self._module_for = getattr(observer, "module_for", lambda exercise: None)
        self._note_bans: bool = getattr(observer, "note_bans", False)
        self._own_zygote: Any = None
        self._zygote = getattr(observer, "zygote", None)
        if self.isolate and self._zygote is None:
            self._zygote = self._own_zygote = early.take()
        self.profile: str = config.getoption("--sandbox")
        if self.isolate and self.profile == "auto":
            from grader.isolation.machine import best_profile

            self.profile = best_profile()
        if self.isolate and self.device != "cpu" and self.profile != "process":
            raise UsageError(say("answers.locked_device", device=self.device, profile=self.profile))
        self.trials: dict[str, Trial] = {}
        self._compiling = contextlib.ExitStack()
        if not _is_for_benchmarks(config):
            self._compiling.enter_context(compile_nothing())

    @property
    def is_the_learner_s(self) -> bool:
        """Whether somebody tests their own answers, and no other command of the grader does."""
        choice = self.implementation
        own = choice.choice == "exercises" and choice.variant is None
        return own and not self.config.pluginmanager.has_plugin("course-observer")

    def exercise_of(self, path: Path) -> Exercise | None:
        """The exercise that a test file is about."""
        try:
            exercise = self.curriculum.find(path.name)
        except UnknownExercise:
            return None
        return exercise if path == exercise.paths(self.root).test_file else None

    def trial(self, exercise: Exercise) -> Trial:
        """The trial of an exercise, made when it is first asked for."""
        if exercise.id not in self.trials:
            try:
                self.trials[exercise.id] = self._new_trial(exercise)
            except UsageError as error:  # a variant of that name may exist in other exercises
                pytest.exit(str(error), pytest.ExitCode.USAGE_ERROR)
        return self.trials[exercise.id]

    def _new_trial(self, exercise: Exercise) -> Trial:
        return Trial(
            exercise,
            self.curriculum,
            self.implementation,
            self.root,
            isolate=self.isolate,
            profile=self.profile,
            # A driver that has been asked for its devices, as autograd does, cannot be forked.
            zygote=self._zygote if self.device == "cpu" else None,
            module=self._module_for(exercise),
            device=self.device,
            timeouts=() if self.isolate else (pytest.fail.Exception,),
            kept=self._kept,
            note_bans=self._note_bans,
        )

    @property
    def not_graded(self) -> int:
        """How many tests have said nothing about the answer."""
        runs = (run for trial in self.trials.values() for run in trial.runs.values())
        return sum(run.finding is not None and run.finding.kind is Kind.NOT_GRADED for run in runs)

    def close(self) -> None:
        self._compiling.close()
        for trial in self.trials.values():
            trial.close()
        if self._own_zygote:
            self._own_zygote.close()


def _seed(text: str) -> int:
    if text == "random":
        return secrets.randbelow(2**31)
    try:
        return int(text)
    except ValueError:
        raise UsageError(say("answers.no_seed", text=text)) from None


def _device(text: str) -> str:
    """A device that numbers can be computed on, as torch spells it."""
    try:
        device = torch.device(text)
        torch.ones(1, device=device).tolist()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise UsageError(say("answers.no_device", text=text, why=why)) from None
    return "cpu" if device.type == "cpu" else str(device)


def _with_time_to_load(curriculum: Curriculum) -> Curriculum:
    def slower(exercise: Exercise) -> Exercise:
        seconds = exercise.limits.seconds + _LOADING_SECONDS
        return replace(exercise, limits=replace(exercise.limits, seconds=seconds))

    return replace(curriculum, exercises=tuple(map(slower, curriculum.exercises)))


def course_session(config: pytest.Config) -> CourseSession:
    """The course's part of a pytest run."""
    return config.stash[_SESSION]


def pytest_report_header(config: pytest.Config) -> str:
    session = config.stash[_SESSION]
    how = f"in a separate process ({session.profile})" if session.isolate else "in this process"
    whose = harmless(session.implementation.describe(session.root))
    return f"answers: {whose}, {how}, seed {session.seed}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    session = config.stash[_SESSION]
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
    course = session.config.stash.get(_SESSION, None)
    if course:
        course.close()
        if 0 < session.testsfailed == course.not_graded:
            session.exitstatus = TRY_AGAIN


class Check:
    """The `check` fixture: the learner's outcome must be the reference's."""

    def __init__(self, trial: Trial, run: Run, samples: Samples, seed: int) -> None:
        self._trial = trial
        self._run = run
        self._samples = samples
        self._seed = seed

    def __call__(
        self,
        scenario: Callable[..., Any],
        *inputs: Any,
        grad: bool | Sequence[str] = False,
        half: Sequence[str] = (),
        double: bool = False,
        draws: bool = False,
        matmul: bool = False,
        allowed: dict[str, Any] | None = None,
        peak_elements: int | None = None,
        largest_elements: int | None = None,
        flops: int | None = None,
    ) -> None:
        """Run a scenario on the answer and on the reference, and compare everything seen.

        Args:
            scenario: takes the module under test and the inputs; returns a tensor or a dict of
                named tensors and plain values.
            inputs: tensors and plain values; tensors are cloned, and cast where asked.
            grad: also compare the gradients of every floating output against a random cotangent
                with respect to every floating input, or to those named.
            half: the inputs that are cast for further runs in bfloat16 and float16.
            double: also run the answer itself in float64.
            draws: the scenario may move random generators (building a module does).
            matmul: in half precision, matrix products in the input's dtype are right too.
            allowed: absolute errors, a number or a tensor, for outputs whose tolerance the
                contract gives; all others are derived.
            peak_elements, largest_elements, flops: what the run may cost at most.
        """
        __tracebackhide__ = True
        self._trial.check(
            self._run,
            scenario,
            inputs,
            self._samples,
            grad=grad,
            half=half,
            double=double,
            draws=draws,
            matmul=matmul,
            allowed=allowed,
            limits=CostLimits(peak_elements, largest_elements, flops),
            seed=self._seed,
        )


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Samples:
    """Seeded inputs: they depend on the run's seed and the test's id alone."""
    return Samples(course_session(request.config).seed, _test_id(request.node))


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """Compare a scenario's outcome with the reference's; see `Check.__call__`."""
    session = course_session(request.config)
    run = _run_of(request.node)
    cotangents = Samples(session.seed, _test_id(request.node) + " cotangents")
    return Check(_trial_of(request), run, cotangents, _worker_seed(request))


@pytest.fixture
def observe(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The learner's outputs of a scenario, for tests of properties."""
    trial, run = _trial_of(request), _run_of(request.node)
    seed = _worker_seed(request)

    def observed(scenario: Callable[..., Any], *inputs: Any, draws: bool = False) -> Any:
        __tracebackhide__ = True
        return trial.observe(run, scenario, inputs, draws=draws, seed=seed)

    return observed


@pytest.fixture
def answer(request: pytest.FixtureRequest) -> Any:
    """The learner's module itself, for benchmarks: they run in this process alone."""
    trial = _trial_of(request)
    module = trial.module()
    if module is None:
        pytest.skip("there is no answer that can be imported in this process")
    return module


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where the answer runs, for benchmarks: what a scenario is given lies there already."""
    return torch.device(course_session(request.config).device)


def _trial_of(request: pytest.FixtureRequest) -> Trial:
    session = course_session(request.config)
    exercise = session.exercise_of(request.node.path)
    if exercise is None:
        raise pytest.UsageError(f"{request.node.path} is not the test file of an exercise")
    if session.isolate:
        from grader.isolation.client import register_by_value

        register_by_value(request.module)
        if "tests.support" in sys.modules:
            register_by_value(sys.modules["tests.support"])
    return session.trial(exercise)


def _worker_seed(request: pytest.FixtureRequest) -> int:
    """The seed that reaches the answer's process, which must not learn the run's."""
    return derived(course_session(request.config).seed, f"{_test_id(request.node)} worker")


def _run_of(item: pytest.Item) -> Run:
    if _RUN not in item.stash:
        item.stash[_RUN] = Run(_test_id(item))
    return item.stash[_RUN]


def _test_id(item: pytest.Item) -> str:
    """The test's name below its folder: the same wherever the course lies."""
    return f"{item.path.name}::{item.nodeid.partition('::')[2]}"


def sentence_of(item: pytest.Item) -> str:
    """The fact that a test states: its docstring's first line, else its name."""
    text = getattr(getattr(item, "function", None), "__doc__", None) or item.name
    return str(text).strip().splitlines()[0].rstrip(".")


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
    run = item.stash.get(_RUN, None)
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
    """The sentence of a test's own assertion; anything else is the test's fault and shown whole."""
    if excinfo is None or not isinstance(excinfo.value, AssertionError):
        return None
    lines = [line for line in str(excinfo.value).splitlines() if line.strip()]
    return Finding(Kind.PROPERTY, (lines or ["it does not hold"])[0:1])  # type: ignore[arg-type]


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
        root=session.root,
        seed=session.seed,
    )
    if not hasattr(item.config, "workerinput"):  # pytest-xdist sends reports; lines are enough
        report.course_failure = failure
    report.longrepr = "\n".join(render_with_diagnosis(session, failure))


def render_with_diagnosis(session: CourseSession, failure: TestFailure) -> list[str]:
    """A failure's lines, with the mistakes that explain all that the run has seen by now."""
    return render(diagnosed(failure, session.trials[failure.exercise]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: Any, config: pytest.Config
) -> Generator[None, Any, Any]:
    """Print the learner's failures in our words; pytest prints what is left and counts all."""
    print_warnings(terminalreporter, config.stash[_SESSION].root)
    failed = terminalreporter.stats.get("failed", [])
    ours = [report for report in failed if hasattr(report, "course_failure")]
    if not ours or config.option.tbstyle == "no":
        return (yield)
    terminalreporter.stats["failed"] = [report for report in failed if report not in ours]
    print_failures(terminalreporter, ours, config.stash[_SESSION].trials)
    try:
        return (yield)
    finally:
        terminalreporter.stats["failed"] = failed
