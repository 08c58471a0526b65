"""The rules that a scenario must keep so that one form serves every use of it."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from grader.observation.observe import parameter_names

_PLAIN = (
    *(bool, int, float, str, bytes, type(None), types.ModuleType, type),
    *(torch.dtype, torch.device, torch.Size),
)
_CONTAINERS = (tuple, list, set, frozenset)


class ScenarioError(TypeError):
    """A test breaks the rules of scenarios: an author's mistake, not a learner's."""


def check_scenario(
    scenario: Callable[..., Any], inputs: Sequence[Any], half: Sequence[str]
) -> list[str]:
    """The names of a scenario's inputs. Raises ScenarioError where it breaks a rule."""
    names = parameter_names(scenario)
    if len(names) != len(inputs):
        raise ScenarioError(
            f"the scenario takes {len(names)} inputs after the module ({', '.join(names)}), "
            f"it was given {len(inputs)}"
        )
    unknown = [name for name in half if name not in names]
    if unknown:
        raise ScenarioError(f"half={tuple(half)}: the scenario has no input {unknown[0]!r}")
    _check("the scenario", scenario, set())
    return names


def _check(name: str, value: Any, seen: set[int]) -> None:
    """Refuse captured values other than plain ones and functions.

    Inputs are arguments, or the harness could neither clone nor cast them; a captured generator
    would ship the seed to the learner's process.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, types.FunctionType):
        for captured, content in _captured(value):
            _check(captured, content, seen)
        return
    parts = _parts(value)
    if parts is None:
        raise ScenarioError(
            f"the scenario captures {name}, a {type(value).__name__}: pass it as an input; "
            "only plain values and functions may be captured"
        )
    for part in parts:
        _check(name, part, seen)


def _captured(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a recursive inner function that is not bound yet
            continue
    for code in _codes(function.__code__):
        for name in code.co_names:
            if name in function.__globals__:
                yield name, function.__globals__[name]
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "a default", value


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _parts(value: Any) -> Iterable[Any] | None:
    """What else a value brings along; None if it may not be captured at all."""
    if isinstance(value, _PLAIN) or type(value).__module__ == "minimind_ref.config":
        return ()
    if isinstance(value, _CONTAINERS):
        return value
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, types.MethodType):
        return (value.__self__, value.__func__)
    if isinstance(value, types.BuiltinMethodType):
        return (value.__self__,)
    if isinstance(value, functools._lru_cache_wrapper):
        return (value.__wrapped__,)
    if callable(value) and type(value).__module__ in ("builtins", "torch._ops"):
        return ()
    return None
