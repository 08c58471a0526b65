"""Wrong answers that follow from the solution by themselves, for every public function and method.

Authors list the mistakes that they think of. These are the ones that nobody thinks of: a function
that keeps its first result, a layer that raises in eval mode, a keyword that is ignored.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from grader.observation.answer import Answer, load_answer
from grader.observation.conditions import map_tensors

_CHANGES_ITS_ARGUMENTS = ("step", "train_step", "train_epoch", "append", "reset")
"""Functions that exist to change something; so do those whose names end with an underscore."""


@dataclass(frozen=True)
class Derived:
    """One wrong answer: `target` is a function, or a method as "Class.method".

    `change` is what is wrong with it, as the end of a sentence that begins with the target, and
    `argument` the parameter that it is about, if it is about one.
    """

    target: str
    change: str
    argument: str = ""

    @property
    def id(self) -> str:
        return f"{self.target} {self.change.format(argument=self.argument)}"


class Acted:
    """Whether a wrong answer has done anything wrong yet: what is never asked acts never."""

    def __init__(self) -> None:
        self.yes = False


_Wrap = Callable[[Callable[..., Any], Acted, str], Callable[..., Any]]


def derived_mistakes(solution: Answer) -> list[Derived]:
    """All wrong answers that can be derived from a solution."""
    module = load_answer(Answer("_derived", solution.source, solution.siblings))
    found = []
    for target, function, owner in _targets(module):
        for name, change in _CHANGES.items():
            arguments = change.applies(function, owner)
            found += [Derived(target, name, argument) for argument in arguments]
    return found


def load_derived(derived: Derived, solution: Answer) -> tuple[ModuleType, Acted]:
    """A module of a solution with the derived mistake in it, and whether it has acted."""
    package = f"_derived_{abs(hash(derived.id))}"
    module = load_answer(Answer(package, solution.source, solution.siblings))
    acted = Acted()
    owner: Any = module
    *path, name = derived.target.split(".")
    for part in path:
        owner = getattr(owner, part)
    change = _CHANGES[derived.change]
    if change.of_class is not None:
        change.of_class(owner, acted)
    original = vars(owner)[name]
    changed = change.wrap(original, acted, derived.argument)
    setattr(owner, name, functools.wraps(original)(changed))
    return module, acted


def must_act(derived: Derived) -> bool:
    """Whether the tests have to ask for what this mistake is about.

    What is about results applies where there are any of the kind, gradients to what has gradients,
    and so on: whether that is so shows when it is run.
    """
    return _CHANGES[derived.change].must_act


def accepted_reasons(file: Path) -> dict[str, str]:
    """The derived mistakes that no legal input shows, by id, each with the reason."""
    if not file.exists():
        return {}
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("derived", [])
    return {entry["id"]: entry["reason"] for entry in entries}


def _targets(module: ModuleType) -> Iterator[tuple[str, FunctionType, type | None]]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield name, value, None
        elif isinstance(value, type):
            for method, function in vars(value).items():
                public = not method.startswith("_") or method == "__init__"
                if public and isinstance(function, FunctionType):
                    yield f"{name}.{method}", function, value


def _parameters(function: FunctionType) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    return [p for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]


# What applies to which function: the names of the arguments that it is about, "" for none.

_Applies = Callable[[FunctionType, type | None], list[str]]


def _always(function: FunctionType, owner: type | None) -> list[str]:
    return [] if function.__name__ == "__init__" else [""]


def _of_modules(function: FunctionType, owner: type | None) -> list[str]:
    is_forward = function.__name__ == "forward"
    return [""] if owner is not None and issubclass(owner, nn.Module) and is_forward else []


def _each_tensor(function: FunctionType, owner: type | None) -> list[str]:
    if function.__name__ == "__init__":
        return []
    return [p.name for p in _parameters(function) if "Tensor" in str(p.annotation)]


def _of_tensors(function: FunctionType, owner: type | None) -> list[str]:
    return [""] if _each_tensor(function, owner) else []


def _each_tensor_to_leave(function: FunctionType, owner: type | None) -> list[str]:
    name = function.__name__
    if name in _CHANGES_ITS_ARGUMENTS or name.endswith("_"):
        return []
    return _each_tensor(function, owner)


def _each_container_to_leave(function: FunctionType, owner: type | None) -> list[str]:
    name = function.__name__
    if name in _CHANGES_ITS_ARGUMENTS or (name.endswith("_") and name != "__init__"):
        return []
    kinds = inspect.signature(function, eval_str=False).parameters.values()
    return [p.name for p in kinds if str(p.annotation).startswith(("list[", "dict["))]


def _each_default(function: FunctionType, owner: type | None) -> list[str]:
    return [p.name for p in _parameters(function) if p.default is not p.empty]


def _each_other_default(function: FunctionType, owner: type | None) -> list[str]:
    changeable = (bool, int, float, tuple)
    return [p.name for p in _parameters(function) if isinstance(p.default, changeable)]


# How each change is made: it gets the function, where to note that it acted, and the argument.


def _where(happens: Callable[[tuple[Any, ...], Mapping[str, Any]], bool], raises: bool) -> _Wrap:
    """Wrong in some circumstances only: an error, or another result."""

    def wrap(function: Callable[..., Any], acted: Acted, argument: str) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            if not happens(args, kwargs):
                return function(*args, **kwargs)
            if raises:
                acted.yes = True
                raise RuntimeError("this case is not written")
            return _spoiled(function(*args, **kwargs), acted)  # of None nothing can be spoiled

        return changed

    return wrap


def _without_graph(args: Any, kwargs: Any) -> bool:
    return not (torch.is_grad_enabled() or torch.is_inference_mode_enabled())


def _in_inference(args: Any, kwargs: Any) -> bool:
    return torch.is_inference_mode_enabled()


def _in_eval(args: Any, kwargs: Any) -> bool:
    return not args[0].training


def _with_views(args: Any, kwargs: Any) -> bool:
    tensors = _tensors((*args, *kwargs.values()))
    return any(value.is_floating_point() and not value.is_contiguous() for value in tensors)


def _keeps_first(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    kept: dict[Any, Any] = {}

    def changed(*args: Any, **kwargs: Any) -> Any:
        tensors = _tensors((*args, *kwargs.values()))
        key = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if key in kept:
            acted.yes = True
        else:
            kept[key] = function(*args, **kwargs)
        return kept[key]

    return changed


def _shares_memory(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    memory: dict[Any, Tensor] = {}

    def in_memory(_: str, value: Tensor) -> Tensor:
        if value.requires_grad or not value.is_floating_point():
            return value
        room = memory.setdefault((value.shape, value.dtype), torch.empty_like(value))
        acted.yes = True
        return room.copy_(value)

    def changed(*args: Any, **kwargs: Any) -> Any:
        return _with_tensors(in_memory, function(*args, **kwargs))

    return changed


def _after_refusal(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    refused: list[object] = []

    def changed(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except Exception:
            refused.append(args[0] if args else None)
            raise
        return _spoiled(result, acted) if refused else result

    return changed


def _writes(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    def changed(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        value = _argument(function, args, kwargs, argument)
        if isinstance(value, Tensor) and not value.is_inference():
            acted.yes = True
            with torch.no_grad():
                value.add_(1) if value.dtype is not torch.bool else value.logical_not_()
        return result

    return changed


def _rearranges(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    def changed(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        value = _argument(function, args, kwargs, argument)
        if type(value) is dict and value:
            acted.yes = True
            value[next(iter(value))] = value.pop(next(iter(value)))
        elif type(value) is list and value:
            acted.yes = True
            value.append(value[0])
        return result

    return changed


def _shares_list(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    room: list[Any] = []

    def changed(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if type(result) is not list or not result or _tensors(result):
            return result
        acted.yes = True
        room[:] = result
        return room

    return changed


def _hands_out_memory(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    kept: dict[str, list[Any]] = {}

    def changed(*args: Any, **kwargs: Any) -> Any:
        asked = repr((args, kwargs))
        result = kept.get(asked) or function(*args, **kwargs)
        if type(result) is not list or not result or _tensors(result):
            return result
        acted.yes = acted.yes or asked in kept
        kept[asked] = result
        return result

    return changed


def _cuts_gradient(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    def changed(*args: Any, **kwargs: Any) -> Any:
        def detached(value: Any) -> Any:
            if isinstance(value, Tensor) and value.requires_grad:
                acted.yes = True
                return value.detach()
            return value

        args, kwargs = _with_argument(function, args, kwargs, argument, detached)
        return function(*args, **kwargs)

    return changed


def _on_result(change: Callable[[Tensor], Tensor | None]) -> _Wrap:
    def wrap(function: Callable[..., Any], acted: Acted, argument: str) -> Callable[..., Any]:
        def one(_: str, value: Tensor) -> Tensor:
            other = change(value)
            if other is None:
                return value
            acted.yes = True
            return other

        def changed(*args: Any, **kwargs: Any) -> Any:
            return _with_tensors(one, function(*args, **kwargs))

        return changed

    return wrap


def _detached(value: Tensor) -> Tensor | None:
    return value.detach() if value.requires_grad else None


def _rounded(value: Tensor) -> Tensor | None:
    if value.dtype not in (torch.float32, torch.float64):
        return None
    return value.bfloat16().to(value.dtype)


def _widened(value: Tensor) -> Tensor | None:
    if not value.is_floating_point() or value.dtype is torch.float64:
        return None
    return value.double() if value.dtype is torch.float32 else value.float()


def _rounds_parameters(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    def changed(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        exact = [
            (module._parameters, name, value)
            for module in self.modules()
            for name, value in module._parameters.items()
            if value is not None and value.dtype is torch.float32
        ]
        for parameters, name, value in exact:
            acted.yes = True
            parameters[name] = value.bfloat16().float()  # type: ignore[assignment]
        try:
            return function(self, *args, **kwargs)
        finally:
            for parameters, name, value in exact:
                parameters[name] = value

    return changed


def _moves_generator(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    def changed(*args: Any, **kwargs: Any) -> Any:
        acted.yes = True
        torch.rand(())
        return function(*args, **kwargs)

    return changed


def _ignores(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    default = inspect.signature(function).parameters[argument].default

    def changed(*args: Any, **kwargs: Any) -> Any:
        def back(value: Any) -> Any:
            acted.yes = acted.yes or value is not default
            return default

        args, kwargs = _with_argument(function, args, kwargs, argument, back)
        return function(*args, **kwargs)

    return changed


def _other_default(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    default = inspect.signature(function).parameters[argument].default

    def changed(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        if argument not in bound.arguments:
            acted.yes = True
            kwargs[argument] = _other_than(default)
        return function(*args, **kwargs)

    return changed


def _other_than(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return tuple(_other_than(item) for item in value)
    return value + 1 if isinstance(value, int) else value * 0.5 + 1e-3


def _accepts(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    def changed(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ValueError:
            acted.yes = True
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            return tuple(given[:2]) if len(given) > 1 else next(iter(given), None)

    return changed


def _spoils_marked(function: Callable[..., Any], acted: Acted, argument: str) -> Any:
    """Wrong for objects that carry a mark, which changes of their class leave on them."""

    def changed(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(self, *args, **kwargs)
        return _spoiled(result, acted) if self._is_marked() else result

    return changed


def _mark_copies(owner: type, acted: Acted) -> None:
    original = owner.__init__  # type: ignore[misc]

    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.__dict__["_made_as"] = id(self)

    owner.__init__ = functools.wraps(original)(made)  # type: ignore[misc]
    owner._is_marked = lambda self: self._made_as != id(self)  # type: ignore[attr-defined]


def _mark_loaded(owner: Any, acted: Acted) -> None:
    original = owner.load_state_dict

    def loaded(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.__dict__["_was_loaded"] = True
        return original(self, *args, **kwargs)

    owner.load_state_dict = loaded
    owner._is_marked = lambda self: self.__dict__.get("_was_loaded", False)


@dataclass(frozen=True)
class _Change:
    """One kind of wrong: to what it applies, how it is made, and whether tests must come to it.

    `of_class` changes the class of the method, where one method is not enough.
    """

    applies: _Applies
    wrap: _Wrap
    of_class: Callable[[Any, Acted], None] | None = None
    must_act: bool = False


_CHANGES: dict[str, _Change] = {
    "raises under torch.no_grad()": _Change(
        _always, _where(_without_graph, raises=True), must_act=True
    ),
    "gives something else under torch.no_grad()": _Change(
        _always, _where(_without_graph, raises=False)
    ),
    "raises under torch.inference_mode()": _Change(
        _always, _where(_in_inference, raises=True), must_act=True
    ),
    "gives something else under torch.inference_mode()": _Change(
        _always, _where(_in_inference, raises=False)
    ),
    "raises in eval mode": _Change(_of_modules, _where(_in_eval, raises=True), must_act=True),
    "gives something else in eval mode": _Change(_of_modules, _where(_in_eval, raises=False)),
    "raises for views": _Change(_of_tensors, _where(_with_views, raises=True), must_act=True),
    "gives something else for views": _Change(_of_tensors, _where(_with_views, raises=False)),
    "keeps its first result": _Change(_always, _keeps_first, must_act=True),
    "returns the same memory every time": _Change(_always, _shares_memory),
    "gives something else after it has refused an input": _Change(_always, _after_refusal),
    "gives something else in a deep copy": _Change(
        _of_modules, _spoils_marked, of_class=_mark_copies, must_act=True
    ),
    "gives something else after a state dict was loaded": _Change(
        _of_modules, _spoils_marked, of_class=_mark_loaded, must_act=True
    ),
    "writes into {argument}": _Change(_each_tensor_to_leave, _writes),
    "rearranges {argument}": _Change(_each_container_to_leave, _rearranges, must_act=True),
    "returns the same list every time": _Change(_always, _shares_list),
    "keeps the list that it returned": _Change(_always, _hands_out_memory),
    "detaches its result": _Change(_always, _on_result(_detached)),
    "leaves {argument} out of the gradient": _Change(_each_tensor, _cuts_gradient),
    "rounds its result to bfloat16": _Change(_always, _on_result(_rounded)),
    "rounds its parameters to bfloat16": _Change(_of_modules, _rounds_parameters),
    "returns a wider dtype": _Change(_always, _on_result(_widened)),
    "moves the random generator": _Change(_always, _moves_generator),
    "ignores {argument}": _Change(_each_default, _ignores, must_act=True),
    "has another default for {argument}": _Change(
        _each_other_default, _other_default, must_act=True
    ),
    "accepts what it must refuse": _Change(_always, _accepts),
}


def _spoiled(result: Any, acted: Acted) -> Any:
    """A result that is wrong by a little everywhere."""

    def wrong(_: str, value: Tensor) -> Tensor:
        acted.yes = True
        if value.dtype is torch.bool:
            return ~value
        return value * 1.5 + 0.25 if value.is_floating_point() else value + 1

    if isinstance(result, float):
        acted.yes = True
        return result * 1.5 + 0.25
    if inspect.isgenerator(result):
        return (_spoiled(item, acted) for item in result)
    if type(result) is int:
        acted.yes = True
        return result + 1
    if isinstance(result, (str, list, tuple, dict)) and not _tensors([result]):
        acted.yes = acted.yes or bool(result)
        return _shifted(result)
    if _is_record(result):
        return _with_fields(lambda item: _spoiled(item, acted), result)
    return map_tensors(wrong, result, "")


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _with_fields(change: Callable[[Any], Any], record: Any) -> Any:
    """A dataclass's object, such as a model's output, with each field changed."""
    names = [field.name for field in dataclasses.fields(record)]
    return dataclasses.replace(record, **{name: change(getattr(record, name)) for name in names})


def _with_tensors(change: Callable[[str, Tensor], Tensor], result: Any) -> Any:
    """A result with its tensors changed, those in a dataclass too."""
    if _is_record(result):
        return _with_fields(lambda item: _with_tensors(change, item), result)
    return map_tensors(change, result, "")


def _shifted(value: Any) -> Any:
    """A plain value that is another: every number in it is larger, every text longer."""
    if isinstance(value, str):
        return f"{value}?" if value else value
    if isinstance(value, bytes):
        return value + b"?"
    if type(value) in (list, tuple):
        return type(value)(map(_shifted, value))
    if type(value) is dict:
        return {key: _shifted(item) for key, item in value.items()}
    return value + 1 if type(value) is int else value


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    """The tensors among some values, and in the dicts and sequences among them."""
    found: list[Tensor] = []

    def note(_: str, value: Tensor) -> Tensor:
        found.append(value)
        return value

    for value in values:
        _with_tensors(note, value)
    return found


def _argument(function: Callable[..., Any], args: Any, kwargs: Any, name: str) -> Any:
    try:
        return inspect.signature(function).bind(*args, **kwargs).arguments.get(name)
    except TypeError:
        return None


def _with_argument(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str,
    change: Callable[[Any], Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, one of them changed if it was given."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return args, kwargs
    if name in bound.arguments:
        bound.arguments[name] = change(bound.arguments[name])
    return bound.args, bound.kwargs
