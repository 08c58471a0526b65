"""Stubs: generated from the solutions, handed out under exercises/, never lost once edited.

A solution marks the lines that a learner writes with `# BEGIN SOLUTION` and `# END SOLUTION`; its
stub is what is left. A pristine copy of every stub stands beside the grader, so that "has the
learner edited it?" has an answer where there are no solutions. Line endings and a byte order mark
are git's or an editor's doing and never count as an edit.
"""

import ast
import copy
import difflib
import io
import itertools
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NoReturn

from grader.catalogue import say
from grader.curriculum import Curriculum, Exercise
from grader.writing import replace_file

BEGIN = "# BEGIN SOLUTION"
END = "# END SOLUTION"
BACKUPS = Path(".grader") / "backups"

Clock = Callable[[], datetime]

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
_STUB_FILES = "ex[0-9][0-9]_*.py"
_EXCERPT_LINES = 12


class MarkerError(ValueError):
    """The markers of a solution do not say which stub to make."""


class MissingFile(LookupError):
    """The solution, the pristine copy or the backup that is needed does not exist."""


@dataclass(frozen=True)
class StubResult:
    """What happened to one file of exercises/; `backup` is where an edited one was kept."""

    id: str
    path: Path
    state: Literal["created", "unchanged", "updated", "kept: edited", "backed up"]
    backup: Path | None = None


@dataclass(frozen=True)
class Drift:
    """One place where solutions, pristine copies, stubs and syllabus disagree."""

    id: str
    path: Path
    message: str
    excerpt: str = ""


@dataclass(frozen=True)
class Undone:
    """Which backup is in exercises/ again, and where the edits that stood there are kept."""

    restored: Path
    backup: Path | None


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


def write_stubs(
    curriculum: Curriculum,
    root: Path,
    ids: Iterable[str] | None = None,
    *,
    force: bool = False,
    now: Clock | None = None,
) -> list[StubResult]:
    """Write exercises/ and the pristine copies from the solutions, all or those in `ids`.

    An edited file is kept; with `force` it is backed up and replaced.
    """
    chosen = curriculum.exercises if ids is None else [curriculum.find(text) for text in ids]
    # All are made before the first is written: a wrong marker leaves every file as it was.
    stubs = [(exercise, _stub_from_solution(exercise, root)) for exercise in chosen]
    return [_write_stub(exercise, root, stub, force, now) for exercise, stub in stubs]


def check_stubs(curriculum: Curriculum, root: Path, *, authoring: bool = False) -> list[Drift]:
    """Where the pristine copies no longer follow from the solutions that are there.

    A learner's edits are no drift, nor are solutions that were not handed out; `authoring` is the
    stricter view of the folder the course is made in.
    """
    drifts: list[Drift] = []
    for exercise in curriculum.exercises:
        drifts += _pristine_drifts(exercise, root, authoring)
        drifts += _exercise_drifts(exercise, root, authoring)
    return drifts + _unlisted(curriculum, root)


def is_untouched(exercise: Exercise, root: Path) -> bool:
    """Whether the file in exercises/ is still the stub that was handed out."""
    paths = exercise.paths(root)
    present = _read(paths.stub)
    pristine = _read(paths.pristine)
    return present is not None and pristine is not None and _same(present, pristine)


def reset(exercise: Exercise, root: Path, *, now: Clock | None = None) -> Path | None:
    """Put the stub back; returns where the edits are kept, None where there were none."""
    paths = exercise.paths(root)
    pristine = _read(paths.pristine)
    if pristine is None:
        raise MissingFile(
            say("stubs.no_pristine", exercise=exercise.id, file=paths.pristine)
            + "\n"
            + say("stubs.no_pristine_next")
        )
    backup = _keep_edits(exercise, root, now)
    replace_file(paths.stub, plain(pristine))
    return backup


def undo_reset(exercise: Exercise, root: Path, *, now: Clock | None = None) -> Undone:
    """Bring the newest backup back; what stands there now is kept first, unless it is the stub."""
    backups = _backups(exercise, root)
    if not backups:
        raise MissingFile(
            say("stubs.no_backup", exercise=exercise.id, folder=root / BACKUPS)
            + "\n"
            + say("stubs.no_backup_next", short=exercise.short)
        )
    kept = _keep_edits(exercise, root, now)
    replace_file(exercise.paths(root).stub, backups[-1].read_bytes())
    return Undone(backups[-1], kept)


def _stub_from_solution(exercise: Exercise, root: Path) -> bytes:
    solution = exercise.paths(root).solution
    source = _read(solution)
    if source is None:
        raise MissingFile(
            f"{exercise.id}: got no {solution}, want the solution that its stub is made from\n"
            f"  next: grader reset {exercise.short}, which needs no solution"
        )
    name = solution.relative_to(root).as_posix()
    return make_stub(plain(source).decode("utf-8"), name).encode("utf-8")


def _write_stub(
    exercise: Exercise, root: Path, stub: bytes, force: bool, now: Clock | None
) -> StubResult:
    paths = exercise.paths(root)
    result = _place_stub(exercise, root, stub, force, now)
    # The record comes second: after an interruption in between, the new stub in exercises/ is
    # recognised as such; the other way round the old one would be taken for an edit.
    recorded = _read(paths.pristine)
    if recorded is None or not _same(recorded, stub):
        replace_file(paths.pristine, stub)
    return result


def _place_stub(
    exercise: Exercise, root: Path, stub: bytes, force: bool, now: Clock | None
) -> StubResult:
    path = exercise.paths(root).stub
    present = _read(path)
    if present is None:
        replace_file(path, stub)
        return StubResult(exercise.id, path, "created")
    if _same(present, stub):
        return StubResult(exercise.id, path, "unchanged")
    if is_untouched(exercise, root):
        replace_file(path, stub)
        return StubResult(exercise.id, path, "updated")
    if not force:
        return StubResult(exercise.id, path, "kept: edited")
    backup = _keep_edits(exercise, root, now)
    replace_file(path, stub)
    return StubResult(exercise.id, path, "backed up", backup)


def _pristine_drifts(exercise: Exercise, root: Path, authoring: bool) -> Iterator[Drift]:
    paths = exercise.paths(root)
    pristine = _read(paths.pristine)
    if pristine is None:
        yield Drift(exercise.id, paths.pristine, "got no pristine copy; next: grader stubs")
    if not paths.solution.exists():
        if authoring:
            yield Drift(exercise.id, paths.solution, "got no solution, want the stub's source")
        return
    try:
        wanted = _stub_from_solution(exercise, root)
    except MarkerError as broken:
        yield Drift(exercise.id, paths.solution, str(broken))
        return
    if pristine is not None and not _same(pristine, wanted):
        message = "differs from the stub that its solution makes; next: grader stubs"
        yield Drift(exercise.id, paths.pristine, message, _excerpt(pristine, wanted))


def _exercise_drifts(exercise: Exercise, root: Path, authoring: bool) -> Iterator[Drift]:
    paths = exercise.paths(root)
    present = _read(paths.stub)
    pristine = _read(paths.pristine)
    if present is None:
        message = f"got no stub; next: grader reset {exercise.short}"
        yield Drift(exercise.id, paths.stub, message)
    elif authoring and pristine is not None and not _same(present, pristine):
        message = f"differs from its pristine copy; next: grader reset {exercise.short}"
        yield Drift(exercise.id, paths.stub, message, _excerpt(present, pristine))


def _unlisted(curriculum: Curriculum, root: Path) -> list[Drift]:
    listed = {exercise.answer_file for exercise in curriculum.exercises}
    return [
        Drift(file.stem, file, "got a stub that the syllabus does not list")
        for folder in (root / "exercises", root / "grader" / "pristine")
        for file in sorted(folder.glob(_STUB_FILES))
        if file.name not in listed
    ]


def _excerpt(got: bytes, wanted: bytes) -> str:
    """The start of a unified diff from what is there to what is wanted."""
    before, after = (plain(b).decode("utf-8", "replace").split("\n") for b in (got, wanted))
    diff = list(difflib.unified_diff(before, after, "got", "want", lineterm="", n=1))
    more = len(diff) - _EXCERPT_LINES
    shown = diff[:_EXCERPT_LINES]
    return "\n".join([*shown, f"… {more} more lines"] if more > 0 else shown)


def _keep_edits(exercise: Exercise, root: Path, now: Clock | None) -> Path | None:
    """Where the edits in exercises/ are kept, now if not before; None where there are none."""
    present = _read(exercise.paths(root).stub)
    if present is None or is_untouched(exercise, root):
        return None
    backups = _backups(exercise, root)
    if backups and backups[-1].read_bytes() == present:
        return backups[-1]
    return back_up(exercise.id, root, present, now)


def back_up(id: str, root: Path, content: bytes, now: Clock | None = None) -> Path:
    """Keep an exercise's file among its backups, under a name of its own; returns where."""
    moment = now() if now else datetime.now(UTC)
    stem = f"{id}.{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    folder = root / BACKUPS
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(1))):
        backup = folder / f"{stem}{suffix}.py"
        try:
            # "x" refuses an existing file in the same step that would create it.
            with backup.open("xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        return backup
    raise AssertionError("unreachable: the count has no end")


def _backups(exercise: Exercise, root: Path) -> list[Path]:
    """The exercise's backups, oldest first."""
    form = re.compile(re.escape(exercise.id) + r"\.(\d{8}T\d{6}Z)(?:-(\d+))?\.py")
    found = []
    for file in (root / BACKUPS).glob(f"{exercise.id}.*.py"):
        if parts := form.fullmatch(file.name):
            found.append((parts[1], int(parts[2] or 0), file))
    return [file for _, _, file in sorted(found)]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def plain(content: bytes) -> bytes:
    """The content without what git or an editor does to it: line endings, a byte order mark."""
    return content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")


def _same(one: bytes, other: bytes) -> bool:
    return plain(one) == plain(other)
