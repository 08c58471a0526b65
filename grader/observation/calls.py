"""What the functions and methods of an answer give back, noted while a scenario runs.

It tells a learner which call returned the wrong kind of thing, where a scenario breaks on that or
takes it for something else. Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, ModuleType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from grader.observation.conditions import Constructions


@dataclass(frozen=True)
class Call:
    """Something of the answer's that the scenario used, and what came back.

    Nothing does, `returned` is empty, from a call that ends in an error and from a class.
    """

    name: str
    returned: str = ""


CALLED_BY_THE_SCENARIO = "Recorder._recorded.<locals>.recorded"
"""The qualified name of the function that stands on the stack between scenario and answer."""


class MissingName(AttributeError):
    """The answer does not define a name that the scenario asks for."""


class Recorder:
    """Stands before the answer's module and notes what its functions and methods return.

    What the answer calls of its own in the meantime is not noted. Methods are those of classes that
    the scenario asks for: `forward` of a torch module, its own or that of a class which it derives
    from, and the public ones of a class without a base.
    They are exchanged inside a `with` block and put back after it.

    With `watch_draws` it is seen whether calls `have_drawn` random numbers: where making a module
    may, calling it may not.

    With `constructions` those classes make their instances as the conditions of the run want them.
    """

    def __init__(
        self,
        module: ModuleType,
        calls: list[Call],
        look_at: Callable[[object, str], None],
        constructions: Constructions | None = None,
        *,
        watch_draws: bool = False,
    ) -> None:
        self._module = module
        self._calls = calls
        self._look_at = look_at
        self._constructions = constructions
        self._watch_draws = watch_draws
        self.have_drawn = False
        self._inside = False
        self._exchanged: dict[type, dict[str, FunctionType]] = {}
        self._inherited: dict[type, set[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for owner, methods in self._exchanged.items():
            for name, method in methods.items():
                if name in self._inherited.get(owner, ()):
                    delattr(owner, name)
                else:
                    setattr(owner, name, method)
        self._exchanged.clear()
        self._inherited.clear()

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(self._module, name)
        except AttributeError:
            raise MissingName(name, name=name, obj=self._module) from None
        self._look_at(value, str(self._module.__file__))
        if isinstance(value, type):
            self._exchange_methods(value)
            if self._constructions is not None and value in self._exchanged:
                return self._constructions.watched(value) if self._exchanged[value] else value
            return value
        return self._recorded(value, name) if callable(value) else value

    def _exchange_methods(self, owner: type) -> None:
        if owner in self._exchanged or owner.__module__ != self._module.__name__:
            return
        self._calls.append(Call(owner.__name__))
        self._exchanged[owner] = methods = _methods(owner)
        self._inherited[owner] = methods.keys() - vars(owner).keys()
        for name, method in methods.items():
            setattr(owner, name, self._recorded(method, f"{owner.__name__}.{name}"))

    def _recorded(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside = True
            self._calls.append(Call(name))
            before = torch.get_rng_state() if self._watch_draws else None
            try:
                returned = function(*args, **kwargs)
                if before is not None and not torch.equal(before, torch.get_rng_state()):
                    self.have_drawn = True
                self._calls[-1] = Call(name, describe(returned))
                if self._constructions is not None:
                    self._constructions.called(function, args, kwargs)
            finally:
                self._inside = False
            return returned

        return recorded


def _methods(owner: type) -> dict[str, FunctionType]:
    """The methods of a class that a scenario calls, as they stand in it."""
    own = {name: value for name, value in vars(owner).items() if isinstance(value, FunctionType)}
    if issubclass(owner, torch.nn.Module):
        forward: object = owner.forward
        if not isinstance(forward, FunctionType) or forward is torch.nn.Module.forward:
            return {}
        return {"forward": forward}
    if owner.__bases__ != (object,):
        return {}
    return {name: method for name, method in own.items() if not name.startswith("_")}


def is_plain_tensor(value: object) -> bool:
    """Whether a value is a tensor and nothing more special: a subclass may lie about itself."""
    return type(value) in (Tensor, torch.nn.Parameter)


def describe(value: object, deeper: int = 2) -> str:
    """What a value is, in a learner's words: "None", "a float32 tensor [2, 3]", "a tuple of 2"."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        kind = "" if is_plain_tensor(value) else f"{type(value).__name__} "
        layout = "" if value.layout is torch.strided else f"{str(value.layout)[6:]} "
        quantised = "quantised " if value.is_quantized else ""
        where = "meta " if value.is_meta else ""
        if value.is_nested:
            return f"a nested {kind}tensor"
        dtype = str(value.dtype).removeprefix("torch.")
        article = "an" if dtype[0] in "iu" and not (kind or layout or quantised or where) else "a"
        shape = ", ".join(str(int(size)) for size in value.shape)
        return f"{article} {where}{layout}{quantised}{kind}{dtype} tensor [{shape}]"
    if type(value) in (tuple, list):
        items = "…"
        if deeper:  # a list may hold itself
            items = ", ".join(describe(item, deeper - 1) for item in value[:3])  # type: ignore[index]
        more = ", …" if len(value) > 3 else ""  # type: ignore[arg-type]
        return f"a {type(value).__name__} of {len(value)} ({items}{more})"  # type: ignore[arg-type]
    if type(value) in (bool, int, float, str):
        return f"the {type(value).__name__} {str(value)[:40]!r}"
    if type(value) is bytes:
        return f"the bytes {value[:40]!r}"
    if isinstance(value, FunctionType):
        return "a function"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"
