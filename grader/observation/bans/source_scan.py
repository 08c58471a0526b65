"""Finds the banned built-ins in the text of an answer, without running any of it.

The scan follows what is written: imports, aliases and dotted names, scope by scope, in the order in
which the file would run. It therefore also sees code that never runs, and the answer cannot tamper
with it. A name that is put together at run time (`getattr`, `vars`, `eval`, a string) is none of
its business: `BanWatch` sees the call itself. The one exception is an import by a string that is
written out, since a library leaves no trace in torch.

The judge runs the scan, but the module is imported beside learner code with the rest of the
package: standard library only.
"""

from __future__ import annotations

import ast
import builtins
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from grader.observation.bans.spellings import BanHit, Bans
from grader.observation.parsing import UnreadableSource, parsed, too_tangled


def scan_source(source: str, bans: Sequence[str], *, asked: Collection[str] = ()) -> list[BanHit]:
    """Every use of something banned in the text of an answer, by line.

    A use is a reference, called or not, and a name that the module hands out: a built-in that is
    only imported may be the whole answer. Whatever the file defines itself is its own, whatever it
    is called. Annotations and `if __name__ == "__main__"` are left out, since nothing there runs
    when an answer is imported.

    Args:
        source: the whole file. One that does not parse has no hits: it cannot run either.
        bans: dotted names from the syllabus.
        asked: the names that the exercise asks for; `from torch.nn import *` hands out those that
            the file does not define.

    Raises:
        UnreadableSource: the file nests too deeply or has too many star imports to be followed.
        ValueError: a ban is in no family of spellings.
    """
    if not bans:
        return []
    scan = _Scan(Bans(bans))
    try:
        tree = parsed(source)
        hits = scan.hits(tree, asked) if tree else set()
    except (RecursionError, MemoryError) as error:
        raise UnreadableSource(
            "this file nests too deeply to be checked for what the exercise forbids: "
            "split its longest expressions"
        ) from error
    return sorted(hits, key=lambda hit: (hit.line, hit.spelling))


_Values = frozenset[str]
"""All that an expression may stand for, by full dotted names ("torch.nn.functional", ".ex03.norm"),
or one of the two below for what the file defines itself. Empty where nothing is known."""

_UNKNOWN: _Values = frozenset()
_OWN_CLASS = frozenset({"<class>"})
_OWN_OBJECT = frozenset({"<object>"})

_IMPORTS = {"builtins.__import__", "importlib.import_module"}
_TYPE_QUESTIONS = {"builtins.isinstance", "builtins.issubclass"}
_GIVE_OWN_OBJECTS = {*_OWN_CLASS, "builtins.super"}
_MAIN_GUARDS = ("__name__ == '__main__'", "'__main__' == __name__")

# `a = a.b` on every line, or `if x: a = b` on every other, would make what a name stands for grow
# with the file, and the work with its square. Past these limits a name is unknown.
_MOST_VALUES = 16
_LONGEST_NAME = 200
_MOST_STARS = 16


def _bounded(values: _Values) -> _Values:
    is_short = len(values) <= _MOST_VALUES and all(len(name) <= _LONGEST_NAME for name in values)
    return values if is_short else _UNKNOWN


@dataclass
class _Scope:
    """The names of a module, class, function or comprehension, and the scope around it."""

    around: _Scope | None = None
    is_class: bool = False
    names: dict[str, _Values] = field(default_factory=dict)

    def look_up(self, name: str) -> _Values | None:
        """What a name may stand for; None where nothing binds it."""
        scope: _Scope | None = self
        while scope is not None:
            # What a class binds is invisible inside its methods.
            if name in scope.names and (scope is self or not scope.is_class):
                return scope.names[name]
            scope = scope.around
        return None


class _Scan(ast.NodeVisitor):
    """Walks a file in the order in which it runs, and knows what each name may stand for.

    The bodies of functions come after everything around them, since they look names up when they
    are called. Visiting an expression returns its values.
    """

    def __init__(self, bans: Bans) -> None:
        self._bans = bans
        self._found: list[tuple[BanHit, str]] = []
        self._own_attributes: set[str] = set()
        self._module = self._scope = _Scope()
        self._stars: dict[str, ast.ImportFrom] = {}
        self._imports: list[tuple[ast.stmt, str, str]] = []
        self._waiting: deque[tuple[_Scope, Sequence[ast.AST]]] = deque()
        self._branches = 0

    def hits(self, tree: ast.Module, asked: Collection[str]) -> set[BanHit]:
        """What a whole file uses, and what can be imported from it once it has run."""
        self._all(tree.body)
        while self._waiting:
            self._inside(*self._waiting.popleft())
        for node, name, path in self._imports:
            if path in self._module.names[name]:
                self._used(node, frozenset({path}))
        for module, star in self._stars.items():
            missing = (name for name in asked if name not in self._module.names)
            self._used(star, frozenset(f"{module}.{name}" for name in missing))
        # Only now is it known which attributes the file defines itself.
        return {hit for hit, attribute in self._found if attribute not in self._own_attributes}

    def _hit(self, node: ast.AST, spelling: str, ban: str | None, unless_own: str = "") -> None:
        if ban is not None:
            self._found.append((BanHit(getattr(node, "lineno", 0), spelling, ban), unless_own))

    def _used(self, node: ast.AST, values: _Values) -> _Values:
        for value in values:
            self._hit(node, value, self._bans.path(value))
        return values

    def _inside(self, scope: _Scope, nodes: Iterable[ast.AST]) -> None:
        before, self._scope = self._scope, scope
        self._all(nodes)
        self._scope = before

    def _branch(self, nodes: Iterable[ast.AST]) -> None:
        self._branches += 1
        self._all(nodes)
        self._branches -= 1

    def _all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _values(self, node: ast.AST) -> _Values:
        found: _Values | None = self.visit(node)
        return found or _UNKNOWN

    def _bind(self, name: str, values: _Values = _UNKNOWN) -> None:
        if self._branches:  # the branch may not run, and the name stay what it was
            values |= self._scope.names.get(name, _UNKNOWN)
        self._scope.names[name] = _bounded(values)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported(node, alias.name)
            path = alias.name if alias.asname else alias.name.partition(".")[0]
            self._bind_import(node, alias.asname or path, path)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self._imported(node, module)
        for alias in node.names:
            if alias.name == "*":
                self._stars.setdefault(module, node)
            else:
                self._bind_import(node, alias.asname or alias.name, f"{module}.{alias.name}")
        if len(self._stars) > _MOST_STARS:
            raise too_tangled()

    def _bind_import(self, node: ast.stmt, name: str, path: str) -> None:
        self._bind(name, frozenset({path}))
        if self._scope.is_class:  # its objects hand it out
            self._used(node, frozenset({path}))
        if self._scope is self._module and path.startswith("torch."):
            self._imports.append((node, name, path))

    def _imported(self, node: ast.AST, module: str) -> None:
        """Importing a banned library is using it; torch is there for everyone."""
        if module.partition(".")[0] != "torch":
            self._hit(node, module, self._bans.path(module))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._all(node.decorator_list)
        scope = self._function_scope(node.args)
        is_static = "staticmethod" in map(ast.unparse, node.decorator_list)
        if self._scope.is_class and scope.names and not is_static:
            scope.names[next(iter(scope.names))] = _OWN_OBJECT
        self._bind(node.name)
        self._waiting.append((scope, node.body))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        # Not later: thousands of scopes in one another would take long to look a name up in.
        self._inside(self._function_scope(node.args), [node.body])

    def _function_scope(self, args: ast.arguments) -> _Scope:
        self._all([*args.defaults, *args.kw_defaults])
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        return _Scope(self._scope, names={arg.arg: _UNKNOWN for arg in every if arg is not None})

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._all([*node.decorator_list, *node.bases, *node.keywords])
        scope = _Scope(self._scope, is_class=True)
        self._inside(scope, node.body)
        self._own_attributes.update(scope.names)
        self._bind(node.name, _OWN_CLASS)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in _MAIN_GUARDS:
            self.visit(node.test)
            self._branch(node.body)
        self._branch(node.orelse)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._branch([node.target, *node.body, *node.orelse])

    visit_AsyncFor = visit_For

    def visit_Try(self, node: ast.While | ast.Try | ast.TryStar | ast.Match) -> None:
        self._branch(ast.iter_child_nodes(node))

    visit_TryStar = visit_While = visit_Match = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar) -> None:
        if node.name is not None:
            self._bind(node.name)
        self.generic_visit(node)

    visit_MatchAs = visit_MatchStar = visit_ExceptHandler

    def visit_ListComp(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        loops = [part for loop in node.generators for part in (loop.iter, loop.target, *loop.ifs)]
        parts = ast.iter_child_nodes(node)
        results = [part for part in parts if not isinstance(part, ast.comprehension)]
        self._inside(_Scope(self._scope), [*loops, *results])

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_Assign(self, node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> _Values:
        values = self._values(node.value) if node.value else _UNKNOWN
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if not isinstance(target, ast.Name):  # what each name of a tuple gets is not followed
                self.visit(target)
            elif node.value or self._scope.is_class:  # a class has what it only annotates
                self._bind(target.id, values)
        return values

    visit_AnnAssign = visit_NamedExpr = visit_Assign

    def visit_Name(self, node: ast.Name) -> _Values:
        if isinstance(node.ctx, ast.Load):
            return self._used(node, self._named(node.id))
        self._bind(node.id)
        return _UNKNOWN

    def visit_Attribute(self, node: ast.Attribute) -> _Values:
        if isinstance(node.ctx, ast.Load):
            return self._used(node, self._chain(node))
        self._own_attributes.add(node.attr)
        return self._values(node.value)

    def _chain(self, node: ast.expr) -> _Values:
        """The values of `a.b.c`, of which `a.b` alone is not yet a use."""
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.Attribute):
            return self._member(node, self._chain(node.value))
        return self._values(node)

    def _named(self, name: str) -> _Values:
        values = self._scope.look_up(name)
        if values is not None:
            return values
        modules = ["builtins"] if hasattr(builtins, name) else self._stars
        return frozenset(f"{module}.{name}" for module in modules)

    def _member(self, node: ast.Attribute, values: _Values) -> _Values:
        """The attribute of something; a method of something unknown counts as a tensor's."""
        name = node.attr
        if paths := values - _OWN_CLASS - _OWN_OBJECT:
            return _bounded(frozenset(f"{path}.{name}" for path in paths))
        if ban := self._bans.method(name):
            self._hit(node, f"torch.Tensor.{name}", ban, unless_own=name if values else "")
        else:
            # No tensor has it: it is torch's own, reached in some way that is not followed here.
            self._hit(node, name, self._bans.name(name), unless_own=name)
        return _UNKNOWN

    def visit_Call(self, node: ast.Call) -> _Values:
        called = self._values(node.func)
        if called & _TYPE_QUESTIONS:
            self._all(node.args[:1])  # asking whether something is a built-in is not using it
            return _UNKNOWN
        self._all([*node.args, *node.keywords])
        if called & _IMPORTS and node.args and isinstance(node.args[0], ast.Constant):
            self._imported(node, str(node.args[0].value))
        return _OWN_OBJECT if called & _GIVE_OWN_OBJECTS else _UNKNOWN

    def visit_BoolOp(self, node: ast.BoolOp) -> _Values:
        return _bounded(_UNKNOWN.union(*map(self._values, node.values)))

    def visit_IfExp(self, node: ast.IfExp) -> _Values:
        self.visit(node.test)
        return _bounded(self._values(node.body) | self._values(node.orelse))
