"""A solution's markers, and the stub that is left without what stands between them.

A solution marks the lines that a learner writes with `# BEGIN SOLUTION` and `# END SOLUTION`. What
the markers do not say clearly is refused with file and line, since a guess could hand out the
answer; names, signatures and docstrings of the two always agree.

From text to text: it relies on Python's own tokens and syntax tree, and touches no file.
"""

import ast
import copy
import io
import itertools
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

BEGIN = "# BEGIN SOLUTION"
END = "# END SOLUTION"

# Whatever looks like a marker and is not one would leave the answer in the stub.
_MARKER_LIKE = re.compile(r"#+\s*(begin|end)[\s_-]*solution", re.IGNORECASE)
_LAYOUT_TOKENS = (
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
)


class MarkerError(ValueError):
    """The markers of a solution do not say which stub to make."""


@dataclass(frozen=True)
class _Marker:
    line: int
    indent: str
    begins: bool


@dataclass(frozen=True)
class _Block:
    """The lines of a block's two markers, its indentation, and its last line of code."""

    begin: int
    end: int
    indent: str
    last_code: int


@dataclass(frozen=True)
class _Place:
    """Where a block stands: its innermost function, class or module, and what it takes from it.

    `taken` are the statements in the block, `suites` the statement lists around them, outermost
    first: the last one is the list they are taken from.
    """

    block: _Block
    scope: ast.AST
    suites: list[list[ast.stmt]]
    taken: list[ast.stmt]

    def is_cut_off_by(self, raising: "_Place") -> bool:
        """Whether the raise in the place of an earlier block keeps this code from running.

        A raise inside a branch or a loop does not: without a second one, a stub could return
        None as if that were an answer.
        """
        same_scope = self.scope is raising.scope
        return same_scope and any(suite is raising.suites[-1] for suite in self.suites)


def make_stub(source: str, name: str) -> str:
    """The stub of the solution whose text is `source`; `name` is what errors call its file."""
    source = source.removeprefix("\ufeff").replace("\r\n", "\n")
    tree = _parsed(source, name)
    places = [_place(block, tree, name) for block in _blocks(source, name)]
    if not places:
        _fail(name, 1, f"got no marked block, want `{BEGIN}`: this stub would be the answer")
    for place in places:
        _refuse_imports(place, name)
    stub = _rewritten(source, tree, _replacements(places, name))
    _refuse_changed_surface(source, stub, name)
    return stub


def public_surface(source: str) -> dict[str, tuple[str, str | None]]:
    """Signature and docstring of each function, class and method outside the marked blocks.

    The module itself is listed as "<module>", with its docstring alone.
    """
    tree = _parsed(source, "<source>")
    blocks = _blocks(source, "<source>")
    surface = {"<module>": ("", ast.get_docstring(tree, clean=False))}
    for name, node in _definitions(tree, ""):
        if not any(block.begin < node.lineno < block.end for block in blocks):
            surface[name] = (_signature(node), ast.get_docstring(node, clean=False))
    return surface


def _fail(name: str, line: int, problem: str) -> NoReturn:
    raise MarkerError(f"{name}:{line}: {problem}")


def _parsed(source: str, name: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as broken:
        _fail(name, broken.lineno or 1, f"got text that is not Python: {broken.msg}")


def _blocks(source: str, name: str) -> list[_Block]:
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    code = [line for t in tokens if t.type not in _LAYOUT_TOKENS for line in (t.start[0], t.end[0])]
    blocks = []
    begin: _Marker | None = None
    for marker in _markers(tokens, source.split("\n"), name):
        if begin is None and not marker.begins:
            _fail(name, marker.line, f"got `{END}` with no `{BEGIN}` before it")
        if begin is not None and marker.begins:
            _fail(name, marker.line, f"got `{BEGIN}` while the one in line {begin.line} is open")
        if begin is not None:
            blocks.append(_block(begin, marker, code, name))
        begin = marker if marker.begins else None
    if begin is not None:
        _fail(name, begin.line, f"got `{BEGIN}` with no `{END}` after it")
    return blocks


def _markers(tokens: list[tokenize.TokenInfo], lines: list[str], name: str) -> Iterator[_Marker]:
    for token in tokens:
        if token.type != tokenize.COMMENT or not _MARKER_LIKE.match(token.string):
            continue
        line, column = token.start
        if token.string not in (BEGIN, END):
            _fail(name, line, f"got `{token.string}`, want `{BEGIN}` or `{END}`")
        indent = lines[line - 1][:column]
        if indent.strip():
            _fail(name, line, f"got `{token.string}` behind code, want it on a line of its own")
        yield _Marker(line, indent, begins=token.string == BEGIN)


def _block(begin: _Marker, end: _Marker, code: list[int], name: str) -> _Block:
    if begin.indent != end.indent:
        _fail(
            name, end.line, f"got `{END}` indented otherwise than line {begin.line}, want the same"
        )
    inside = [line for line in code if begin.line < line < end.line]
    if not inside:
        _fail(name, begin.line, "got a block without code, want the lines a learner writes")
    return _Block(begin.line, end.line, begin.indent, max(inside))


def _place(block: _Block, tree: ast.Module, name: str) -> _Place:
    scope: ast.AST = tree
    suites = [tree.body]
    while (around := _statement_around(block, suites[-1])) is not None:
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope = around
        touched = [suite for suite in _suites(around) if any(_touches(block, s) for s in suite)]
        if len(touched) != 1:
            _refuse_pieces(block, name)
        suites.append(touched[0])
    taken = [statement for statement in suites[-1] if _touches(block, statement)]
    whole = all(block.begin < _first_line(s) and _last_line(s) < block.end for s in taken)
    if not whole or taken[0].col_offset != len(block.indent):
        _refuse_pieces(block, name)
    return _Place(block, scope, suites, taken)


def _refuse_pieces(block: _Block, name: str) -> NoReturn:
    _fail(
        name,
        block.begin,
        f"got a block (to line {block.end}) around pieces of statements, want whole statements "
        "of one indentation, and the markers indented like them",
    )


def _statement_around(block: _Block, suite: list[ast.stmt]) -> ast.stmt | None:
    # A closing marker at the end of a function comes after the last line that the syntax tree
    # counts as the function's, so the block's last code decides.
    for statement in suite:
        if _first_line(statement) < block.begin and block.last_code <= _last_line(statement):
            return statement
    return None


def _touches(block: _Block, statement: ast.stmt) -> bool:
    return _first_line(statement) < block.end and block.begin < _last_line(statement)


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _last_line(statement: ast.stmt) -> int:
    return statement.end_lineno or statement.lineno


def _suites(node: ast.AST) -> list[list[ast.stmt]]:
    """The statement lists of a compound statement, those of its handlers and cases included."""
    lists = [getattr(node, field, []) for field in ("body", "orelse", "finalbody")]
    for clause in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
        lists.append(clause.body)
    return [suite for suite in lists if suite]


def _refuse_imports(place: _Place, name: str) -> None:
    for statement in place.taken:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                _fail(name, node.lineno, "got an import in a block, want it outside the markers")


def _replacements(places: list[_Place], name: str) -> dict[_Block, list[str]]:
    """What stands in the stub for each block: two lines, or nothing."""
    replacements: dict[_Block, list[str]] = {}
    raising: list[_Place] = []
    vanished: list[ast.stmt] = []
    for place in places:
        in_function = isinstance(place.scope, ast.FunctionDef | ast.AsyncFunctionDef)
        if in_function and not any(place.is_cut_off_by(earlier) for earlier in raising):
            raising.append(place)
            indent = place.block.indent
            replacements[place.block] = [
                f"{indent}# your code here",
                f"{indent}raise NotImplementedError",
            ]
            continue
        vanished += place.taken
        if all(statement in vanished for statement in place.suites[-1]):
            _fail(name, place.block.begin, "got a block that leaves nothing where it stood")
        replacements[place.block] = []
    return replacements


def _rewritten(source: str, tree: ast.Module, replacements: dict[_Block, list[str]]) -> str:
    lines = source.split("\n")
    in_strings = _lines_in_strings(tree)
    entries: list[tuple[str, str]] = []
    done = 0
    for block, replacement in replacements.items():
        entries += _entries(lines, done + 1, block.begin - 1, in_strings)
        entries += [("line", line) for line in replacement] or [("gone", "")]
        done = block.end
    entries += _entries(lines, done + 1, len(lines), in_strings)
    return "\n".join(_closed_up(entries)).strip("\n") + "\n"


def _entries(
    lines: list[str], first: int, last: int, in_strings: set[int]
) -> list[tuple[str, str]]:
    return [
        ("blank" if not line.strip() and number not in in_strings else "line", line)
        for number, line in enumerate(lines[first - 1 : last], start=first)
    ]


def _lines_in_strings(tree: ast.Module) -> set[int]:
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def _closed_up(entries: list[tuple[str, str]]) -> Iterator[str]:
    """The lines, at most two blank ones in a row, and around a gap only the larger group."""
    for is_line, run in itertools.groupby(entries, key=lambda entry: entry[0] == "line"):
        if is_line:
            yield from (line for _, line in run)
            continue
        groups = "".join("," if kind == "gone" else " " for kind, _ in run).split(",")
        yield from [""] * min(2, max(len(group) for group in groups))


def _refuse_changed_surface(source: str, stub: str, name: str) -> None:
    wanted = public_surface(source)
    got = public_surface(stub)
    changed = [key for key in wanted | got if wanted.get(key) != got.get(key)]
    if changed:
        _fail(
            name,
            1,
            f"got other names, signatures or docstrings in the stub ({', '.join(changed)}), "
            "want docstrings outside the markers",
        )


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    for statement in itertools.chain.from_iterable(_suites(node)):
        if not isinstance(statement, _Definition):
            yield from _definitions(statement, prefix)
            continue
        yield prefix + statement.name, statement
        if isinstance(statement, ast.ClassDef):
            yield from _definitions(statement, f"{prefix}{statement.name}.")


def _signature(node: _Definition) -> str:
    head = copy.copy(node)
    head.body = [ast.Pass()]
    return ast.unparse(head).strip().removesuffix("pass").rstrip().removesuffix(":")
