"""Which built-ins does the text of an answer use? Nothing of it is run.

The scan follows names: what an import, an assignment or a string that is spelled out makes of them,
in the order in which the file runs. It sees what is written, whether or not it is ever executed,
and cannot be tampered with; a name that only a run puts together escapes it.

It relies on `ast` and on the families for what a name covers. The judge scans, yet the module is
imported beside learner code with the rest of the package: standard library only.
"""

from __future__ import annotations

import ast
import builtins
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from grader.observation.bans.spellings import BanHit, Bans
from grader.observation.parsing import UnreadableSource, parsed, parsed_anew, too_tangled


def scan_source(source: str, bans: Sequence[str], *, asked: Collection[str] = ()) -> list[BanHit]:
    """Every use of something banned in the text of an answer, by line.

    A use is a reference, called or not, and a name that the module hands out: a built-in that is
    only imported may be the whole answer. What the file defines itself is its own, whatever it is
    called. Two places are not looked at, since nothing there runs when an answer is imported:
    annotations and `if __name__ == "__main__"`.

    Args:
        source: the whole file. One that does not parse has no hits: it cannot run either.
        bans: dotted names from the syllabus.
        asked: the names that the exercise asks for; `from torch.nn import *` hands out those that
            the file does not define.

    Raises:
        UnreadableSource: the file nests too deeply to be read, or following its names takes more
            steps than any file of its length has use for.
        ValueError: a ban is in no family of spellings.
    """
    if not bans:
        return []
    known = Bans(bans)
    try:
        tree = parsed(source)
        if tree is None:
            return []
        steps = _Steps(source)
        scan = _Scan(known, _OwnClasses(tree, steps), steps)
        scan.module(tree)
        scan.handed_out(asked)
    except (RecursionError, MemoryError) as error:
        raise UnreadableSource(
            "this file nests too deeply to be checked for what the exercise forbids: "
            "split its longest expressions"
        ) from error
    return sorted(scan.hits, key=lambda hit: (hit.line, hit.spelling))


_STEPS_AT_LEAST = 20_000
_STEPS_PER_CHARACTER = 10


class _Steps:
    """Counts what following the names of a file takes, which is to grow with its length alone.

    Right answers take a step for every few characters; whoever needs hundreds for each hides
    something or holds the judge up.
    """

    def __init__(self, source: str) -> None:
        self._left = _STEPS_AT_LEAST + _STEPS_PER_CHARACTER * len(source)

    def take(self, count: int = 1) -> None:
        self._left -= count
        if self._left < 0:
            raise too_tangled()


@dataclass(frozen=True)
class _Path:
    """A module or something in one, by its full dotted name; relative ones start with a dot."""

    name: str


@dataclass(frozen=True)
class _Text:
    """A string that the source spells out."""

    value: str


@dataclass(frozen=True)
class _Own:
    """A class that the file defines, or an instance of it."""

    class_name: str
    is_instance: bool


@dataclass(frozen=True)
class _Namespace:
    """A dictionary of names: of a module (`vars(F)`), of all modules (""), of the file (None)."""

    of: str | None


_Value = _Path | _Text | _Own | _Namespace
_Values = frozenset[_Value]
"""All that an expression may be; empty where nothing is known."""

_UNKNOWN: _Values = frozenset()

# A hostile file must not make a value grow without end.
_MOST_VALUES = 16
_MOST_STARRED = 16
_LONGEST_TEXT = 1_000
_LONGEST_PATH = 200


def _bounded(values: Iterable[_Value]) -> _Values:
    """The values, or nothing known where there are too many of them or one is too long."""
    found = frozenset(values)
    return found if len(found) <= _MOST_VALUES and all(map(_is_short, found)) else _UNKNOWN


def _is_short(value: _Value) -> bool:
    match value:
        case _Text(text):
            return len(text) <= _LONGEST_TEXT
        case _Path(name):
            return len(name) <= _LONGEST_PATH
    return True


def _texts(values: _Values) -> set[str]:
    return {value.value for value in values if isinstance(value, _Text)}


def _joined(starts: set[str], ends: set[str]) -> set[str]:
    return {start + end for start in starts for end in ends}


@dataclass
class _Scope:
    """The names of a module, class or function, and the scope around it."""

    around: _Scope | None = None
    class_name: str = ""
    names: dict[str, _Values] = field(default_factory=dict)
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        self.depth = self.around.depth + 1 if self.around else 1

    def look_up(self, name: str) -> _Values | None:
        """What a name may be; None where nothing binds it."""
        scope: _Scope | None = self
        while scope is not None:
            # What a class binds is invisible inside its methods.
            if name in scope.names and (scope is self or not scope.class_name):
                return scope.names[name]
            scope = scope.around
        return None

    def bind(self, name: str, values: _Values, *, maybe: bool) -> None:
        """Bind a name; with `maybe` it may also still be what it was."""
        self.names[name] = _bounded(values | self.names.get(name, _UNKNOWN)) if maybe else values


_Function = ast.FunctionDef | ast.AsyncFunctionDef


class _OwnClasses:
    """The attributes of the classes that a file defines: methods, class attributes and all that is
    set on an object inside the class."""

    def __init__(self, tree: ast.Module, steps: _Steps) -> None:
        self._attributes: dict[str, set[str]] = {}
        self._bases: dict[str, set[str]] = {}
        self._steps = steps
        ahead: list[tuple[ast.AST, tuple[str, ...]]] = [(tree, ())]
        while ahead:
            node, around = ahead.pop()
            if isinstance(node, ast.ClassDef):
                around = (*around, node.name)
                self._attributes.setdefault(node.name, set()).update(_defined_attributes(node))
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                self._bases.setdefault(node.name, set()).update(bases)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                steps.take(len(around))
                for name in around:
                    self._attributes[name].add(node.attr)
            ahead += ((child, around) for child in ast.iter_child_nodes(node))
        self._any: set[str] = set().union(*self._attributes.values())

    def any_defines(self, attribute: str) -> bool:
        return attribute in self._any

    def defines(self, class_name: str, attribute: str) -> bool:
        """Whether a class has an attribute from itself or from another class of the file."""
        seen: set[str] = set()
        ahead = [class_name]
        while ahead:
            name = ahead.pop()
            self._steps.take(2 + 2 * len(self._bases.get(name, ())))
            if attribute in self._attributes.get(name, ()):
                return True
            seen.add(name)
            ahead.extend(self._bases.get(name, set()) - seen)
        return False


def _defined_attributes(node: ast.ClassDef) -> Iterator[str]:
    """Methods and class attributes."""
    for statement in node.body:
        if isinstance(statement, _Function | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Assign):
            yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id


class _Scan(ast.NodeVisitor):
    """Walks a file in the order in which it runs, knowing what each name may stand for.

    Function bodies come after everything around them, since they look names up when called.
    Visiting an expression returns its values.
    """

    def __init__(self, bans: Bans, own: _OwnClasses, steps: _Steps) -> None:
        self.hits: set[BanHit] = set()
        self._bans = bans
        self._own = own
        self._steps = steps
        self._module = self._scope = _Scope()
        self._starred: dict[str, None] = {}
        self._imports: list[tuple[ast.ImportFrom | ast.Import, str, _Path]] = []
        self._waiting: deque[tuple[_Scope, list[ast.stmt]]] = deque()
        self._branches = 0
        self._evaluations = 0

    def module(self, tree: ast.Module) -> None:
        """Scan a whole file."""
        self._all(tree.body)
        while self._waiting:
            scope, body = self._waiting.popleft()
            with self._inside(scope):
                self._all(body)

    def handed_out(self, asked: Collection[str]) -> None:
        """Add what is still importable from the module after it has run."""
        for node, name, path in self._imports:
            if name == "*":
                missing = (each for each in asked if each not in self._module.names)
                self._hit_paths(node, frozenset(_Path(f"{path.name}.{each}") for each in missing))
            elif path in self._module.names[name]:
                self._hit_paths(node, frozenset({path}))

    def _all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _values(self, node: ast.AST) -> _Values:
        found: _Values | None = self.visit(node)
        return found or _UNKNOWN

    @contextmanager
    def _inside(self, scope: _Scope) -> Iterator[None]:
        before, self._scope = self._scope, scope
        yield
        self._scope = before

    @contextmanager
    def _maybe(self) -> Iterator[None]:
        """What happens in here may also not happen."""
        self._branches += 1
        yield
        self._branches -= 1

    def _bind(self, target: ast.expr, values: _Values = _UNKNOWN) -> None:
        if isinstance(target, ast.Name):
            self._bind_name(target.id, values)
        elif isinstance(target, ast.Tuple | ast.List):
            for item in target.elts:
                self._bind(item)
        elif isinstance(target, ast.Starred):
            self._bind(target.value)
        else:  # an attribute or an item: its object is used, and nothing is bound
            self.generic_visit(target)

    def _bind_name(self, name: str, values: _Values = _UNKNOWN) -> None:
        self._scope.bind(name, values, maybe=self._branches > 0)

    def _hit(self, node: ast.AST, spelling: str, ban: str | None) -> None:
        if ban is not None:
            self.hits.add(BanHit(getattr(node, "lineno", 0), spelling, ban))

    def _hit_paths(self, node: ast.AST, values: _Values) -> None:
        for value in values:
            if isinstance(value, _Path):
                self._hit(node, value.name, self._bans.path(value.name))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported(node, alias.name)
            path = _Path(alias.name if alias.asname else alias.name.partition(".")[0])
            self._bind_import(node, alias.asname or path.name, path)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self._imported(node, module)
        for alias in node.names:
            if alias.name == "*":
                if module not in self._starred:
                    self._imports.append((node, "*", _Path(module)))
                self._starred[module] = None
                if len(self._starred) > _MOST_STARRED:
                    raise too_tangled()
            else:
                path = _Path(f"{module}.{alias.name}")
                self._bind_import(node, alias.asname or alias.name, path)

    def _bind_import(self, node: ast.Import | ast.ImportFrom, name: str, path: _Path) -> None:
        self._bind_name(name, frozenset({path}))
        if self._scope is self._module and path.name.startswith("torch."):
            self._imports.append((node, name, path))

    def _imported(self, node: ast.AST, module: str) -> None:
        """Importing a banned library is using it; torch is there for everyone."""
        if module.partition(".")[0] != "torch":
            self._hit(node, module, self._bans.path(module))

    def visit_FunctionDef(self, node: _Function) -> None:
        self._all([*node.decorator_list, *node.args.defaults, *node.args.kw_defaults])
        scope = self._function_scope(node.args)
        if self._scope.class_name and scope.names and not _is_static(node):
            first = next(iter(scope.names))
            scope.names[first] = frozenset({_Own(self._scope.class_name, is_instance=True)})
        self._bind_name(node.name)
        self._waiting.append((scope, node.body))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._all([*node.args.defaults, *node.args.kw_defaults])
        with self._inside(self._function_scope(node.args)):
            self.visit(node.body)

    def _function_scope(self, args: ast.arguments) -> _Scope:
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        names = {arg.arg: _UNKNOWN for arg in every if arg is not None}
        return _Scope(around=self._scope, names=names)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._all([*node.decorator_list, *node.bases, *node.keywords])
        with self._inside(_Scope(self._scope, class_name=node.name)):
            self._all(node.body)
        self._bind_name(node.name, frozenset({_Own(node.name, is_instance=False)}))

    def visit_If(self, node: ast.If) -> None:
        if not _is_main_guard(node.test):
            self.visit(node.test)
            self._branch(node.body)
        self._branch(node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._branch([*node.body, *node.orelse])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        with self._maybe():
            self._bind(node.target)
        self._branch([*node.body, *node.orelse])

    visit_AsyncFor = visit_For

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        self._branch([*node.body, *node.handlers, *node.orelse])
        self._all(node.finalbody)

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._all([node.type])
        if node.name:
            self._bind_name(node.name)
        self._all(node.body)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        self._branch(node.cases)

    def _branch(self, nodes: Sequence[ast.AST]) -> None:
        with self._maybe():
            self._all(nodes)

    def visit_withitem(self, node: ast.withitem) -> None:
        self.visit(node.context_expr)
        if node.optional_vars is not None:
            self._bind(node.optional_vars)

    def visit_Assign(self, node: ast.Assign) -> None:
        values = self._values(node.value)
        for target in node.targets:
            self._bind(target, values)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, self._values(node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        self._bind(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> _Values:
        values = self._values(node.value)
        self._bind(node.target, values)
        return values

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self._comprehension(node.generators, [node.elt])

    visit_SetComp = visit_GeneratorExp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, [node.key, node.value])

    def _comprehension(self, loops: list[ast.comprehension], results: list[ast.expr]) -> None:
        with self._inside(_Scope(around=self._scope)):
            for loop in loops:
                self.visit(loop.iter)
                self._bind(loop.target)
                self._all(loop.ifs)
            self._all(results)

    def visit_Name(self, node: ast.Name) -> _Values:
        values = self._named(node.id)
        self._hit_paths(node, values)
        return values

    def _named(self, name: str) -> _Values:
        self._steps.take(self._scope.depth)
        values = self._scope.look_up(name)
        if values is None and not hasattr(builtins, name):
            return frozenset(_Path(f"{module}.{name}") for module in self._starred)
        return values or _UNKNOWN

    def visit_Attribute(self, node: ast.Attribute) -> _Values:
        values = self._chain(node)
        self._hit_paths(node, values)
        return values

    def _chain(self, node: ast.expr) -> _Values:
        """The values of `a.b.c`; a path in the middle of it is not yet a use."""
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.Attribute):
            return self._member(node, self._chain(node.value), node.attr)
        return self._values(node)

    def _member(self, node: ast.AST, values: _Values, name: str) -> _Values:
        """The attribute of something; a method of something unknown counts as a tensor's."""
        self._steps.take(2)
        paths = [value.name for value in values if isinstance(value, _Path)]
        if name == "__dict__":
            return frozenset(_Namespace(path) for path in paths)
        if "sys" in paths and name == "modules":
            return frozenset({_Namespace("")})
        if not paths:
            self._hit_unknown(node, values, name)
        return _bounded(_Path(f"{path}.{name}") for path in paths)

    def _hit_unknown(self, node: ast.AST, values: _Values, name: str) -> None:
        owners = (value.class_name for value in values if isinstance(value, _Own))
        if any(self._own.defines(owner, name) for owner in owners):
            return
        if ban := self._bans.method(name):
            self._hit(node, f"torch.Tensor.{name}", ban)
        elif not self._own.any_defines(name):
            # No tensor has it: a function or class of torch reached by a way not followed here.
            self._hit(node, name, self._bans.name(name))

    def visit_Subscript(self, node: ast.Subscript) -> _Values:
        return self._item(node, self._chain(node.value), self._values(node.slice))

    def _item(self, node: ast.AST, values: _Values, keys: _Values) -> _Values:
        """What a dictionary of names has under keys that are spelled out."""
        found: set[_Value] = set()
        for namespace in (value.of for value in values if isinstance(value, _Namespace)):
            for key in _texts(keys):
                if namespace is None:
                    found |= self._module.look_up(key) or _UNKNOWN
                else:
                    found.add(_Path(f"{namespace}.{key}" if namespace else key))
        self._hit_paths(node, frozenset(found))
        return _bounded(found)

    def visit_Call(self, node: ast.Call) -> _Values:
        # Each part is visited once: twice would double the work with every link of a chain.
        receiver = _UNKNOWN
        if isinstance(node.func, ast.Attribute):
            receiver = self._chain(node.func.value)
            called = self._member(node.func, receiver, node.func.attr)
            self._hit_paths(node.func, called)
        else:
            called = self._values(node.func)
        name = self._called_name(node.func, called)
        if name in ("isinstance", "issubclass"):
            self._all(node.args[:1])  # asking whether something is a built-in is not using it
            return _UNKNOWN
        given = [self._values(argument) for argument in node.args]
        given += [self._values(keyword.value) for keyword in node.keywords]
        return self._result(node, name, called, given, receiver)

    def _called_name(self, function: ast.expr, called: _Values) -> str:
        """A built-in function or a function of a module by its name, a method as `.name`."""
        if isinstance(function, ast.Name) and self._scope.look_up(function.id) is None:
            return function.id
        if isinstance(function, ast.Attribute) and function.attr in _READERS:
            return f".{function.attr}"
        paths = (value.name for value in called if isinstance(value, _Path))
        return next(paths, "").removeprefix("builtins.")

    def _result(
        self, node: ast.Call, name: str, called: _Values, given: list[_Values], receiver: _Values
    ) -> _Values:
        """What a call returns, as far as it gives access to something by its name."""
        match name, given:
            case "getattr", [values, names, *_]:
                return self._members(node, values, names)
            case ".__getattribute__", [*_, names]:
                return self._members(node, receiver, names)
            case "operator.attrgetter" | "operator.methodcaller", [names, *_]:
                return self._members(node, _UNKNOWN, names)
            case "vars", [values]:
                return self._member(node, values, "__dict__")
            case "globals" | "locals" | "vars", []:
                return frozenset({_Namespace(None)})
            case ".get" | ".pop" | ".__getitem__", [keys, *_]:
                return self._item(node, receiver, keys)
            case "importlib.import_module", [names, *_]:
                return self._modules(node, _texts(names))
            case "__import__", [names]:
                return self._modules(node, {text.partition(".")[0] for text in _texts(names)})
            case "__import__", [names, *_]:
                return self._modules(node, _texts(names))
            case "eval" | "exec" | "compile", [texts, *_]:
                self._evaluated(node, texts)
        classes = (value for value in called if isinstance(value, _Own) and not value.is_instance)
        return frozenset(_Own(value.class_name, is_instance=True) for value in classes)

    def _members(self, node: ast.Call, values: _Values, names: _Values) -> _Values:
        """The attributes of something whose names, dotted perhaps, are spelled out."""
        found: set[_Value] = set()
        for text in _texts(names):
            member = values
            for name in text.split("."):
                member = self._member(node, member, name)
            found |= member
        self._hit_paths(node, frozenset(found))
        return _bounded(found)

    def _modules(self, node: ast.Call, names: Iterable[str]) -> _Values:
        for name in names:
            self._imported(node, name)
        return _bounded(_Path(name) for name in names)

    def _evaluated(self, node: ast.Call, texts: _Values) -> None:
        """Scan source that is spelled out, nested in other such source twice at most."""
        if self._evaluations > 1:
            return
        self._evaluations += 1
        for text in _texts(texts):
            self._steps.take(10 * len(text))
            tree = parsed_anew(text)
            if tree is not None:
                ast.increment_lineno(tree, node.lineno - 1)
                self._all(tree.body)
        self._evaluations -= 1

    def visit_Constant(self, node: ast.Constant) -> _Values:
        return _bounded([_Text(node.value)]) if isinstance(node.value, str) else _UNKNOWN

    def visit_JoinedStr(self, node: ast.JoinedStr) -> _Values:
        texts = {""}
        for part in node.values:
            value = part.value if isinstance(part, ast.FormattedValue) else part
            joined = _joined(texts, _texts(self._values(value)))
            texts = _texts(_bounded(map(_Text, joined)))
        return frozenset(map(_Text, texts))

    def visit_BinOp(self, node: ast.BinOp) -> _Values:
        left, right = self._values(node.left), self._values(node.right)
        if not isinstance(node.op, ast.Add):
            return _UNKNOWN
        return _bounded(_Text(text) for text in _joined(_texts(left), _texts(right)))

    def visit_BoolOp(self, node: ast.BoolOp) -> _Values:
        return _bounded(value for part in node.values for value in self._values(part))

    def visit_IfExp(self, node: ast.IfExp) -> _Values:
        self.visit(node.test)
        return _bounded(self._values(node.body) | self._values(node.orelse))


_READERS = frozenset({"get", "pop", "__getitem__", "__getattribute__"})


def _is_static(node: _Function) -> bool:
    return any(
        isinstance(name, ast.Name) and name.id == "staticmethod" for name in node.decorator_list
    )


def _is_main_guard(test: ast.expr) -> bool:
    """`__name__ == "__main__"`: true only where the file is run as a script."""
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")
