"""Circumstances that must not change what an answer does, and how a scenario is run in them.

People forget to try eval mode, `no_grad`, views and second calls, and so do authors of tests. Here
a scenario that was written for one plain run is run in them, and need not know of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from enum import StrEnum
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_Made = TypeVar("_Made")
_Making = tuple[type, tuple[Any, ...], dict[str, Any]]
"""How an object was made: its class and what that was called with."""


class Condition(StrEnum):
    """One circumstance; the value is its key in the catalog of sentences."""

    EVAL = "eval"
    """Modules are in eval mode as soon as they are made; plain runs leave them in training mode."""
    NO_GRAD = "no_grad"
    INFERENCE = "inference"
    VIEWS = "views"
    """Tensors that come in, gradients included, are views with an offset, strides and gaps."""
    AGAIN = "again"
    """The same modules are asked another question before, and once more afterwards."""
    ANOTHER = "another"
    """Each object has a twin, which is asked another question after each call."""
    REFUSED = "refused"
    """The same modules are asked what they must refuse before."""
    COPIED = "copied"
    """Modules are deep copies of those that were made."""
    LOADED = "loaded"
    """Modules have loaded the state dict of those that were made."""


REPEATED = frozenset({Condition.AGAIN, Condition.REFUSED})
"""Where the scenario is run more than once, so that what it draws is drawn again."""
WITHOUT_GRADIENTS = frozenset({Condition.NO_GRAD, Condition.INFERENCE})


def grad_mode(conditions: Collection[Condition]) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    if Condition.INFERENCE in conditions:
        return torch.inference_mode()
    return torch.no_grad() if Condition.NO_GRAD in conditions else nullcontext()


class Constructions:
    """Makes the objects that a scenario asks for, as the conditions want them.

    Objects that the answer itself makes are its own affair. What changes of an object's making,
    such as a deep copy of it, is about modules alone.
    """

    def __init__(self, conditions: Collection[Condition]) -> None:
        self._conditions = conditions
        self._made: list[tuple[_Making, nn.Module]] = []
        self._next: int | None = None
        self._twins: dict[int, tuple[object, object]] = {}

    def begin(self) -> None:
        """Begin another run, with the modules that there are in the order of their making."""
        self._next = 0

    def watched(self, owner: type) -> type:
        """The class to hand to a scenario in place of an answer's.

        Instances are the answer's own; to derive from it or to ask what is an instance works, too.
        """
        make = self._make

        class Watching(type(owner)):  # type: ignore[misc]
            def __call__(cls, *args: Any, **kwargs: Any) -> Any:
                if cls is not handed_out:  # the scenario's own class, which derives from it
                    return super().__call__(*args, **kwargs)
                return make(owner, args, kwargs)

            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, owner)

        names = {"__module__": owner.__module__, "__qualname__": owner.__qualname__}
        handed_out: type = Watching(owner.__name__, (owner,), names)
        return handed_out

    def called(self, method: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> None:
        """Have the twin of an object whose method was called do the same with other inputs."""
        _, twin = self._twins.get(id(args[0]) if args else 0, (None, None))
        if twin is None:
            return
        asked = {str(place): value for place, value in enumerate(args[1:])} | kwargs
        changed = other_question(asked)
        others = [changed.pop(str(place)) for place in range(len(args) - 1)]
        named = changed
        with _as_if_nothing_happened(), suppress(Exception), torch.no_grad():
            method(twin, *others, **named)

    def _make(self, owner: type, args: Any, kwargs: Any) -> object:
        if not issubclass(owner, nn.Module):
            return self._with_twin(owner(*args, **kwargs), owner, args, kwargs)
        making = owner, args, kwargs
        module = self._earlier(making)
        if module is None:
            module = self._new(owner, args, kwargs)
            self._made.append((making, module))
        return module.eval() if Condition.EVAL in self._conditions else module

    def _earlier(self, making: _Making) -> nn.Module | None:
        """The module that was made at this point of the earlier run, if in the same way."""
        if self._next is None or self._next >= len(self._made):
            return None
        earlier, module = self._made[self._next]
        self._next += 1
        with suppress(Exception):  # tensors are not simply equal or not
            if earlier == making:
                return module
        return None

    def _new(self, owner: type[nn.Module], args: Any, kwargs: Any) -> nn.Module:
        generator = torch.default_generator.get_state()
        module = owner(*args, **kwargs)
        if Condition.COPIED in self._conditions:
            module = copy.deepcopy(module)
        if Condition.LOADED in self._conditions:
            # The generator moves as if one module had been made, and that with the same numbers.
            torch.default_generator.set_state(generator)
            other = owner(*args, **kwargs)
            other.load_state_dict(module.state_dict())
            module = other
        return self._with_twin(module, owner, args, kwargs)

    def _with_twin(self, made: _Made, owner: type, args: Any, kwargs: Any) -> _Made:
        if Condition.ANOTHER in self._conditions:
            with _as_if_nothing_happened(), suppress(Exception):
                self._twins[id(made)] = made, owner(*args, **kwargs)
        return made


@contextmanager
def _as_if_nothing_happened() -> Iterator[None]:
    """Puts the random generator back to where it was."""
    state = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


def map_tensors(change: Callable[[str, Tensor], Tensor], value: Any, name: str) -> Any:
    """An input with its tensors changed; inside dicts and sequences they are `name.key`."""
    if isinstance(value, Tensor):
        return change(name, value)
    if isinstance(value, dict):
        return {key: map_tensors(change, item, f"{name}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(
            map_tensors(change, item, f"{name}.{index}") for index, item in enumerate(value)
        )
    return value


def as_view(value: Tensor) -> Tensor:
    """The same numbers as a view into a larger tensor, as slices and transposes give it.

    It has an offset, and gaps between rows. The last axis stays together, as in a slice of rows or
    in heads that are transposed to the front; the others lie in reverse. What lies in the gaps is
    NaN: whoever reads it shows it. Indices and masks only get an offset,
    since `topk_idx.view(-1)` is what people rightly write.
    """
    if not (value.is_floating_point() or value.is_complex()):
        return torch.cat((value.new_zeros(1), value.reshape(-1)))[1:].view(value.shape)
    sizes = [max(1, size) for size in value.shape]
    row = sizes.pop() if len(sizes) > 1 else 1
    strides, step = [], 2 * row  # every other row is a gap
    for size in sizes:
        strides.append(step)
        step *= size
    if value.dim() > 1:
        strides.append(1)
    room = value.new_full((row + step,), float("nan"))
    view = room.as_strided(value.shape, strides, row)
    with torch.no_grad():
        view.copy_(value)
    return view


class _HandedBack(torch.autograd.Function):
    """Weighs an output by a cotangent, and hands that back as it is, strides and all."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, cotangent: Tensor) -> Tensor:
        ctx.cotangent = cotangent
        product = (output * cotangent.conj()).sum()
        return product.real if product.is_complex() else product

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        # The products of all outputs are added up, so that the gradient that comes is 1.
        return ctx.cotangent, None


def weighed(output: Tensor, cotangent: Tensor) -> Tensor:
    """The product of an output and a cotangent, whose gradient reaches the answer as a view."""
    result: Tensor = _HandedBack.apply(output, as_view(cotangent))  # type: ignore[no-untyped-call]
    return result


def other_question(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of the same kind that ask something else.

    Without tensors among them, texts and lists are others; beside tensors they may be what says how
    the question is put.
    """
    if not _have_tensors(inputs):
        return {name: _turned(value) for name, value in inputs.items()}
    return {name: map_tensors(_rolled, value, name) for name, value in inputs.items()}


def refused_question(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of which the first tensor lacks its last column, so that it fits no other.

    Without tensors, the first list has an item that is none, or the first text a character that no
    encoding has, both at the end, where much is done already.
    """
    refused = dict(inputs)
    if not _have_tensors(inputs):
        for name, value in inputs.items():
            if isinstance(value, list) and value:
                return refused | {name: [*value, None]}
            if isinstance(value, str):
                return refused | {name: f"{value}\ud800"}
        return refused
    first = next((name for name, value in inputs.items() if isinstance(value, Tensor)), None)
    if first is not None and inputs[first].dim():
        refused[first] = inputs[first][..., :-1]
    return refused


def _have_tensors(inputs: Mapping[str, Any]) -> bool:
    found: list[str] = []

    def note(name: str, value: Tensor) -> Tensor:
        found.append(name)
        return value

    map_tensors(note, dict(inputs), "")
    return bool(found)


def _turned(value: Any) -> Any:
    """Another text, a list in another order, a list of other texts."""
    if isinstance(value, str):
        return value[1:] + value[:1]
    if type(value) is list:
        if all(isinstance(item, (str, list)) for item in value):
            return [_turned(item) for item in value]
        return value[1:] + value[:1]
    return value


def _rolled(name: str, value: Tensor) -> Tensor:
    if value.dim() == 0:
        return value.clone()
    return value.roll(1, 0 if len(value) > 1 else -1)
