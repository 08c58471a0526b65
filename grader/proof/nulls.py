"""Null answers: they do no work, and yet return outputs of the right form.

A suite that gives them more than a few points rewards work that was not done.
"""

from __future__ import annotations

import copy
import dataclasses
from types import FunctionType, GeneratorType, ModuleType
from typing import Any

import torch
from torch import Tensor

from grader.observation.answer import Answer, load_answer

NULLS = ("zeros", "ones", "half", "random", "input", "nothing")
"""What stands in the outputs: a number, random ones, the input, or None in place of any output."""

_METHODS = {torch.nn.Module: "forward", torch.optim.Optimizer: "step"}
"""The method that does the work of a class; in any other class all public methods do."""


def load_null(kind: str, solution: Answer) -> ModuleType:
    """A module whose public functions, and `forward` and `step` methods, do no work.

    The solution is called for the form of the outputs only, on copies of the arguments if they can
    be copied. What the solution refuses, the null answer accepts: then its output has the form of
    the first tensor that it was given.
    """
    source = solution.source
    module = load_answer(Answer(f"_null_{kind}", source, solution.siblings))
    for name, value in list(vars(module).items()):
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if isinstance(value, type):
            for method in _working_methods(value):
                setattr(value, method, _null(vars(value)[method], kind))
        elif callable(value):
            setattr(module, name, _null(value, kind))
    return module


def _working_methods(answer: type) -> list[str]:
    for base, method in _METHODS.items():
        if issubclass(answer, base):
            return [method] if method in vars(answer) else []
    functions = {name for name, value in vars(answer).items() if isinstance(value, FunctionType)}
    return sorted(name for name in functions if not name.startswith("_"))


def _null(function: Any, kind: str) -> Any:
    def answer(*args: Any, **kwargs: Any) -> Any:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        try:
            args, kwargs = _copied((args, kwargs))
            form = function(*args, **kwargs)
        except Exception:
            form = given[0] if given else None
        if given:
            return _emptied(form, kind, given)
        plain = [value for value in (*args, *kwargs.values()) if isinstance(value, _PLAIN)]
        if plain and kind == "input":
            return plain[0]
        return _emptied(_without_content(form, kind), kind, given)

    return answer


_PLAIN = (str, bytes, list, dict)


def _without_content(form: Any, kind: str) -> Any:
    """Texts, numbers and bytes of a plain value in its form; tensors stay for now."""
    if isinstance(form, (str, bytes)):
        return type(form)()
    if type(form) is int:
        return int(kind == "ones")
    if type(form) in (list, tuple):
        return type(form)(_without_content(item, kind) for item in form)
    if isinstance(form, dict):
        return {key: _without_content(item, kind) for key, item in form.items()}
    if isinstance(form, GeneratorType):
        return (_without_content(item, kind) for item in form)
    return form


def _copied(arguments: Any) -> Any:
    """Copies, so that a function that exists to change its arguments leaves them alone."""
    try:
        return copy.deepcopy(arguments)
    except (RuntimeError, TypeError):  # tensors with a history, generators
        return arguments


def _emptied(form: Any, kind: str, given: list[Tensor]) -> Any:
    if kind == "nothing":
        return None
    if isinstance(form, Tensor):
        return _null_tensor(form.detach(), kind, given)
    if isinstance(form, float):
        return float(_null_tensor(torch.tensor(form), kind, []))
    if isinstance(form, dict):
        return {key: _emptied(item, kind, given) for key, item in form.items()}
    if isinstance(form, GeneratorType):
        return (_emptied(item, kind, given) for item in form)
    if dataclasses.is_dataclass(form) and not isinstance(form, type):
        fields = {field.name: getattr(form, field.name) for field in dataclasses.fields(form)}
        return dataclasses.replace(form, **_emptied(fields, kind, given))
    if isinstance(form, tuple) and not hasattr(form, "_fields"):
        return tuple(_emptied(item, kind, given) for item in form)
    if isinstance(form, list):
        return [_emptied(item, kind, given) for item in form]
    return form


def _null_tensor(form: Tensor, kind: str, given: list[Tensor]) -> Tensor:
    if kind == "input":
        same = [value for value in given if value.shape == form.shape]
        return same[0].to(form.dtype) if same else torch.zeros_like(form)
    if kind == "random":
        if form.is_floating_point() or form.is_complex():
            return torch.randn_like(form)
        return torch.zeros_like(form)
    return torch.full_like(form, {"zeros": 0, "ones": 1, "half": 0.5}[kind])
