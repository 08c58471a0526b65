"""Run one scenario on one answer and write down everything that can be seen of it.

The same function serves the learner's own process and the isolated worker, so that both modes see
the same. It judges nothing. Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor

from grader.observation.answer import Answer, load_answer
from grader.observation.bans import BanWatch
from grader.observation.calls import Call, Recorder, describe, is_plain_tensor
from grader.observation.conditions import (
    Condition,
    Constructions,
    as_view,
    grad_mode,
    map_tensors,
    other_question,
    refused_question,
    weighed,
)
from grader.observation.cost import Cost, CostMeter
from grader.observation.deadline import OutOfTime
from grader.observation.global_state import TORCH_GENERATOR, GlobalState
from grader.observation.learner_warnings import pointing_at
from grader.observation.record import (
    DEEPEST,
    DTYPES,
    LARGEST,
    MOST_CHARACTERS,
    MOST_DIMENSIONS,
    MOST_VALUES,
    SINGLE,
    Interruption,
    Observation,
    Opaque,
    Plain,
    Request,
)
from grader.observation.trouble import interruption_of

_LONGEST_INT = 10_000
"""In bits: with more, Python refuses to write an integer in digits."""
_SEED_STEP = 0x9E3779B97F4A7C15


def load(
    answer: Answer,
    *,
    timeouts: tuple[type[BaseException], ...] = (OutOfTime,),
) -> tuple[ModuleType | None, Interruption | None, BaseException | None]:
    """Import an answer: its module, or why there is none with the exception that says so."""
    state = GlobalState()
    try:
        with pointing_at(answer.learner_files):
            return load_answer(answer), None, None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, interruption_of(error, answer.learner_files, timeouts, at_load=True), error
    finally:
        state.restore(generators_may_move=True)


CotangentsFor = Callable[[Mapping[str, Any]], Mapping[str, Tensor]]


def observe(
    module: ModuleType,
    request: Request,
    learner_files: frozenset[str],
    *,
    timeouts: tuple[type[BaseException], ...] = (OutOfTime,),
    quiet: bool = False,
    is_reference: bool = False,
    cotangents_for: CotangentsFor | None = None,
) -> tuple[Observation, BaseException | None]:
    """Run a scenario on a module and return what was seen, with the exception that ended it.

    `timeouts` are the exceptions by which a deadline interrupts the learner's code. What is not
    the learner's is run `quiet`, without its warnings. Nobody asks what the reference does to its
    inputs or to global state, so that is not looked at. `cotangents_for` makes the cotangents out
    of the outputs, where the request's own are not known before.
    """
    state = GlobalState(of_torch_alone=is_reference)
    calls: list[Call] = []
    watch = BanWatch(request.bans, learner_files)
    meter = CostMeter() if request.meter else None
    prepared = _prepare(request)
    constructions = Constructions(request.conditions) if request.conditions else None
    recorder = Recorder(module, calls, watch.look_at, constructions, watch_draws=request.draws)
    run = _Run(recorder, request, prepared, constructions, cotangents_for)
    error: BaseException | None = None
    disturbed: tuple[str, ...] = ()
    cost: Cost | None = None
    try:
        torch.set_default_dtype(request.default_dtype)
        _seed(request)
        with contextlib.ExitStack() as stack:
            if request.device != "cpu":
                stack.enter_context(torch.device(request.device))
            if meter:
                stack.enter_context(meter)
            if request.bans:
                stack.enter_context(watch)
            stack.enter_context(pointing_at(frozenset() if quiet else learner_files))
            stack.enter_context(recorder)
            inside = None if is_reference else GlobalState()
            try:
                run.forward()
            finally:
                if inside is not None:
                    disturbed = inside.restore(generators_may_move=request.draws)
                if recorder.have_drawn:
                    disturbed += (TORCH_GENERATOR,)
            run.backward()
            run.go_on()
        cost = meter.cost() if meter else None
    except KeyboardInterrupt:
        raise
    except BaseException as caught:
        error = caught
    finally:
        state.restore()
    interruption = None
    if error is not None:
        interruption = interruption_of(error, learner_files, timeouts, in_backward=run.in_backward)
    return (
        Observation(
            outputs={} if interruption else run.plain_outputs(),
            gradients=run.gradients,
            interruption=interruption,
            modified=() if is_reference else prepared.modified(),
            disturbed=disturbed,
            banned=tuple(watch.hits),
            calls=tuple(calls),
            cost=cost,
        ),
        error,
    )


def _seed(request: Request) -> None:
    # Nobody's own seed: an answer that calls torch.manual_seed(0) must be seen to move it.
    seed = (request.seed + 1) * _SEED_STEP % 2**63
    if request.device == "cpu":
        # torch.manual_seed costs a millisecond: it formats a stack for each absent accelerator.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


class _Run:
    """The two halves of a run, apart because only the first must leave global state alone."""

    def __init__(
        self,
        answer: Recorder,
        request: Request,
        prepared: _Prepared,
        constructions: Constructions | None,
        cotangents_for: CotangentsFor | None,
    ) -> None:
        self._answer = answer
        self._cotangents_for = cotangents_for
        self._constructions = constructions
        self._request = request
        self._inputs = prepared.inputs
        self._leaves = prepared.leaves
        self._raw: dict[str, Any] = {}
        self.gradients: dict[str, Tensor | None] = {}
        self.in_backward = False

    def forward(self) -> None:
        conditions = self._request.conditions
        with grad_mode(conditions):
            if Condition.AGAIN in conditions:
                self._ask_another(other_question)
            if Condition.REFUSED in conditions:
                self._ask_another(refused_question)
            self._raw = self._asked(self._inputs)

    def _asked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        value = self._request.scenario(self._answer, *inputs.values())
        return dict(value) if type(value) is dict else {SINGLE: value}

    def _ask_another(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        """Run the scenario with changed inputs; whether they make sense to it does not matter."""
        assert self._constructions is not None
        with contextlib.suppress(Exception), torch.no_grad():
            self._asked(change(_copied(self._request.inputs)))
        self._constructions.begin()

    def backward(self) -> None:
        cotangents = self._request.cotangents
        if cotangents is None:
            return
        if self._cotangents_for is not None:
            cotangents = self._cotangents_for(self._raw)
        # One scalar instead of `grad_outputs`: torch checks those with sympy, a slow import.
        terms: list[Tensor] = []
        for name, cotangent in cotangents.items():
            output: Any = self._raw.get(name)
            if is_plain_tensor(output) and output.requires_grad and output.shape == cotangent.shape:
                weight = cotangent.to(output.device, output.dtype)
                if Condition.VIEWS in self._request.conditions:
                    terms.append(weighed(output, weight))
                else:
                    product = (output * weight.conj()).sum()
                    terms.append(product.real if product.is_complex() else product)
        found: tuple[Tensor | None, ...] = (None,) * len(self._leaves)
        if terms and self._leaves:
            self.in_backward = True
            total = torch.stack([term.float() for term in terms]).sum()
            found = torch.autograd.grad(total, tuple(self._leaves.values()), allow_unused=True)
            self.in_backward = False
        self.gradients = {
            name: None if gradient is None else _plain(gradient)
            for name, gradient in zip(self._leaves, found, strict=True)
        }

    def go_on(self) -> None:
        """Ask another question, which must not change what was returned before."""
        if Condition.AGAIN in self._request.conditions:
            with grad_mode(self._request.conditions):
                self._ask_another(other_question)

    def plain_outputs(self) -> dict[str, Tensor | Plain | Opaque]:
        return {name: _output(value) for name, value in self._raw.items()}


@dataclass(frozen=True)
class _Prepared:
    """Fresh inputs, the leaves that gradients are taken for, and what must stay unmodified."""

    given: Mapping[str, Any]
    inputs: dict[str, Any]
    leaves: dict[str, Tensor]
    watched: dict[str, tuple[Tensor, Tensor]]

    def modified(self) -> tuple[str, ...]:
        """The names of the inputs that no longer are what they were.

        One that is a list or a dict and holds something else now says so: "ids:list".
        """
        tensors = [name for name, (old, new) in self.watched.items() if not _unchanged(old, new)]
        plain = [_changed(name, value, self.inputs[name]) for name, value in self.given.items()]
        return (*tensors, *itertools.chain(*plain))


def _changed(name: str, old: Any, new: Any) -> Iterator[str]:
    """The lists and dicts of one input that hold something else now; a tuple's by their place."""
    if isinstance(old, tuple):
        for index, (was, item) in enumerate(zip(old, new, strict=True)):
            yield from _changed(f"{name}.{index}", was, item)
    elif isinstance(old, (list, dict)) and not _holds_the_same(old, new):
        yield f"{name}:{type(old).__name__}"


def _copied(inputs: Mapping[str, Any]) -> Any:
    """Inputs that an answer may write into; the request's own are asked about again."""
    return map_tensors(lambda _, tensor: tensor.clone(), dict(inputs), "")


def _prepare(request: Request) -> _Prepared:
    """Copy the inputs for one run.

    The answer gets copies of the leaves: writing into a leaf would raise torch's error before the
    harness could say which input was modified.
    """
    leaves: dict[str, Tensor] = {}
    watched: dict[str, tuple[Tensor, Tensor]] = {}
    views = Condition.VIEWS in request.conditions

    def fresh(name: str, value: Tensor) -> Tensor:
        copy = value.detach().to(request.device, copy=True)
        if views:
            copy = as_view(copy)
        if request.cotangents is not None and name.partition(".")[0] in request.differentiate:
            if copy.is_floating_point() or copy.is_complex():
                leaves[name] = copy.requires_grad_()
                copy = copy.view_as(copy) if views else copy.clone()
        watched[name] = value, copy
        return copy

    inputs = {name: map_tensors(fresh, value, name) for name, value in request.inputs.items()}
    return _Prepared(request.inputs, inputs, leaves, watched)


def _unchanged(old: Tensor, new: Tensor) -> bool:
    if new.shape != old.shape or new.dtype != old.dtype:
        return False
    new = new.detach().to(old.device)
    same = new == old
    if old.is_floating_point() or old.is_complex():
        same |= (new != new) & (old != old)
    return bool(same.all())


def _holds_the_same(old: Any, new: Any) -> bool:
    """Whether lists and dicts have the items that they had; tensors are watched by themselves."""
    if isinstance(old, Tensor) or type(old) is not type(new):
        return type(old) is type(new) or isinstance(old, Tensor) and isinstance(new, Tensor)
    if isinstance(old, dict):
        if list(old) != list(new):
            return False
        return all(_holds_the_same(item, new[key]) for key, item in old.items())
    if type(old) in (list, tuple):
        same = len(old) == len(new)
        return same and all(_holds_the_same(*pair) for pair in zip(old, new, strict=True))
    return type(old) not in (bool, int, str, bytes) or bool(old == new)


def _output(value: Any) -> Tensor | Plain | Opaque:
    try:
        if is_plain_tensor(value):
            if _can_be_copied(value):
                return _plain(value)
        elif _is_plain_value(value):
            return value  # type: ignore[no-any-return]
        return Opaque(describe(value))
    except Exception as error:  # what leaked out of a transformation only looks like a tensor
        return Opaque(f"a {type(value).__name__} that cannot be read ({type(error).__name__})")


def _plain(value: Tensor) -> Tensor:
    """A tensor of its own storage on the CPU, without history."""
    return value.detach().to("cpu", copy=True).resolve_conj().resolve_neg().contiguous()


def _can_be_copied(value: Tensor) -> bool:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta or value.is_nested:
        return False
    is_small = value.nbytes <= LARGEST and max(value.shape, default=0) <= LARGEST
    return is_small and value.dim() <= MOST_DIMENSIONS and value.dtype in DTYPES


def _is_plain_value(value: object) -> bool:
    """Whether a value is plain through and through, and not too much of it.

    Looks at no more than may be sent: a list may hold itself, or the same list many times over.
    """
    values, characters = MOST_VALUES, MOST_CHARACTERS
    ahead = [(value, DEEPEST)]
    while ahead:
        value, deeper = ahead.pop()
        inner: Collection[Any] = ()
        if type(value) is dict:
            if not all(type(key) in (str, bytes, int) for key in value):
                return False
            ahead += ((key, 0) for key in value)
            inner = value.values()
        elif type(value) in (list, tuple):
            inner = cast("Collection[Any]", value)
        elif type(value) is str:
            characters -= len(value)
        elif type(value) is bytes:
            characters -= 2 * len(value)
        elif type(value) is int:
            characters -= value.bit_length() // 3
            if value.bit_length() > _LONGEST_INT:
                return False
        elif value is not None and type(value) not in (bool, float):
            return False
        values -= len(inner)
        if values < 0 or characters < 0 or (inner and not deeper):
            return False
        ahead += ((item, deeper - 1) for item in inner)
    return True


def parameter_names(scenario: Callable[..., Any]) -> list[str]:
    """The names of a scenario's inputs: its parameters after the module under test."""
    return [
        parameter.name
        for parameter in list(inspect.signature(scenario).parameters.values())[1:]
        if parameter.default is inspect.Parameter.empty
    ]
