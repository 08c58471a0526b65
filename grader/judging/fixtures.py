"""What tests are written with: the fixtures `check`, `observe`, `rng`, `answer` and `device`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

from grader.judging.expectation import CostLimits
from grader.judging.inputs import RandomInputs, derived
from grader.judging.session import RUN, course_session
from grader.judging.trial import Run, Trial


class Check:
    """The `check` fixture: the learner's outcome must be the reference's."""

    def __init__(self, trial: Trial, run: Run, samples: RandomInputs, seed: int) -> None:
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
        without: Mapping[str, str] | None = None,
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
            draws: the scenario may move random generators by making modules; calls may not.
            matmul: in half precision, matrix products in the input's dtype are right too.
            allowed: absolute errors, a number or a tensor, for outputs whose tolerance the
                contract gives; all others are derived.
            peak_elements, largest_elements, flops: what the run may cost at most.
            without: the conditions that the scenario cannot be asked under again, by the names of
                `observation.conditions.Condition`, each with the reason.
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
            without=without,
            seed=self._seed,
        )


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> RandomInputs:
    """Seeded inputs: they depend on the run's seed and the test's id alone."""
    return RandomInputs(course_session(request.config).seed, _test_id(request.node))


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """Compare a scenario's outcome with the reference's; see `Check.__call__`."""
    session = course_session(request.config)
    run = _run_of(request.node)
    cotangents = RandomInputs(session.seed, _test_id(request.node) + " cotangents")
    return Check(_trial_of(request), run, cotangents, _worker_seed(request))


@pytest.fixture
def observe(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The learner's outputs of a scenario, for tests of properties."""
    trial, run = _trial_of(request), _run_of(request.node)
    seed = _worker_seed(request)

    def observed(
        scenario: Callable[..., Any],
        *inputs: Any,
        draws: bool = False,
        without: Mapping[str, str] | None = None,
    ) -> Any:
        __tracebackhide__ = True
        return trial.observe(run, scenario, inputs, draws=draws, without=without, seed=seed)

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
        from grader.isolation.pickling import register_by_value

        register_by_value(request.module)
        if "tests.support" in sys.modules:
            register_by_value(sys.modules["tests.support"])
    return session.trial(exercise)


def _worker_seed(request: pytest.FixtureRequest) -> int:
    """The seed that reaches the answer's process, which must not learn the run's."""
    return derived(course_session(request.config).seed, f"{_test_id(request.node)} worker")


def _run_of(item: pytest.Item) -> Run:
    if RUN not in item.stash:
        item.stash[RUN] = Run(_test_id(item), _start(item), _turn(item))
    return item.stash[RUN]


def _turn(item: pytest.Item) -> int:
    """A test's place in its file; `-k` does not change it."""
    assert isinstance(item, pytest.Function)
    tests = [name for name in vars(item.module) if name.startswith("test_")]
    return tests.index(item.originalname)


def _start(item: pytest.Item) -> int:
    """What the seed decides of a file's conditions."""
    return derived(course_session(item.config).seed, f"{item.path.name} conditions")


def _test_id(item: pytest.Item) -> str:
    """The test's name below its folder: the same wherever the course lies."""
    return f"{item.path.name}::{item.nodeid.partition('::')[2]}"
