"""One exercise under one implementation: run its scenarios, judge them, gather the evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from grader.bans import scan_source
from grader.comparing import Finding, Margins, conduct, judge
from grader.curriculum import Curriculum, Exercise
from grader.diagnosis import Diagnosis, Evidence
from grader.implementations import (
    Implementation,
    NoAnswer,
    answer_of,
    config_source,
    reference_answer,
    reference_module,
    solution_of,
)
from grader.loading import Answer
from grader.observing import Observation, Request, Trouble, load, map_tensors, observe
from grader.samples import Samples
from grader.scenarios import check_scenario
from grader.tolerance import NO_LIMITS, CostLimits, Expectation, Precision, expect
from grader.variants import load_variant, read_variants

if TYPE_CHECKING:  # cloudpickle and sockets stay off the path of a run in process
    from grader.isolation import Zygote

HALVES = (torch.bfloat16, torch.float16)


class Wrong(AssertionError):
    """A test's answer is wrong; the finding says how. Raised in the test, shown by the plugin."""

    def __init__(self, finding: Finding) -> None:
        super().__init__("\n".join(finding.lines))
        self.finding = finding


class Executor(Protocol):
    """Runs requests on an answer, in this process or in another."""

    def observe(self, request: Request) -> tuple[Observation, BaseException | None]:
        """What was seen, and the exception itself where it lives in this process."""

    def close(self) -> None:
        """Free what the executor holds."""


class InProcess:
    """The answer in the process that judges it: fast, and `print` and `--pdb` work."""

    def __init__(self, answer: Answer, timeouts: tuple[type[BaseException], ...]) -> None:
        self._answer = answer
        self._timeouts = timeouts
        self._loaded: tuple[ModuleType | None, Trouble | None, BaseException | None] | None = None

    def module(self) -> ModuleType | None:
        """The answer's module; None if it cannot be imported."""
        if self._loaded is None:
            self._loaded = load(self._answer, timeouts=self._timeouts)
        return self._loaded[0]

    def observe(self, request: Request) -> tuple[Observation, BaseException | None]:
        module = self.module()
        assert self._loaded is not None
        _, trouble, error = self._loaded
        if module is None:
            return Observation(trouble=trouble), error
        return observe(module, request, self._answer.learner_files, timeouts=self._timeouts)

    def close(self) -> None:
        self._loaded = None


class Given:
    """A module that is there already: the null answers of the course check."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def observe(self, request: Request) -> tuple[Observation, BaseException | None]:
        return observe(self._module, request, frozenset({str(self._module.__file__)}))

    def close(self) -> None:
        pass


class NoFile:
    """Stands in where nothing was handed in."""

    def __init__(self, message: str) -> None:
        self._trouble = Trouble("no file", message=message, at_load=True)

    def observe(self, request: Request) -> tuple[Observation, BaseException | None]:
        return Observation(trouble=self._trouble), None

    def close(self) -> None:
        pass


class Isolated:
    """The answer in a worker process that holds nothing of the judge's."""

    def __init__(
        self, answer: Answer, exercise: Exercise, root: Path, zygote: Zygote | None
    ) -> None:
        from grader.isolation import Worker

        self._worker = Worker(
            answer,
            config_source(root),
            root=root,
            seconds=exercise.limits.seconds,
            threads=torch.get_num_threads(),
            zygote=zygote,
        )

    def observe(self, request: Request) -> tuple[Observation, BaseException | None]:
        return self._worker.observe(request), None

    def close(self) -> None:
        self._worker.stop()


@dataclass
class Run:
    """What one test did: its verdict, its margins per precision, the first thing found wrong."""

    test: str
    weight: int = 1
    passed: bool = False
    finding: Finding | None = None
    checks: int = 0
    margins: list[tuple[torch.dtype, Margins]] = field(default_factory=list)
    printed: str = ""


class Trial:
    """Runs the checks of one exercise. `expectations` may be kept between trials of one seed."""

    def __init__(
        self,
        exercise: Exercise,
        curriculum: Curriculum,
        implementation: Implementation,
        root: Path,
        *,
        isolate: bool = False,
        zygote: Zygote | None = None,
        module: ModuleType | None = None,
        device: str = "cpu",
        timeouts: tuple[type[BaseException], ...] = (),
        expectations: dict[tuple[Any, ...], Expectation] | None = None,
    ) -> None:
        self.exercise = exercise
        self._device = device
        self._expectations = expectations
        self._curriculum = curriculum
        self._root = root
        self._legal: Sequence[ModuleType] | None = None
        self._banned_in_source: tuple[Any, ...] = ()
        self.executor: Executor
        if module is not None:
            self.executor = Given(module)
        else:
            self.executor = self._executor(implementation, isolate, zygote, timeouts)
        self.diagnosis = Diagnosis(
            [v for v in read_variants(exercise.paths(root).mistakes) if not v.undetectable],
            self._load_mistake,
        )
        self.runs: dict[str, Run] = {}

    def _executor(
        self,
        implementation: Implementation,
        isolate: bool,
        zygote: Zygote | None,
        timeouts: tuple[type[BaseException], ...],
    ) -> Executor:
        try:
            answer = answer_of(implementation, self.exercise, self._curriculum, self._root)
        except NoAnswer as missing:
            return NoFile(str(missing))
        self._banned_in_source = tuple(scan_source(answer.source.text, self.exercise.bans))
        if isolate:
            return Isolated(answer, self.exercise, self._root, zygote)
        return InProcess(answer, timeouts)

    def _load_mistake(self, variant: Any) -> ModuleType:
        return load_variant(variant, solution_of(self.exercise, self._curriculum, self._root))

    def _legal_evaluations(self) -> Sequence[ModuleType]:
        """The reference under every other evaluation that the exercise declares legal."""
        if self._legal is None:
            reference = reference_answer(self.exercise, self._curriculum, self._root)
            self._legal = [
                load_variant(variant, reference)
                for variant in read_variants(self.exercise.paths(self._root).evaluations)
            ]
        return self._legal

    def check(
        self,
        run: Run,
        scenario: Callable[..., Any],
        inputs: Sequence[Any],
        samples: Samples,
        *,
        grad: bool | Sequence[str] = False,
        half: Sequence[str] = (),
        double: bool = False,
        draws: bool = False,
        matmul: bool = False,
        allowed: Mapping[str, float | Tensor] | None = None,
        limits: CostLimits = NO_LIMITS,
        seed: int = 0,
    ) -> None:
        """Compare a scenario's outcome with the reference's, under every precision asked for."""
        names = check_scenario(scenario, inputs, half)
        dtypes = [torch.float32, *(HALVES if half else ()), *([torch.float64] if double else ())]
        run.checks += 1
        metered = limits != NO_LIMITS
        for dtype in dtypes:
            request = self._request(
                scenario, dict(zip(names, inputs, strict=True)), draws, metered, seed
            )
            request = dataclasses.replace(request, differentiate=_differentiate(request, grad))
            request = _cast(request, dtype, half)
            precision = Precision(dtype, matmul, self._legal_evaluations())
            key = (seed, run.test, run.checks, dtype)
            want = self._expectations.get(key) if self._expectations is not None else None
            if want is None:
                want = expect(
                    reference_module(self.exercise),
                    request,
                    precision,
                    random_like=samples.like,
                    given=None if precision.is_half else allowed,
                    limits=limits,
                )
                if self._expectations is not None:
                    self._expectations[key] = want
            self._compare(
                run, dataclasses.replace(request, cotangents=want.cotangents), want, precision
            )

    def _compare(self, run: Run, request: Request, want: Expectation, precision: Precision) -> None:
        seen, error = self._observe(run, request)
        margins = Margins()
        label = "" if precision.dtype is torch.float32 else f"in {str(precision.dtype)[6:]}"
        finding = judge(seen, want, margins=margins, label=label)
        run.margins.append((precision.dtype, margins))
        self.diagnosis.add(Evidence(run.test, request, seen, want, finding, half=precision.is_half))
        self._raise(run, finding, error)

    def observe(
        self,
        run: Run,
        scenario: Callable[..., Any],
        inputs: Sequence[Any],
        *,
        draws: bool,
        seed: int,
    ) -> Any:
        """The outputs of a scenario, for a test that looks at their properties itself."""
        names = check_scenario(scenario, inputs, ())
        request = self._request(scenario, dict(zip(names, inputs, strict=True)), draws, False, seed)
        seen, error = self._observe(run, request)
        finding = conduct(seen)
        self.diagnosis.add(Evidence(run.test, request, seen, None, finding))
        self._raise(run, finding, error)
        outputs = dict(seen.outputs)
        return outputs["result"] if outputs.keys() == {"result"} else outputs

    def _observe(self, run: Run, request: Request) -> tuple[Observation, BaseException | None]:
        seen, error = self.executor.observe(request)
        run.printed += seen.printed
        if self._banned_in_source and not seen.trouble and not seen.banned:
            seen = dataclasses.replace(seen, banned=self._banned_in_source)
        return seen, error

    def _raise(self, run: Run, finding: Finding | None, error: BaseException | None) -> None:
        __tracebackhide__ = True
        if finding is None:
            return
        run.finding = finding
        if isinstance(error, Exception):
            raise error  # the learner's own, so that a debugger lands where it was raised
        raise Wrong(finding)

    def _request(
        self,
        scenario: Callable[..., Any],
        inputs: dict[str, Any],
        draws: bool,
        metered: bool,
        seed: int,
    ) -> Request:
        return Request(
            scenario,
            inputs,
            draws=draws,
            seed=seed,
            device=self._device,
            bans=self.exercise.bans,
            meter=metered,
        )

    def module(self) -> ModuleType | None:
        """The answer's module where it lives in this process."""
        return self.executor.module() if isinstance(self.executor, InProcess) else None

    def close(self) -> None:
        """End the worker, if there is one."""
        self.executor.close()


def _differentiate(request: Request, grad: bool | Sequence[str]) -> tuple[str, ...]:
    """The inputs that gradients are taken for: those named, or all of them."""
    if isinstance(grad, bool):
        return tuple(request.inputs) if grad else ()
    return tuple(grad)


def _cast(request: Request, dtype: torch.dtype, half: Sequence[str]) -> Request:
    """The request under a precision: half precision casts the named inputs alone."""
    if dtype is torch.float32:
        return request
    is_half = dtype in HALVES

    def cast(name: str, value: Tensor) -> Tensor:
        if is_half and name.partition(".")[0] not in half:
            return value
        if value.is_complex():
            return value if is_half else value.to(torch.complex128)
        return value.to(dtype) if value.is_floating_point() else value

    inputs = {name: map_tensors(cast, value, name) for name, value in request.inputs.items()}
    default = torch.float32 if is_half else dtype
    return dataclasses.replace(request, inputs=inputs, default_dtype=default)
