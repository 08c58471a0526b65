"""One exercise under one implementation: run its scenarios, judge them, gather the evidence."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

import torch
from torch import Tensor

from grader.course.answers import (
    Implementation,
    NoAnswer,
    answer_of,
    reference_answer,
    reference_module,
    solution_of,
)
from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.course.variants import Variant, load_variant, read_variants
from grader.judging.changes import unwritten
from grader.judging.comparison import Finding, Margins, judge, side_effects
from grader.judging.conditions import (
    Conditions,
    chosen,
    described,
    expected_under,
    same_under,
    singly,
)
from grader.judging.diagnosis import Diagnosis, Evidence
from grader.judging.executors import Executor, Given, InProcess, Isolated, NothingToRun, Seen
from grader.judging.expectation import NO_LIMITS, CostLimits, Expectation, Precision, ReferenceRun
from grader.judging.imports import refused_import
from grader.judging.inputs import RandomInputs
from grader.judging.scenario import check_scenario
from grader.observation.bans import BanHit, UnreadableSource, scan_source
from grader.observation.conditions import REPEATED, map_tensors
from grader.observation.deadline import BACKSTOP
from grader.observation.kind import Kind
from grader.observation.late import late_imports
from grader.observation.learner_warnings import pointing_at
from grader.observation.record import MOST_HITS, MOST_PRINTED, Interruption, Observation, Request

if TYPE_CHECKING:  # cloudpickle and sockets stay off the path of a run in process
    from grader.isolation.launch import Zygote

HALVES = (torch.bfloat16, torch.float16)


class Wrong(AssertionError):
    """A test's answer is wrong; the finding says how. Raised in the test, shown by the plugin."""

    def __init__(self, finding: Finding) -> None:
        super().__init__("\n".join(finding.lines))
        self.finding = finding


ExpectedUnder = Callable[[Conditions], tuple[Request, Expectation] | None]
"""What is asked under some conditions and what a right answer gives; None if nothing is."""


@dataclass(frozen=True)
class _Found:
    """What is wrong under some conditions, and what was seen of it."""

    evidence: Evidence
    finding: Finding
    error: BaseException | None


@dataclass
class Run:
    """What one test did: its verdict, its margins per precision, the first thing found wrong.

    `turn` is its place among the tests of its file, and `start` follows from the seed: they decide
    under which conditions it is asked again.
    """

    test: str
    start: int = 0
    turn: int = 0
    sentence: str = ""
    weight: int = 1
    passed: bool = False
    finding: Finding | None = None
    checks: int = 0
    margins: list[tuple[torch.dtype, Margins]] = field(default_factory=list)
    printed: str = ""
    banned: list[BanHit] = field(default_factory=list)


class Trial:
    """Runs the checks of one exercise.

    `kept` holds, between the trials of one seed, what the reference and the mistakes said; so the
    inputs of a test must never come from what an answer returned.

    With `note_bans` a banned call fails no test and ends none, or what comes after it would go
    unjudged; it is noted in the test's `Run`.
    """

    def __init__(
        self,
        exercise: Exercise,
        course: Course,
        implementation: Implementation,
        *,
        isolate: bool = False,
        profile: str = "process",
        zygote: Zygote | None = None,
        module: ModuleType | None = None,
        device: str = "cpu",
        timeouts: tuple[type[BaseException], ...] = (),
        kept: dict[Any, Any] | None = None,
        note_bans: bool = False,
    ) -> None:
        self.exercise = exercise
        self._note_bans = note_bans
        self._device = device
        self._kept = {} if kept is None else kept
        self._course = course
        self._legal: Sequence[ModuleType] | None = None
        self._waited = 0.0
        self._banned_in_source: tuple[BanHit, ...] = ()
        self.learner_files: frozenset[str] = frozenset()
        self._unwritten: frozenset[str] = frozenset()
        self.executor: Executor
        if module is not None:
            self.executor = Given(module)
        else:
            self.executor = self._executor(implementation, isolate, profile, zygote, timeouts)
        self.diagnosis = Diagnosis(
            self._known_mistakes,
            self._load_mistake,
            self._kept,
            self._unwritten,
        )
        self.runs: dict[str, Run] = {}

    def _executor(
        self,
        implementation: Implementation,
        isolate: bool,
        profile: str,
        zygote: Zygote | None,
        timeouts: tuple[type[BaseException], ...],
    ) -> Executor:
        try:
            answer = answer_of(implementation, self.exercise, self._course)
        except NoAnswer as missing:
            return NothingToRun(Interruption(Kind.NO_FILE, message=str(missing), at_load=True))
        self.learner_files = answer.learner_files
        try:
            with pointing_at(()):  # reading it warns of nothing that importing it does not
                self._unwritten = unwritten(answer.source.text)
                hits = scan_source(answer.source.text, self.exercise.bans)
                self._banned_in_source = tuple(hits[:MOST_HITS])
        except UnreadableSource as error:  # whoever nests deeply enough must not escape the scan
            too_deep = Interruption(Kind.CANNOT_LOAD, "RecursionError", str(error), at_load=True)
            return NothingToRun(too_deep)
        if refusal := refused_import(answer, self.exercise, self._course.syllabus):
            return NothingToRun(Interruption(Kind.FORBIDDEN_IMPORT, message=refusal, at_load=True))
        imports = (*self.exercise.imports, *late_imports(answer.source.text))
        if isolate:
            return Isolated(answer, self.exercise, self._course, zygote, profile, imports)
        return InProcess(answer, imports, self.exercise.limits.call_seconds, timeouts)

    def _known_mistakes(self) -> list[Variant]:
        known = read_variants(self._course.paths(self.exercise).mistakes)
        return [variant for variant in known if not variant.undetectable]

    def _load_mistake(self, variant: Variant) -> ModuleType:
        return load_variant(variant, solution_of(self.exercise, self._course))

    def _legal_evaluations(self) -> Sequence[ModuleType]:
        """The reference under every other evaluation that the exercise declares legal."""
        if self._legal is None:
            reference = reference_answer(self.exercise, self._course)
            self._legal = [
                load_variant(variant, reference)
                for variant in read_variants(self._course.paths(self.exercise).roundings)
            ]
        return self._legal

    def check(
        self,
        run: Run,
        scenario: Callable[..., Any],
        inputs: Sequence[Any],
        samples: RandomInputs,
        *,
        grad: bool | Sequence[str] = False,
        half: Sequence[str] = (),
        double: bool = False,
        draws: bool = False,
        matmul: bool = False,
        allowed: Mapping[str, float | Tensor] | None = None,
        limits: CostLimits = NO_LIMITS,
        without: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        """Compare a scenario's outcome with the reference's, under every precision asked for.

        Where all is well it is asked once more, under conditions that must not matter.
        """
        __tracebackhide__ = True
        names = check_scenario(scenario, inputs, half)
        dtypes = [torch.float32, *(HALVES if half else ()), *([torch.float64] if double else ())]
        run.checks += 1
        metered = limits != NO_LIMITS
        asked = self._request(scenario, dict(zip(names, inputs, strict=True)), draws, metered, seed)
        if isinstance(self.executor, NothingToRun):  # the reference would be run for nobody
            self._seen(run, asked)
        for dtype in dtypes:
            request = dataclasses.replace(asked, differentiate=_differentiate(asked, grad))
            request = _cast(request, dtype, half)
            precision = Precision(dtype, matmul, self._legal_evaluations())
            key = (seed, run.test, run.checks, dtype)
            expecting = self._expecting(key, request, samples)
            request = dataclasses.replace(request, cotangents=expecting.cotangents)
            outcome = self._begin(run, request)
            # What may be off is worked out while a worker runs the answer.
            want = expecting.complete(precision, None if precision.is_half else allowed, limits)
            self._compare(run, key, request, want, precision, outcome())
            if dtype is torch.float32:
                plain = request, want
        conditions = chosen(run.start, run.turn + run.checks, without or {})

        def expected(under: Conditions) -> tuple[Request, Expectation] | None:
            key = ("under", seed, run.test, run.checks, *sorted(under))
            if key not in self._kept:
                reference = reference_module(self.exercise)
                self._kept[key] = expected_under(reference, *plain, under)
            possible: tuple[Request, Expectation] | None = self._kept[key]
            return possible

        self._ask_again(run, plain[0], conditions, expected)

    def _ask_again(
        self, run: Run, request: Request, conditions: Conditions, expected: ExpectedUnder
    ) -> None:
        """Ask the same under conditions that must not matter; name the one that does."""
        __tracebackhide__ = True
        found = self._found_under(run, request, conditions, expected)
        if found is None:
            return
        tried = conditions
        for one in singly(conditions) if not found.finding.kind.by_chance else ():
            if again := self._found_under(run, request, one, expected):
                found, tried = again, one
                break
        # The others are no evidence: every known mistake would have to be run for each.
        self.diagnosis.add(found.evidence)
        finding = dataclasses.replace(found.finding, condition=described(tried))
        self._raise(run, finding, found.error)

    def _found_under(
        self, run: Run, request: Request, conditions: Conditions, expected: ExpectedUnder
    ) -> _Found | None:
        """What is wrong under some conditions, if anything is."""
        key = (request.seed, run.test, run.checks, *sorted(conditions))
        possible = expected(conditions)
        if possible is None:
            return None
        asked, wanted = possible
        seen, error = self._begin(run, dataclasses.replace(asked, scenario=request.scenario))()
        finding = judge(seen, wanted)
        if finding is None:
            return None
        return _Found(Evidence(run.test, asked, seen, wanted, finding, key=key), finding, error)

    def _expecting(
        self, key: tuple[Any, ...], request: Request, samples: RandomInputs
    ) -> ReferenceRun:
        """What the reference says to a request, taken from the last trial where it is kept."""
        if key not in self._kept:
            self._kept[key] = ReferenceRun(reference_module(self.exercise), request, samples.like)
        expecting: ReferenceRun = self._kept[key]
        return expecting

    def _compare(
        self,
        run: Run,
        key: tuple[Any, ...],
        request: Request,
        want: Expectation,
        precision: Precision,
        outcome: Seen,
    ) -> None:
        __tracebackhide__ = True
        seen, error = outcome
        margins = Margins()
        label = "" if precision.dtype is torch.float32 else f"in {str(precision.dtype)[6:]}"
        finding = judge(seen, want, margins=margins, label=label)
        run.margins.append((precision.dtype, margins))
        self.diagnosis.add(Evidence(run.test, request, seen, want, finding, precision.is_half, key))
        self._raise(run, finding, error)

    def observe(
        self,
        run: Run,
        scenario: Callable[..., Any],
        inputs: Sequence[Any],
        *,
        draws: bool,
        without: Mapping[str, str] | None = None,
        seed: int,
    ) -> Any:
        """The outputs of a scenario, for a test that looks at their properties itself.

        They must be the same where it is asked again, under conditions that must not matter.
        """
        __tracebackhide__ = True
        names = check_scenario(scenario, inputs, ())
        run.checks += 1
        request = self._request(scenario, dict(zip(names, inputs, strict=True)), draws, False, seed)
        seen = self._seen(run, request)
        conditions = chosen(run.start, run.turn + run.checks, without or {})
        if draws:  # what is drawn once more is something else
            conditions -= REPEATED
        self._ask_again(run, request, conditions, lambda under: same_under(request, seen, under))
        outputs = dict(seen.outputs)
        return outputs["result"] if outputs.keys() == {"result"} else outputs

    def _seen(self, run: Run, request: Request) -> Observation:
        """What an answer did, as long as nothing but its outputs can be wrong with it."""
        __tracebackhide__ = True
        seen, error = self._begin(run, request)()
        finding = side_effects(seen)
        key = (request.seed, run.test, run.checks, None)
        self.diagnosis.add(Evidence(run.test, request, seen, None, finding, key=key))
        self._raise(run, finding, error)
        return seen

    def _begin(self, run: Run, request: Request) -> Callable[[], Seen]:
        """Start a request within the time that the answer has left."""
        limits = self.exercise.limits
        seconds = min(limits.call_seconds, limits.seconds - self.executor.spent)
        is_over = seconds <= 0 or self._waited > limits.seconds * BACKSTOP
        interruption = Interruption(Kind.OUT_OF_TIME) if is_over else self.executor.get_ready()
        if interruption is not None:
            seen = Observation(interruption=interruption)
            return lambda: (seen, None)
        pending = self.executor.begin(request, seconds)
        return lambda: self._end(run, pending)

    @property
    def spent(self) -> float:
        """The seconds of the processor that the answer has used."""
        return self.executor.spent

    def _end(self, run: Run, pending: Callable[[], Seen]) -> Seen:
        started = time.monotonic()
        seen, error = pending()
        if seen.interruption is None or seen.interruption.kind is not Kind.NOT_GRADED:
            self._waited += time.monotonic() - started
        run.printed = (run.printed + seen.printed)[: MOST_PRINTED + 1]
        if self._banned_in_source and not seen.interruption and not seen.banned:
            seen = dataclasses.replace(seen, banned=self._banned_in_source)
        if self._note_bans:
            run.banned = list(dict.fromkeys((*run.banned, *seen.banned)))[:MOST_HITS]
            seen = dataclasses.replace(seen, banned=())
        return seen, error

    def _raise(self, run: Run, finding: Finding | None, error: BaseException | None) -> None:
        __tracebackhide__ = True
        if finding is None:
            return
        run.finding = finding
        if isinstance(error, Exception) and not isinstance(error, SkipTest):
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
