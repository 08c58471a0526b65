"""What is there around an error: the shapes in its line, names like the one that is missing.

Only the process that runs an answer can see it; the judge puts it into words. Runs beside learner
code: standard library and torch only, and nothing here calls the learner's own.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import linecache
import opcode
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType, ModuleType, TracebackType
from typing import Any

import torch
from torch import Tensor

SHAPES = "shapes"
"""The tensors in the line that failed: "q [2, 3], k [2, 4]"."""
MEANT = "meant"
"""A name that is like the one that is not there."""
HAS = "has"
"""The attributes of an object without the one that was asked for."""
PLAIN = "plain"
"""An attribute that is a plain tensor where a parameter is wanted."""
LISTED = "listed"
"""An attribute that is a Python list or dict, in which torch finds no parameters."""
BUFFER = "buffer"
"""A name in the state dict that is a buffer, and no parameter."""
WANTED = "wanted"
"""A weight that the exercise gives, with its shape: "weight [8]"."""

RAISED = "raised"
"""The answer's own `raise`, whose words need no explanation."""
IN_PLACE = "in place"
"""A line that changes a tensor in place, where torch says that one does and not which."""

_SHAPED = (RuntimeError, IndexError, ValueError)
_MOST_NAMES = 4
_LONGEST = 1_000
_LONGEST_FACT = 200
_LONG_NAME = 10
_RAISE = opcode.opmap["RAISE_VARARGS"]
_QUOTED = re.compile(r"""["']([\w.]+)["']""")
_LOADERS = {"load_state_dict": "self", "_functional_call": "module"}
_GIVEN = ("state_dict", "parameters_and_buffers")


@dataclass(frozen=True)
class _Place:
    """An expression of the learner's that raised: its frame and its source."""

    frame: FrameType
    source: ast.AST | None
    raised: bool


def context_of(error: BaseException, learner_files: Collection[str]) -> str:
    """What is known around an error, one fact a line: "shapes: q [2, 3], k [2, 4]"."""
    try:
        facts = [f"{kind}: {fact}" for kind, fact in _facts(error, learner_files)]
    except Exception:  # an object that does not let itself be looked at is not worth a word
        return ""
    return "\n".join(facts)[:_LONGEST]


def facts(context: str, kind: str) -> list[str]:
    """The facts of a kind in a context."""
    begin = f"{kind}: "
    known = context[:_LONGEST].splitlines()  # whoever sends it may send any length
    lines = (line for line in known if line.startswith(begin))
    return [line.removeprefix(begin)[:_LONGEST_FACT] for line in lines]


def _facts(error: BaseException, learner_files: Collection[str]) -> Iterator[tuple[str, str]]:
    if isinstance(error, (AttributeError, NameError)):
        yield from _misspelt(error)
    place = _place(error.__traceback__, learner_files)
    if place is not None and place.raised:
        yield RAISED, "here"
    if place is not None and isinstance(error, KeyError):
        yield from _misspelt_key(error, place)
    if place is not None and isinstance(error, _SHAPED) and not place.raised:
        if shapes := list(_shapes(place)):
            yield SHAPES, ", ".join(shapes[:_MOST_NAMES])
    if place is None and isinstance(error, RuntimeError):
        yield from _refused_weights(error)
        if "modified by an inplace operation" in str(error):
            lines = [line for file in sorted(learner_files) for line in _in_place(file)]
            for line in lines[:_MOST_NAMES]:
                yield IN_PLACE, line


def _place(start: TracebackType | None, learner_files: Collection[str]) -> _Place | None:
    innermost = None
    while start is not None:
        if start.tb_frame.f_code.co_filename in learner_files:
            innermost = start
        start = start.tb_next
    if innermost is None:
        return None
    code, at = innermost.tb_frame.f_code, innermost.tb_lasti
    source = None
    if hasattr(code, "co_positions"):
        position = list(code.co_positions())[at // 2]
        source = _parsed(code.co_filename, *position)
    return _Place(innermost.tb_frame, source, code.co_code[at] == _RAISE)


def _parsed(
    file: str, line: int | None, last: int | None, start: int | None, end: int | None
) -> ast.AST | None:
    """The expression at a place in a file; columns count bytes."""
    if line is None or last is None or start is None or end is None:
        return None
    lines = [text.encode() for text in linecache.getlines(file)[line - 1 : last]]
    if not lines:
        return None
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    text = b"".join(lines).decode(errors="replace")
    try:
        return ast.parse(f"({text}\n)")
    except SyntaxError:  # a statement: its names count all the same
        try:
            return ast.parse(text)
        except SyntaxError:
            return None


def _shapes(place: _Place) -> Iterator[str]:
    """The tensors that a line names, each with its shape, and its dtype where they differ."""
    found: dict[str, Tensor] = {}
    for node in ast.walk(place.source) if place.source else ():
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = _value(node, place.frame)
            if type(value) in (Tensor, torch.nn.Parameter):
                found.setdefault(ast.unparse(node), value)
    differ = len({value.dtype for value in found.values()}) > 1
    for name, value in found.items():
        dtype = f"{str(value.dtype).removeprefix('torch.')} " if differ else ""
        yield f"{name} {dtype}{list(value.shape)}"


def _value(node: ast.expr, frame: FrameType) -> Any:
    """What a name or a chain of attributes stands for; None where looking it up could do more."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return _attributes(_value(node.value, frame)).get(node.attr)
    return None


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes that an object holds itself, a torch module's weights among them."""
    try:
        own: Any = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    held = dict(own)
    if isinstance(value, torch.nn.Module):
        for kind in ("_modules", "_buffers", "_parameters"):
            held.update(own.get(kind) or {})
    return held


def _misspelt(error: AttributeError | NameError) -> Iterator[tuple[str, str]]:
    name = error.name
    if not isinstance(name, str):
        return
    if isinstance(error, NameError):
        frame = _last(error.__traceback__)
        known = {*frame.f_locals, *frame.f_globals, *vars(builtins)} if frame else set()
        yield from _alike(name, known)
        return
    owner = error.obj
    held = _attributes(owner)
    known = {*held, *(dir(type(owner)) if not isinstance(owner, ModuleType) else ())}
    found = list(_alike(name, known))
    yield from found
    public = [name for name in held if not name.startswith("_") and name != "training"]
    if not found and public and isinstance(owner, torch.nn.Module):
        yield HAS, ", ".join(public[: 2 * _MOST_NAMES])


def _misspelt_key(error: KeyError, place: _Place) -> Iterator[tuple[str, str]]:
    """The key that was meant, where the line looks into a dict that can be seen."""
    (key,) = error.args[:1] or (None,)
    for node in ast.walk(place.source) if place.source else ():
        if isinstance(key, str) and isinstance(node, ast.Subscript):
            keys = _value(node.value, place.frame)
            if type(keys) is dict:
                known = {name for name in keys if type(name) is str}
                found = list(_alike(key, known))
                yield from found
                if not found and known:
                    yield HAS, ", ".join(sorted(known)[: 2 * _MOST_NAMES])
                return


def _alike(name: str, known: Collection[str]) -> Iterator[tuple[str, str]]:
    others = [other for other in known if type(other) is str and other != name]
    cutoff = 0.75 if len(name) < _LONG_NAME else 0.85
    for other in difflib.get_close_matches(name, others, 1, cutoff):
        yield MEANT, other


def _last(start: TracebackType | None) -> FrameType | None:
    while start is not None and start.tb_next is not None:
        start = start.tb_next
    return start.tb_frame if start else None


def _in_place(file: str) -> Iterator[str]:
    """Lines that may change a tensor in place: `x *= y`, `x[...] = y`, `x.mul_(y)`."""
    lines = linecache.getlines(file)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    counts = {
        target.id
        for node in statements
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    changing = {
        node.lineno: lines[node.lineno - 1].strip()
        for node in statements
        if _changes_in_place(node, counts)
    }
    for line, text in sorted(changing.items()):
        yield f"{file}:{line}: {text}"


def _changes_in_place(statement: ast.stmt, counts: Collection[str]) -> bool:
    if isinstance(statement, ast.AugAssign):
        return getattr(statement.target, "id", "") not in counts
    if isinstance(statement, ast.Assign):
        if any(isinstance(target, ast.Subscript) for target in statement.targets):
            return True
    if isinstance(statement, (ast.Assign, ast.Expr, ast.Return)):
        value = statement.value
        return isinstance(value, ast.Call) and bool(
            re.fullmatch(r"[a-z]\w*[a-z\d]_", getattr(value.func, "attr", ""))
            and getattr(value.func, "attr", "") != "requires_grad_"
        )
    return False


def _refused_weights(error: RuntimeError) -> Iterator[tuple[str, str]]:
    """Why torch takes a layer's weights for others than those that the exercise gives it."""
    module, given = _loading(error.__traceback__)
    if module is None:
        return
    buffers = {name for name, _ in module.named_buffers()}
    seen = set()
    for name in _QUOTED.findall(str(error))[: 2 * _MOST_NAMES]:
        if name in buffers:
            yield BUFFER, name
        weight = given.get(name)
        if isinstance(weight, Tensor):
            yield WANTED, f"{name} {list(weight.shape)}"
        fact = _hidden(module, name)
        if fact and fact not in seen:
            seen.add(fact)
            yield fact


def _loading(start: TracebackType | None) -> tuple[torch.nn.Module | None, Mapping[str, Any]]:
    """The module whose weights torch refused, and the weights."""
    module, given = None, {}
    while start is not None:
        frame = start.tb_frame
        holder = _LOADERS.get(frame.f_code.co_name)
        if holder and isinstance(frame.f_locals.get(holder), torch.nn.Module):
            module = frame.f_locals[holder]
            for name in _GIVEN:
                if isinstance(frame.f_locals.get(name), Mapping):
                    given = dict(frame.f_locals[name])
        start = start.tb_next
    return module, given


def _hidden(module: torch.nn.Module, name: str) -> tuple[str, str] | None:
    """Where a weight is that torch does not find in a module."""
    owner: Any = module
    parts = name.split(".")
    for depth, part in enumerate(parts):
        held = _attributes(owner)
        value = held.get(part)
        path = ".".join(parts[: depth + 1])
        if type(value) is Tensor and part in vars(owner):
            return PLAIN, path
        if isinstance(value, (list, tuple, dict)):
            return LISTED, path
        owner = value
    return None
