"""Bring a newer course into a copy that a learner has worked in, without losing a line.

Everything is decided before the first file is written, and whatever the learner made is backed up
before that. An edited exercise is merged with the new stub, from the pristine copy of the old one;
where both changed the same lines the learner's file stays and the new stub is laid beside it. A run
that was interrupted is simply repeated.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from grader.course.files import replace_file
from grader.course.stubs import BACKUPS, Clock, back_up, plain
from grader.learner.update.fetch import (
    FetchedCourse,
    UpdateError,
    content_hash,
    course_files,
    obtained,
)
from grader.messages.catalog import say

MANIFEST = Path(".grader") / "course.json"
"""What the last update handed out: a file with another content is the learner's."""

_ANSWER = re.compile(r"exercises/(ex\d\d_\w+)\.py")
_MOST_LACKING = 0.25
"""The share of the exercises that a newer course may have given up."""
_DEPENDENCIES = ("pyproject.toml", "constraints.txt")

Kind = Literal[
    "new", "updated", "replaced", "removed", "left", "merged", "kept", "beside", "renamed", "split"
]


@dataclass(frozen=True)
class Change:
    """What happens to one file, and why it is told.

    `content` goes to `writes`; None writes nothing. `removes` is a file that goes. `yours` are the
    files with something of the learner's in them, which are backed up first. `other` is the second
    file that the telling needs: the stub laid beside, the name that an exercise had.
    """

    path: str
    kind: Kind
    writes: str = ""
    content: bytes | None = None
    mode: int | None = None
    removes: str = ""
    yours: tuple[str, ...] = ()
    other: str = ""

    @property
    def exercise(self) -> str | None:
        """The exercise whose answer this is, if it is one."""
        found = _ANSWER.fullmatch(self.path)
        return found[1] if found else None


@dataclass(frozen=True)
class Update:
    """What an update did, or would do: where it comes from, each change, and each backup.

    `branch_moved` is None where no branch was to move: without git, or with nothing new.
    """

    course: FetchedCourse
    changes: tuple[Change, ...]
    backups: Mapping[str, Path] = field(default_factory=dict)
    branch_moved: bool | None = None

    @property
    def dependencies_changed(self) -> bool:
        return any(change.path in _DEPENDENCIES for change in self.changes)


def update(
    root: Path,
    source: str | None,
    *,
    branch: str | None = None,
    dry_run: bool = False,
    now: Clock | None = None,
) -> Update:
    """Bring the course from `source` into `root`; without one from where the clone came from.

    Raises UpdateError, before anything is written, with what was wrong and what to do.
    """
    with obtained(root, source, branch) as course:
        if course.is_here:
            return Update(course, ())
        _refuse_a_part(root, course)
        changes = tuple(planned(root, course.folder, _handed_out(root, course)))
        _refuse_obstacles(root, changes)
        if dry_run:
            return Update(course, changes)
        backups = _apply(root, changes, now)
        _write_manifest(root, course.folder)
        return Update(course, changes, backups, course.move_branch())


def planned(root: Path, new: Path, handed_out: Mapping[str, frozenset[str]]) -> Iterator[Change]:
    """The changes that make the course in `root` the one in `new`, exercises first.

    `handed_out` has the hashes of each file as the learner may have received it; a file that has
    none of them is the learner's.
    """
    # The pristine copies come after: with the old ones an interrupted run can be repeated.
    yield from _exercise_changes(root, new)
    files = course_files(new)
    for name, path in files.items():
        if not _ANSWER.fullmatch(name):
            yield from _file_change(root, name, path, handed_out.get(name, frozenset()))
    for name in sorted(handed_out.keys() - files.keys()):
        present = None if _ANSWER.fullmatch(name) else _read(root / name)
        if present is not None and content_hash(present) in handed_out[name]:
            yield Change(name, "removed", removes=name)
        elif present is not None:
            yield Change(name, "left")


def _file_change(root: Path, name: str, path: Path, handed_out: frozenset[str]) -> Iterator[Change]:
    """What becomes of a file that is no answer."""
    content, present = path.read_bytes(), _read(root / name)
    mode = 0o755 if path.stat().st_mode & 0o100 else None
    if present is None:
        yield Change(name, "new", name, content, mode)
    elif plain(present) != plain(content):
        yours = () if content_hash(present) in handed_out else (name,)
        yield Change(name, "replaced" if yours else "updated", name, content, mode, yours=yours)


def merged(mine: bytes, base: bytes, new: bytes) -> bytes | None:
    """Both the learner's changes and the stub's, by git; None where they meet, or without git."""
    if shutil.which("git") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="course-merge.") as folder:
        for name, content in (("mine", mine), ("base", base), ("new", new)):
            Path(folder, name).write_bytes(plain(content))
        command = ["git", "merge-file", "-p", "--quiet", "mine", "base", "new"]
        done = subprocess.run(command, cwd=folder, capture_output=True)
    if done.returncode != 0 or (_is_python(mine) and not _is_python(done.stdout)):
        return None
    text = done.stdout.replace(b"\n", b"\r\n") if b"\r\n" in mine else done.stdout
    return b"\xef\xbb\xbf" + text if mine.startswith(b"\xef\xbb\xbf") else text


def _is_python(source: bytes) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):  # a null byte is a ValueError
        return False
    return True


def _exercise_changes(root: Path, new: Path) -> Iterator[Change]:
    old_stubs, new_stubs = _stubs(root), _stubs(new)
    former = _former_ids(old_stubs.keys(), new_stubs.keys())
    for id, stub in new_stubs.items():
        name, before = _answer(id), former.get(id, id)
        mine = _read(root / _answer(before))
        if mine is None:
            if _read(root / name) is None:
                yield Change(name, "new", name, stub)
        elif id == before:
            yield from _stub_change(root, name, mine, old_stubs.get(id), stub)
        else:
            yield _renaming(root, name, _answer(before), mine, old_stubs[before], stub)
    for id in sorted(old_stubs.keys() - new_stubs.keys() - set(former.values())):
        mine = _read(root / _answer(id))
        if mine is not None and plain(mine) == plain(old_stubs[id]):
            yield Change(_answer(id), "removed", removes=_answer(id))
        elif mine is not None:
            yield Change(_answer(id), "left")


def _stub_change(
    root: Path, name: str, mine: bytes, old: bytes | None, new: bytes
) -> Iterator[Change]:
    """What becomes of an answer whose exercise is in both courses."""
    beside = f"{name}.new"
    if plain(mine) == plain(new):
        return
    if old is not None and plain(mine) == plain(old):
        yield Change(name, "updated", name, new)
        return
    both = merged(mine, old, new) if old is not None else None
    if both is not None and plain(both) == plain(mine):
        yield Change(name, "kept", other=beside if (root / beside).exists() else "")
    elif both is not None:
        yield Change(name, "merged", name, both, yours=(name,))
    else:
        in_the_way = (beside,) if _read(root / beside) not in (None, new) else ()
        yield Change(name, "beside", beside, new, yours=in_the_way, other=beside)


def _renaming(root: Path, name: str, old_name: str, mine: bytes, old: bytes, new: bytes) -> Change:
    """An exercise that goes by another name: the answer moves with it, or stays where it is."""
    taken = (name,) if _read(root / name) not in (None, new) else ()
    if plain(mine) == plain(old):
        return Change(name, "updated", name, new, removes=old_name, yours=taken)
    both = merged(mine, old, new)
    if both is None:
        return Change(name, "split", name, new, yours=taken, other=old_name)
    yours = (old_name, *taken)
    return Change(name, "renamed", name, both, removes=old_name, yours=yours, other=old_name)


def _former_ids(old: Collection[str], new: Collection[str]) -> dict[str, str]:
    """The old id of each new one that has taken its number."""
    gone = {_number(id): id for id in old if id not in new}
    return {id: gone[_number(id)] for id in new if id not in old and _number(id) in gone}


def _number(id: str) -> str:
    return id.partition("_")[0]


def _answer(id: str) -> str:
    return f"exercises/{id}.py"


def _stubs(course: Path) -> dict[str, bytes]:
    """The stubs by id, read without the syllabus, which another version may not understand."""
    files = sorted((course / "grader" / "pristine").glob("ex[0-9][0-9]_*.py"))
    return {file.stem: file.read_bytes() for file in files}


def _refuse_a_part(root: Path, course: FetchedCourse) -> None:
    """Raise for a course without stubs, or one that lacks too many of the clone's exercises: it is
    a part of a course or another one, and what is not in it would be removed."""
    old, new = _stubs(root), _stubs(course.folder)
    advice = say("update.whole_course")
    if not new:
        raise UpdateError(say("update.no_stubs", course=course.name) + "\n" + advice)
    lacking = sorted(old.keys() - new.keys() - set(_former_ids(old.keys(), new.keys()).values()))
    if len(lacking) > len(old) * _MOST_LACKING:
        said = say(
            "update.lacking",
            course=course.name,
            count=len(lacking),
            total=len(old),
            names=", ".join(lacking),
        )
        raise UpdateError(said + "\n" + advice)


def _refuse_obstacles(root: Path, changes: Sequence[Change]) -> None:
    """Raise where a folder lies in the place of a file, or a file in that of a folder."""
    for path in (root / change.writes for change in changes if change.content is not None):
        above = next(parent for parent in path.parents if parent.exists())
        obstacle = path if path.is_dir() else above
        if obstacle is path or not above.is_dir():
            file = path.relative_to(root).as_posix()
            raise UpdateError(
                say("update.in_the_way", obstacle=obstacle, file=file)
                + "\n"
                + say("update.in_the_way_next")
            )


def _apply(root: Path, changes: Sequence[Change], now: Clock | None) -> dict[str, Path]:
    """Back up what is the learner's, then write and remove; returns where each backup is."""
    place = root / BACKUPS
    try:
        backups = _back_up(root, changes, now)
        for change in changes:
            if change.content is not None:
                place = root / change.writes
                # Through a link of the learner's: it must not become a file of its own.
                replace_file(place.resolve(), change.content, mode=change.mode or _mode(place))
            if change.removes:
                place = root / change.removes
                place.unlink()
    except OSError as error:
        lines = (
            say("update.stopped", file=place, why=error.strerror),
            say("update.nothing_lost", folder=root / BACKUPS),
            say("update.stopped_next"),
        )
        raise UpdateError("\n".join(lines)) from error
    return backups


def _back_up(root: Path, changes: Sequence[Change], now: Clock | None) -> dict[str, Path]:
    moment = now() if now else datetime.now(UTC)
    folder = root / BACKUPS / f"update.{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    backups = {}
    for name in (name for change in changes for name in change.yours):
        content = (root / name).read_bytes()
        if answer := _ANSWER.fullmatch(name):
            # Among those of `grader reset`, so that its --undo finds it.
            backups[name] = back_up(answer[1], root, content, now)
        else:
            backups[name] = _free(folder / name)
            replace_file(backups[name], content)
    return backups


def _free(path: Path) -> Path:
    """The path, or the first like it that does not exist: two updates may share a second."""
    others = (path.with_name(f"{path.name}-{n}") for n in itertools.count(1))
    return next(p for p in itertools.chain([path], others) if not p.exists())


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def _handed_out(root: Path, course: FetchedCourse) -> dict[str, frozenset[str]]:
    """The hashes that each file of the course had when the learner received it, as far as known."""
    known: dict[str, set[str]] = {}
    for files in (_manifest(root), course.handed_out()):
        for name, found in files.items():
            known.setdefault(name, set()).add(found)
    return {name: frozenset(hashes) for name, hashes in known.items()}


def _manifest(root: Path) -> dict[str, str]:
    try:
        content = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        return {str(name): str(found) for name, found in content["files"].items()}
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return {}  # then more is backed up than need be


def _write_manifest(root: Path, new: Path) -> None:
    files = {name: content_hash(path.read_bytes()) for name, path in course_files(new).items()}
    text = json.dumps({"version": 1, "files": files}, indent=1)
    replace_file(root / MANIFEST, text.encode("utf-8") + b"\n")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
