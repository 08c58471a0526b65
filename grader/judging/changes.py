"""What a mistake changes of the solution: which functions, and how much. Pure: texts in."""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Iterator
from functools import lru_cache

from grader.observation.parsing import UnreadableSource, parsed

_Functions = dict[str, ast.FunctionDef | ast.AsyncFunctionDef]


def unwritten(answer: str) -> frozenset[str]:
    """The functions and methods of an answer that are still stubs: "softmax", "RMSNorm.forward"."""
    try:
        tree = parsed(answer) or ast.Module([], [])
    except (UnreadableSource, RecursionError, MemoryError):
        return frozenset()
    stubs = (name for name, function in _functions(tree).items() if _is_stub(function))
    return frozenset(stubs)


def is_in_stub(definitions: str, solution: str, stubs: frozenset[str]) -> bool:
    """Whether all that a mistake changes is the work of functions that are still stubs.

    A helper of the solution's works for the functions that use it, and so does a class of its own.
    """
    written = _written(solution)
    looked_at: set[str] = set()
    left = set(_names(_parsed(definitions)))
    changed: set[str] = set()
    while left:
        name = left.pop()
        looked_at.add(name)
        if not _is_helper(name) and name in written:
            changed.add(name)
            continue
        owner, _, last = name.rpartition(".")
        called = {last, owner} - {""} if _is_helper(owner) else {last}
        users = {u for u, f in written.items() if not called.isdisjoint(_mentions(f))}
        left |= users - looked_at
    return bool(changed) and changed <= stubs


def size(definitions: str, solution: str) -> int:
    """How many tokens of the solution a mistake takes away or puts in."""
    before, after = _written(solution), _functions(_parsed(definitions))
    return sum(
        _difference(_tokens(before[name]) if name in before else [], _tokens(function))
        for name, function in after.items()
    )


def reaches(asked: frozenset[str], definitions: str, solution: str) -> bool:
    """Whether a call of some functions and classes may come to what a mistake changes.

    If not, the mistake does what the solution does.
    """
    changed, reached = _top_level(definitions), _reached(asked, solution)
    return changed is None or reached is None or not changed.isdisjoint(reached)


@lru_cache(maxsize=512)
def _top_level(definitions: str) -> frozenset[str] | None:
    """The names that a text defines; None if it does more than that."""
    found: set[str] = set()
    for node in _parsed(definitions).body:
        if (names := _defined(node)) is None:
            return None
        found |= names
    return frozenset(found)


@lru_cache(maxsize=64)
def _reached(asked: frozenset[str], solution: str) -> frozenset[str] | None:
    """Those functions and classes, and all names that are mentioned on the way from them.

    None where one of them is not the solution's: nothing is known of where a call of it goes.
    """
    uses: dict[str, frozenset[str]] = {}
    for node in _parsed(solution).body:
        for name in _defined(node) or ():
            uses[name] = uses.get(name, frozenset()) | _mentions(node)
    if not asked <= uses.keys():
        return None
    found: set[str] = set()
    left = set(asked)
    while left:
        name = left.pop()
        found.add(name)
        left |= uses.get(name, frozenset()) - found
    return frozenset(found)


def _defined(node: ast.stmt) -> set[str] | None:
    """The names that a statement at the top level defines; None if it does something else."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign(targets=targets) if all(isinstance(t, ast.Name) for t in targets):
            return {t.id for t in targets if isinstance(t, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return set()
        case _:
            return None


@lru_cache(maxsize=8)
def _written(solution: str) -> _Functions:
    """The functions of a solution, which is asked about for one mistake after another."""
    return _functions(_parsed(solution))


@lru_cache(maxsize=512)
def _mentions(function: ast.AST) -> frozenset[str]:
    """The names and attributes in a function."""
    return frozenset(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(function)
        if isinstance(node, (ast.Name, ast.Attribute))
    )


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _functions(tree: ast.Module) -> _Functions:
    """Functions and methods by their qualified names; the last definition of a name counts."""
    found: _Functions = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    found[f"{node.name}.{method.name}"] = method
    return found


def _names(tree: ast.Module) -> Iterator[str]:
    """The functions, methods and constants that a text defines."""
    yield from _functions(tree)
    for node in tree.body:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Name):
                yield target.id


def _is_helper(name: str) -> bool:
    """Whether a name begins with an underscore, or belongs to a class whose name does."""
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    last = function.body[-1]
    if not isinstance(last, ast.Raise) or last.exc is None:
        return False
    if any(isinstance(node, ast.Return) for node in ast.walk(function)):
        return False  # written, and the line was forgotten below
    raised = last.exc.func if isinstance(last.exc, ast.Call) else last.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _tokens(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """What a function does, token by token, without its docstring and its annotations."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    defaults = (*function.args.defaults, *filter(None, function.args.kw_defaults))
    text = "\n".join(
        [*(a.arg for a in _arguments(function)), *map(ast.unparse, (*defaults, *body))]
    )
    return [token.string for token in tokenize.generate_tokens(io.StringIO(text).readline)]


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    return [node for node in ast.walk(function.args) if isinstance(node, ast.arg)]


def _difference(before: list[str], after: list[str]) -> int:
    same = sum(b.size for b in difflib.SequenceMatcher(None, before, after).get_matching_blocks())
    return len(before) + len(after) - 2 * same
