"""The files of exercises/: written from the solutions, handed out, never lost once edited.

A pristine copy of every stub stands beside the grader, so that "has the learner edited it?" has an
answer where there are no solutions. Line endings and a byte order mark are git's or an editor's
doing and never count as an edit. What is edited is backed up before anything takes its place.

Which stub a solution makes, `markers` says; `writing` replaces a file whole or not at all.
"""

import contextlib
import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from grader.course.course import Course
from grader.course.files import replace_file
from grader.course.stub_markers import MarkerError, make_stub
from grader.course.syllabus import Exercise
from grader.messages.catalog import say

BACKUPS = Path(".grader") / "backups"

Clock = Callable[[], datetime]

_STUB_FILES = "ex[0-9][0-9]_*.py"
_EXCERPT_LINES = 12


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


def write_stubs(
    course: Course,
    ids: Iterable[str] | None = None,
    *,
    force: bool = False,
    now: Clock | None = None,
) -> list[StubResult]:
    """Write exercises/ and the pristine copies from the solutions, all or those in `ids`.

    An edited file is kept; with `force` it is backed up and replaced.
    """
    chosen = course.exercises if ids is None else [course.syllabus.find(text) for text in ids]
    # All are made before the first is written: a wrong marker leaves every file as it was.
    stubs = [(exercise, _stub_from_solution(exercise, course)) for exercise in chosen]
    return [_write_stub(exercise, course, stub, force, now) for exercise, stub in stubs]


def check_stubs(course: Course, *, authoring: bool = False) -> list[Drift]:
    """Where the pristine copies no longer follow from the solutions that are there.

    A learner's edits are no drift, nor are solutions that were not handed out; `authoring` is the
    stricter view of the folder the course is made in.
    """
    drifts: list[Drift] = []
    for exercise in course.exercises:
        drifts += _pristine_drifts(exercise, course, authoring)
        drifts += _exercise_drifts(exercise, course, authoring)
    return drifts + _unlisted(course)


def is_untouched(exercise: Exercise, course: Course) -> bool:
    """Whether the file in exercises/ is still the stub that was handed out."""
    paths = course.paths(exercise)
    present = _read(paths.stub)
    pristine = _read(paths.pristine)
    return present is not None and pristine is not None and _same(present, pristine)


def reset(exercise: Exercise, course: Course, *, now: Clock | None = None) -> Path | None:
    """Put the stub back; returns where the edits are kept, None where there were none."""
    paths = course.paths(exercise)
    pristine = _read(paths.pristine)
    if pristine is None:
        raise MissingFile(
            say("stubs.no_pristine", exercise=exercise.id, file=paths.pristine)
            + "\n"
            + say("stubs.no_pristine_next")
        )
    backup = _keep_edits(exercise, course, now)
    replace_file(paths.stub, plain(pristine))
    return backup


def undo_reset(exercise: Exercise, course: Course, *, now: Clock | None = None) -> Undone:
    """Bring the newest backup back; what stands there now is kept first, unless it is the stub."""
    backups = _backups(exercise, course)
    if not backups:
        raise MissingFile(
            say("stubs.no_backup", exercise=exercise.id, folder=course.root / BACKUPS)
            + "\n"
            + say("stubs.no_backup_next", short=exercise.short)
        )
    kept = _keep_edits(exercise, course, now)
    replace_file(course.paths(exercise).stub, backups[-1].read_bytes())
    return Undone(backups[-1], kept)


def _stub_from_solution(exercise: Exercise, course: Course) -> bytes:
    solution = course.paths(exercise).solution
    source = _read(solution)
    if source is None:
        raise MissingFile(
            f"{exercise.id}: got no {solution}, want the solution that its stub is made from\n"
            f"  next: grader reset {exercise.short}, which needs no solution"
        )
    name = solution.relative_to(course.root).as_posix()
    return make_stub(source.decode("utf-8"), name).encode("utf-8")


def _write_stub(
    exercise: Exercise, course: Course, stub: bytes, force: bool, now: Clock | None
) -> StubResult:
    paths = course.paths(exercise)
    result = _place_stub(exercise, course, stub, force, now)
    # The record comes second: after an interruption in between, the new stub in exercises/ is
    # recognised as such; the other way round the old one would be taken for an edit.
    recorded = _read(paths.pristine)
    if recorded is None or not _same(recorded, stub):
        replace_file(paths.pristine, stub)
    return result


def _place_stub(
    exercise: Exercise, course: Course, stub: bytes, force: bool, now: Clock | None
) -> StubResult:
    path = course.paths(exercise).stub
    present = _read(path)
    if present is None:
        replace_file(path, stub)
        return StubResult(exercise.id, path, "created")
    if _same(present, stub):
        return StubResult(exercise.id, path, "unchanged")
    if is_untouched(exercise, course):
        replace_file(path, stub)
        return StubResult(exercise.id, path, "updated")
    if not force:
        return StubResult(exercise.id, path, "kept: edited")
    backup = _keep_edits(exercise, course, now)
    replace_file(path, stub)
    return StubResult(exercise.id, path, "backed up", backup)


def _pristine_drifts(exercise: Exercise, course: Course, authoring: bool) -> Iterator[Drift]:
    paths = course.paths(exercise)
    pristine = _read(paths.pristine)
    if pristine is None:
        yield Drift(exercise.id, paths.pristine, "got no pristine copy; next: grader stubs")
    if not paths.solution.exists():
        if authoring:
            yield Drift(exercise.id, paths.solution, "got no solution, want the stub's source")
        return
    try:
        wanted = _stub_from_solution(exercise, course)
    except MarkerError as broken:
        yield Drift(exercise.id, paths.solution, str(broken))
        return
    if pristine is not None and not _same(pristine, wanted):
        message = "differs from the stub that its solution makes; next: grader stubs"
        yield Drift(exercise.id, paths.pristine, message, _excerpt(pristine, wanted))


def _exercise_drifts(exercise: Exercise, course: Course, authoring: bool) -> Iterator[Drift]:
    paths = course.paths(exercise)
    present = _read(paths.stub)
    pristine = _read(paths.pristine)
    if present is None:
        message = f"got no stub; next: grader reset {exercise.short}"
        yield Drift(exercise.id, paths.stub, message)
    elif authoring and pristine is not None and not _same(present, pristine):
        message = f"differs from its pristine copy; next: grader reset {exercise.short}"
        yield Drift(exercise.id, paths.stub, message, _excerpt(present, pristine))


def _unlisted(course: Course) -> list[Drift]:
    listed = {exercise.answer_file for exercise in course.exercises}
    return [
        Drift(file.stem, file, "got a stub that the syllabus does not list")
        for folder in (course.root / "exercises", course.root / "grader" / "pristine")
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


def _keep_edits(exercise: Exercise, course: Course, now: Clock | None) -> Path | None:
    """Where the edits in exercises/ are kept, now if not before; None where there are none."""
    present = _read(course.paths(exercise).stub)
    if present is None or is_untouched(exercise, course):
        return None
    backups = _backups(exercise, course)
    if backups and backups[-1].read_bytes() == present:
        return backups[-1]
    return back_up(exercise.id, course.root, present, now)


def back_up(id: str, root: Path, content: bytes, now: Clock | None = None) -> Path:
    """Keep an exercise's file among its backups, under a name of its own; returns where."""
    moment = now() if now else datetime.now(UTC)
    stem = f"{id}.{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    folder = root / BACKUPS
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        backup = folder / (f"{stem}-{number}.py" if number else f"{stem}.py")
        # "x" refuses an existing file in the same step that would create it.
        with contextlib.suppress(FileExistsError), backup.open("xb") as file:
            file.write(content)
            return backup
    raise AssertionError("unreachable: the count has no end")


def _backups(exercise: Exercise, course: Course) -> list[Path]:
    """The exercise's backups, oldest first."""
    form = re.compile(re.escape(exercise.id) + r"\.(\d{8}T\d{6}Z)(?:-(\d+))?\.py")
    found = []
    for file in (course.root / BACKUPS).glob(f"{exercise.id}.*.py"):
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
