"""Wrong answers made by machine: the text of a solution with one small change.

Operators, comparisons, constants, statements, calls, arguments, slices and conditions are changed
one at a time, in the syntax tree. Cosmic-ray and mutmut do neither drop `.to` and `keepdim` nor
exchange arguments, and start a test process for each mutant, which imports torch anew; so they are
not used.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

_Item = TypeVar("_Item")

_LONGEST = 60
"""The characters that are kept of what was changed, and of what it became."""
_MODULE = "module"
"""Stands for the function's name where a change is in none."""


@dataclass(frozen=True)
class TextMutant:
    """One changed answer.

    `id` says in which function what became what; it stays the same where other lines move.
    `equivalent` is the reason why nothing can tell the change, if a rule knows one.
    """

    id: str
    text: str
    equivalent: str = ""


@dataclass(frozen=True)
class _Change:
    """A place in the tree, and the node to put there; `kind` is the operator that makes it."""

    function: str
    kind: str
    parent: ast.AST
    field: str
    index: int | None
    new: ast.AST
    equivalent: str = ""

    @property
    def old(self) -> ast.AST:
        found = getattr(self.parent, self.field)
        node: ast.AST = found if self.index is None else found[self.index]
        return node

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@lru_cache(maxsize=16)
def text_mutants(text: str) -> tuple[TextMutant, ...]:
    """Every changed form of an answer's text, each text once, in the order of the file."""
    tree = ast.parse(text)
    parts = [ast.unparse(node) for node in tree.body]
    known = {"\n".join(parts)}
    met: Counter[str] = Counter()
    mutants = []
    for top, change in _changes_by_part(tree):
        old = change.old
        name = f"{change.function}: {change.kind}: {_short(old)} -> {_short(change.new)}"
        change.put(change.new)
        part = ast.unparse(ast.fix_missing_locations(tree.body[top]))
        change.put(old)
        changed = "\n".join((*parts[:top], part, *parts[top + 1 :]))
        if changed in known:
            continue
        known.add(changed)
        met[name] += 1
        if met[name] > 1:
            name += f" ({met[name]})"
        mutants.append(TextMutant(name, changed + "\n", change.equivalent))
    return tuple(mutants)


def _changes_by_part(tree: ast.Module) -> Iterator[tuple[int, _Change]]:
    """Every change, and the number of the definition that it is in: only that is spelt anew."""
    for top, node in enumerate(tree.body):
        alone = ast.Module([node], [])
        for change in list(_changes(alone, _MODULE)):
            yield top, replace(change, parent=tree, index=top) if change.parent is alone else change


def _short(node: ast.AST) -> str:
    words = " ".join(ast.unparse(node).split())
    return words if len(words) <= _LONGEST else words[: _LONGEST - 2] + " …"


def _changes(node: ast.AST, function: str) -> Iterator[_Change]:
    """The changes of what stands below a node, and of how it stands there."""
    for field, index, child in _children(node):
        inside = function
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inside = child.name if function == _MODULE else f"{function}.{child.name}"
        for kind, new, equivalent in _replacements(child, node, field):
            yield _Change(inside, kind, node, field, index, new, equivalent)
        yield from _changes(child, inside)


_NOT_CHANGED = {"annotation", "returns", "type_comment", "bases", "decorator_list"}


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    """What may be changed: no docstring, annotation or import, and no words of an error."""
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, ast.UnaryOp) and _number(node) is not None:
        return  # -1 is changed as a whole
    for field, value in ast.iter_fields(node):
        if field in _NOT_CHANGED:
            continue
        if isinstance(value, ast.AST):
            yield field, None, value
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST) and not _is_docstring(item):
                    yield field, index, item


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


_Replacement = tuple[str, ast.AST, str]
"""An operator's name, what it puts in a node's place, and why nothing can tell, if so."""


def _replacements(node: ast.AST, parent: ast.AST, field: str) -> Iterator[_Replacement]:
    if isinstance(node, ast.stmt):
        yield from _statements(node)
    if isinstance(node, ast.expr):
        if _is_condition(parent, field):
            for value in (True, False):
                yield "condition", ast.Constant(value), ""
        yield from _expressions(node, parent)
    if isinstance(node, ast.Slice):
        yield from _slices(node)


def _is_condition(parent: ast.AST, field: str) -> bool:
    if isinstance(parent, (ast.If, ast.IfExp, ast.While, ast.Assert)):
        return field == "test"
    return (isinstance(parent, ast.comprehension) and field == "ifs") or (
        isinstance(parent, ast.BoolOp) and field == "values"
    )


def _statements(node: ast.stmt) -> Iterator[_Replacement]:
    match node:
        case ast.Expr() | ast.Assign() | ast.AugAssign() | ast.Raise() | ast.For() | ast.Assert():
            yield "statement", ast.Pass(), ""
        case ast.AnnAssign(value=value) if value is not None:
            yield "statement", ast.Pass(), ""
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "statement", ast.Return(ast.Constant(None)), ""
        case ast.With():
            yield "context", ast.If(ast.Constant(True), node.body, []), ""
        case ast.FunctionDef() if node.decorator_list:
            for index, decorator in enumerate(node.decorator_list):
                if ast.unparse(decorator) not in ("property", "staticmethod", "classmethod"):
                    bare = copy.copy(node)
                    bare.decorator_list = _without(node.decorator_list, index)
                    yield "decorator", bare, ""
        case ast.Break():
            yield "statement", ast.Continue(), ""
        case ast.Continue():
            yield "statement", ast.Break(), ""


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _expressions(node: ast.expr, parent: ast.AST) -> Iterator[_Replacement]:
    if (number := _number(node)) is not None:
        for value in (number + 1, number - 1):
            yield "constant", _literal(value), ""
        return
    match node:
        case ast.Constant(value=bool(value)):
            yield "constant", ast.Constant(not value), _of_zip(parent)
        case ast.BinOp():
            yield from _operators(node)
        case ast.UnaryOp(operand=operand):
            yield "operator", operand, ""
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "operator", ast.BoolOp(other, node.values), ""
        case ast.Compare():
            yield from _comparisons(node)
        case ast.Call():
            yield from _calls(node)
        case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()):
            for elements in _exchanged(node.elts):
                yield "exchange", type(node)(elements, node.ctx), ""


def _number(node: ast.AST | None) -> int | float | None:
    """The number that an expression spells, with its sign."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    return None


def _literal(value: int | float) -> ast.expr:
    constant = ast.Constant(abs(value))
    return ast.UnaryOp(ast.USub(), constant) if value < 0 else constant


_OTHER_OPERATOR: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_ORDER_MATTERS = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)


def _operators(node: ast.BinOp) -> Iterator[_Replacement]:
    yield "operator", ast.BinOp(node.left, _OTHER_OPERATOR[type(node.op)](), node.right), ""
    if isinstance(node.op, _ORDER_MATTERS):
        yield "exchange", ast.BinOp(node.right, node.op, node.left), ""


_OTHER_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


def _comparisons(node: ast.Compare) -> Iterator[_Replacement]:
    for index, compared in enumerate(node.ops):
        for other in _OTHER_COMPARISONS[type(compared)]:
            ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield "comparison", ast.Compare(node.left, ops, node.comparators), ""


def _calls(node: ast.Call) -> Iterator[_Replacement]:
    """A call left out, without one of its keywords, or with two arguments exchanged."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    if isinstance(node.func, ast.Attribute) and _has_value(node.func.value):
        yield "call", node.func.value, _of_devices(name, node)
    elif node.args and not isinstance(node.args[0], ast.Starred):
        yield "call", node.args[0], ""
    for index, keyword in enumerate(node.keywords):
        fewer = ast.Call(node.func, node.args, _without(node.keywords, index))
        yield "keyword", fewer, _of_keyword(name, keyword)
    for arguments in _exchanged(node.args):
        yield "exchange", ast.Call(node.func, arguments, node.keywords), _of_order(name, node)


_MODULES = {"torch", "math", "nn", "F", "functional", "os"}
_COMMUTATIVE = {"promote_types", "maximum", "minimum", "max", "min", "logical_and", "logical_or"}
"""Functions that give the same with two arguments exchanged."""
_COMMUTATIVE_IN_TWO = {"transpose", "swapaxes", "swapdims"}
"""The same with two axes alone, and not with the tensor before them."""
_ANY_ORDER = "the order of its arguments does not matter"
_ONE_DEVICE = "a machine without an accelerator has one device"


def _has_value(receiver: ast.expr) -> bool:
    """Whether what a method is called on can stand for its result: no module and no super()."""
    root = receiver
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(root, ast.Name) and root.id in _MODULES:
        return False
    return ast.unparse(receiver) not in ("self", "super()")


def _of_order(name: str, node: ast.Call) -> str:
    of_two = name in _COMMUTATIVE_IN_TWO and len(node.args) == 2
    return _ANY_ORDER if name in _COMMUTATIVE or of_two else ""


def _of_devices(name: str, node: ast.Call) -> str:
    only_device = len(node.args) == 1 and not node.keywords and _is_device(node.args[0])
    return _ONE_DEVICE if name == "to" and only_device else ""


def _of_keyword(name: str, keyword: ast.keyword) -> str:
    if keyword.arg == "device":
        return _ONE_DEVICE
    return _of_zip(keyword) if name == "zip" else ""


def _of_zip(parent: ast.AST) -> str:
    if isinstance(parent, ast.keyword) and parent.arg == "strict":
        return "it only refuses what the line before makes impossible"
    return ""


def _is_device(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "device"


def _slices(node: ast.Slice) -> Iterator[_Replacement]:
    for bound in ("lower", "upper", "step"):
        if getattr(node, bound) is not None:
            open_slice = copy.copy(node)
            setattr(open_slice, bound, None)
            yield "slice", open_slice, _of_slice(node, bound)


def _of_slice(node: ast.Slice, bound: str) -> str:
    forwards = node.step is None or (_number(node.step) or 0) > 0
    if bound == "lower" and forwards and _number(node.lower) == 0:
        return "a slice begins at 0 anyway"
    return ""


def _exchanged(items: Sequence[ast.expr]) -> Iterator[list[ast.expr]]:
    """A sequence with two neighbours exchanged, each pair in turn."""
    for index in range(len(items) - 1):
        pair = items[index : index + 2]
        if not any(isinstance(item, ast.Starred) for item in pair):
            yield [*items[:index], *reversed(pair), *items[index + 2 :]]


def _without(items: Sequence[_Item], index: int) -> list[_Item]:
    return [*items[:index], *items[index + 1 :]]
