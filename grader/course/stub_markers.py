"""Makes a stub from the text of its solution.

A solution marks the lines that a learner writes with `# BEGIN SOLUTION` and `# END SOLUTION`. In a
function each block gives way to `raise NotImplementedError`, elsewhere it disappears. Unclear
markers are refused with file and line, since a guess could hand out the answer. So is a stub that
is no longer Python, or whose names, signatures and docstrings differ from the solution's.

This module turns text into text and touches no file.
"""

import ast
import copy
import io
import re
import tokenize
from collections.abc import Iterator
from typing import NoReturn

BEGIN = "# BEGIN SOLUTION"
END = "# END SOLUTION"

# A misspelled marker would leave the answer in the stub: it is refused, not taken for a comment.
_MARKER_LIKE = re.compile(r"#+\s*(begin|end)[\s_-]*solution", re.IGNORECASE)
_CODE = re.compile(r"^\s*[^\s#]", re.MULTILINE)
_GONE = "\0"

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class MarkerError(ValueError):
    """The markers of a solution do not say which stub to make."""


def make_stub(source: str, name: str) -> str:
    """The stub of the solution whose text is `source`; `name` is what errors call its file."""
    source = source.removeprefix("\ufeff").replace("\r\n", "\n")
    tree = _parsed(source, name)
    blocks = _blocks(source, name)
    if not blocks:
        _fail(name, 1, f"got no marked block, want `{BEGIN}`: this stub would be the answer")
    lines = source.split("\n")
    for begin, end in reversed(blocks):  # backwards, so that the line numbers stay right
        _refuse_imports(tree, begin, end, name)
        stand_in = [_GONE]
        if _is_in_function(tree, begin):
            indent = lines[begin - 1].removesuffix(BEGIN)
            stand_in = [f"{indent}# your code here", f"{indent}raise NotImplementedError"]
        lines[begin - 1 : end] = stand_in
    stub = _closed_up("\n".join(lines))
    _refuse_changed_surface(source, stub, name)
    return stub


def public_surface(source: str, name: str = "<source>") -> dict[str, tuple[str, str | None]]:
    """Signature and docstring of each function, class and method outside the marked blocks.

    The module itself is listed as "<module>", with its docstring alone.
    """
    tree = _parsed(source, name)
    blocks = _blocks(source, name)
    surface = {"<module>": ("", ast.get_docstring(tree, clean=False))}
    for path, node in _definitions(tree):
        if not any(begin < node.lineno < end for begin, end in blocks):
            surface[path] = (_signature(node), ast.get_docstring(node, clean=False))
    return surface


def _fail(name: str, line: int, problem: str) -> NoReturn:
    raise MarkerError(f"{name}:{line}: {problem}")


def _parsed(source: str, name: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as broken:
        _fail(name, broken.lineno or 1, f"got text that is not Python: {broken.msg}")


def _blocks(source: str, name: str) -> list[tuple[int, int]]:
    """The lines of each block's two markers."""
    lines = source.split("\n")
    blocks: list[tuple[int, int]] = []
    begin = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # Only a comment can be a marker: the same words in a docstring are text.
        if token.type != tokenize.COMMENT or not _MARKER_LIKE.match(token.string):
            continue
        number, line = token.start[0], lines[token.start[0] - 1]
        indent = re.match(r"\s*", lines[(begin or number) - 1])
        wanted = f"{indent[0] if indent else ''}{END if begin else BEGIN}"
        if line != wanted:
            where = f"to end the block of line {begin}" if begin else "on a line of its own"
            _fail(name, number, f"got `{line}`, want `{wanted}` {where}")
        if begin and not _CODE.search("\n".join(lines[begin : number - 1])):
            _fail(name, begin, "got a block without code, want the lines a learner writes")
        if begin:
            blocks.append((begin, number))
        begin = 0 if begin else number
    if begin:
        _fail(name, begin, f"got `{BEGIN}` with no `{END}` after it")
    return blocks


def _refuse_imports(tree: ast.Module, begin: int, end: int, name: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and begin < node.lineno < end:
            _fail(name, node.lineno, "got an import in a block, want it outside the markers")


def _is_in_function(tree: ast.Module, line: int) -> bool:
    """Whether the innermost definition around a line is a function, which a stub can end early."""
    definitions = (node for node in ast.walk(tree) if isinstance(node, _Definition))
    around = (node for node in definitions if node.lineno < line <= (node.end_lineno or 0))
    innermost = max(around, key=lambda node: node.lineno, default=None)
    return innermost is not None and not isinstance(innermost, ast.ClassDef)


def _closed_up(text: str) -> str:
    """The text with one gap, the largest, where there was one on each side of what is gone."""
    gap = re.compile(rf"\n+(?:{_GONE}\n+)+")
    closed = gap.sub(lambda found: max(found[0].split(_GONE), key=len), f"\n{text}\n")
    return closed.strip("\n") + "\n"


def _refuse_changed_surface(source: str, stub: str, name: str) -> None:
    try:
        got = public_surface(stub, "the stub")
    except MarkerError as broken:
        _fail(name, 1, f"want whole statements in a block and something left around it ({broken})")
    wanted = public_surface(source)
    changed = [path for path in wanted | got if wanted.get(path) != got.get(path)]
    if changed:
        _fail(
            name,
            1,
            f"got other names, signatures or docstrings in the stub ({', '.join(changed)}), "
            "want docstrings outside the markers",
        )


def _definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, _Definition]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _Definition):
            yield from _definitions(child, prefix)
            continue
        yield prefix + child.name, child
        if isinstance(child, ast.ClassDef):
            yield from _definitions(child, f"{prefix}{child.name}.")


def _signature(node: _Definition) -> str:
    head = copy.copy(node)
    head.body = [ast.Pass()]
    return ast.unparse(head).strip().removesuffix("pass").rstrip().removesuffix(":")
