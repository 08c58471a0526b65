"""Known wrong answers and other right ones, as the text of whole answers.

A file under `tests/mistakes/` or `tests/alternatives/` holds classes. Each is a namespace of
definitions that replace those of the solution: its name is the id, its docstring the sentence,
its body what is put after the solution's text. The classes are read, never imported. Files under
`tests/roundings/` have the same form and change the reference: other correct ways to compute it,
which round differently and so widen the tolerance.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType, GeneratorType, ModuleType
from typing import Any

import torch
from torch import Tensor

from grader.observation.answer import Answer, Source, load_answer


class VariantError(ValueError):
    """A file of mistakes or alternatives is not in the form that it must have."""


@dataclass(frozen=True)
class Variant:
    """One known answer: `sentence` says what it does and, for a mistake, what is right.

    `undetectable` is the proof that no CPU input tells it from a right answer; such a mistake is
    listed, not counted.
    """

    id: str
    sentence: str
    definitions: str
    undetectable: str | None = None

    def applied_to(self, solution: Source) -> Source:
        """The solution with this variant's definitions put over its own."""
        text = f"{solution.text}\n\n{self.definitions}"
        return Source(solution.name, f"{solution.path}#{self.id}", text)


@cache
def read_variants(path: Path) -> tuple[Variant, ...]:
    """The variants in a file, in its order; none if there is no such file."""
    if not path.exists():
        return ()
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    imports = "\n".join(_shared_imports(tree, text))
    variants = [
        _variant(node, text, imports, path) for node in tree.body if isinstance(node, ast.ClassDef)
    ]
    ids = [variant.id for variant in variants]
    for name in ids:
        if ids.count(name) > 1:
            raise VariantError(f"{path}: {name} is defined twice; ids are unique")
    return tuple(variants)


def _shared_imports(tree: ast.Module, text: str) -> Iterator[str]:
    """The file's imports, but for those from the solution, whose names are there already."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield ast.get_source_segment(text, node) or ""
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            if not (node.module or "").startswith("solutions"):
                yield ast.get_source_segment(text, node) or ""


def _variant(node: ast.ClassDef, text: str, imports: str, path: Path) -> Variant:
    where = f"{path}:{node.lineno} {node.name}"
    sentence = ast.get_docstring(node)
    if not sentence:
        raise VariantError(f"{where}: a docstring is missing: the sentence that a learner reads")
    body = node.body[1:]
    undetectable = None
    if body and isinstance(body[0], ast.Assign):
        if ast.unparse(body[0].targets[0]) == "UNDETECTABLE":
            undetectable = str(ast.literal_eval(body[0].value))
            body = body[1:]
    if not body:
        raise VariantError(f"{where}: no definitions: it must replace something of the solution")
    lines = text.splitlines()
    first = min([body[0].lineno, *(d.lineno for d in getattr(body[0], "decorator_list", ()))])
    block = textwrap.dedent("\n".join(lines[first - 1 : body[-1].end_lineno]))
    return Variant(node.name, " ".join(sentence.split()), f"{imports}\n\n{block}\n", undetectable)


def load_variant(variant: Variant, solution: Answer) -> ModuleType:
    """A module of a solution changed by a variant, in a package of its own."""
    answer = Answer(
        f"_{variant.id}", variant.applied_to(solution.source), solution.siblings, solution.own
    )
    return load_answer(answer)


NULLS = ("zeros", "ones", "half", "random", "input", "nothing")
"""Answers that do no work: each gives outputs of the right form, but for "nothing" (None)."""


_METHODS = {torch.nn.Module: "forward", torch.optim.Optimizer: "step"}
"""The method that does the work of a class; in a class of its own kind all public ones do."""


def load_null(kind: str, solution: Answer) -> ModuleType:
    """A module whose public functions, `forward` and `step` methods answer without working.

    The solution is called for the form of the outputs alone, on copies of the arguments where they
    can be copied; what it refuses, the null answer accepts, and gives its first argument back.
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
        return _emptied(form, kind, given)

    return answer


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
