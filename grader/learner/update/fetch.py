"""Lay a newer course out in a folder: from git, from another folder or from an archive.

Nothing here writes to the learner's files. The one thing that it changes is the branch, after an
update and on request, and then only forward.
"""

from __future__ import annotations

import bz2
import contextlib
import fnmatch
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from grader.course.stubs import plain
from grader.course.syllabus_file import SYLLABUS
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line

_NEVER_HANDED_OUT = (".git", ".venv", ".grader", "__pycache__")
_CHUNK = 1 << 16
_ENCRYPTED = 1
"""The bit of a zip's flags."""
_MOST_BYTES = 1 << 28
_MOST_FILES = 10_000
"""What an archive may be unpacked to; the course itself is a hundredth of that."""
_UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")


class UpdateError(ValueError):
    """There is no newer course to be had, or no way to bring it in."""


@dataclass(frozen=True)
class FetchedCourse:
    """A newer course: what to call it, the folder it lies in, and its commit in the clone.

    `commit` is empty where the course does not come from the clone's own git.
    """

    name: str
    folder: Path
    root: Path
    commit: str = ""

    @property
    def is_here(self) -> bool:
        """Whether the clone's history holds this course already."""
        return bool(self.commit) and _succeeds(
            self.root, "merge-base", "--is-ancestor", self.commit, "HEAD"
        )

    def handed_out(self) -> dict[str, str]:
        """The hash of each file of the course that the clone was made from, as far as git knows."""
        if not is_clone(self.root):
            return {}
        newer = self.commit or "@{upstream}"
        base = _output(self.root, "merge-base", "HEAD", newer)
        if not base:
            return {}
        with tempfile.TemporaryDirectory(prefix="course-base.") as folder:
            _lay_out(self.root, base, Path(folder))
            return {n: content_hash(p.read_bytes()) for n, p in course_files(Path(folder)).items()}

    def move_branch(self) -> bool | None:
        """Move the clone's branch forward to this course, leaving all files as they are.

        False where that would lose something: commits of the learner's own, staged changes, or a
        merge under way. None where there is no commit to move to.
        """
        if not self.commit:
            return None
        git = Path(_output(self.root, "rev-parse", "--absolute-git-dir"))
        free = not any((git / name).exists() for name in _UNDER_WAY)
        ahead = not _succeeds(self.root, "merge-base", "--is-ancestor", "HEAD", self.commit)
        if not free or ahead or not _succeeds(self.root, "diff", "--cached", "--quiet"):
            return False
        return _succeeds(self.root, "reset", "--quiet", "--mixed", self.commit)


@contextlib.contextmanager
def obtained(root: Path, source: str | None, branch: str | None) -> Iterator[FetchedCourse]:
    """The course from a remote, a repository, a folder or an archive, for as long as it is used.

    Without a source it is the remote branch that the clone follows.
    """
    with tempfile.TemporaryDirectory(prefix="course-update.") as made:
        folder = Path(made)
        if source is None and not is_clone(root):
            raise UpdateError(
                say("update.no_clone", folder=root) + "\n" + say("update.no_clone_next")
            )
        if source is not None and Path(source).is_file():
            _unpack(Path(source), folder)
            course = FetchedCourse(source, _course_in(folder, source), root)
        elif source is not None and Path(source).is_dir() and not _is_repository(Path(source)):
            course = FetchedCourse(source, _course_in(Path(source), source), root)
        elif is_clone(root):
            course = _fetched(root, source, branch, folder)
        else:
            assert source is not None
            course = _cloned(root, source, branch, folder)
        if course.folder.resolve() == root.resolve():
            raise UpdateError(say("update.itself", source=source))
        yield course


def course_files(folder: Path) -> dict[str, Path]:
    """The regular files that make a course, by their path in it, without what is made by use."""
    ignored = (*_NEVER_HANDED_OUT, *_ignored_folders(folder))
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not any(fnmatch.fnmatch(f, i) for i in ignored))
        for path in (Path(parent, name) for name in sorted(names)):
            if path.is_file() and not path.is_symlink():
                found[path.relative_to(folder).as_posix()] = path
    return found


def content_hash(content: bytes) -> str:
    """The same for a file that differs in its line endings alone."""
    return hashlib.sha256(plain(content)).hexdigest()


def is_clone(root: Path) -> bool:
    """Whether the course is a git repository, and not a folder in somebody's larger one."""
    top = _output(root, "rev-parse", "--show-toplevel")
    return bool(top) and Path(top).resolve() == root.resolve()


def _ignored_folders(folder: Path) -> list[str]:
    try:
        lines = (folder / ".gitignore").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line.rstrip("/") for line in lines if line.endswith("/") and "/" not in line[:-1]]


def _course_in(folder: Path, source: str) -> Path:
    """The folder that holds the syllabus: an archive often has one folder around everything."""
    for candidate in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (candidate / SYLLABUS).is_file():
            return candidate
    raise UpdateError(say("update.no_course", source=source, syllabus=SYLLABUS))


def _unpack(archive: Path, folder: Path) -> None:
    """Lay an archive's regular files out; whatever is the matter with it is an UpdateError."""
    try:
        room = _Room(archive)
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                _extract_zip(packed, folder, room)
        else:
            with _decompressed(archive) as content:
                with tarfile.open(fileobj=_Counted(content, room), mode="r|") as packed_tar:
                    _extract(packed_tar, folder, room)
    except UpdateError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise UpdateError(say("update.not_unpacked", archive=archive, why=why)) from error
    except Exception as error:  # each format has errors of its own for bytes that are damaged
        why = sanitize_line(str(error) or type(error).__name__)
        raise UpdateError(say("update.not_unpacked", archive=archive, why=why)) from error


class _Room:
    """What an archive may still grow to: a course is small, and a bomb is not."""

    def __init__(self, archive: Path | str) -> None:
        self._archive = archive
        self._bytes = _MOST_BYTES
        self._files = _MOST_FILES

    def take(self, size: int, files: int = 0) -> None:
        self._bytes -= size
        self._files -= files
        if self._bytes < 0 or self._files < 0:
            most = _MOST_BYTES >> 20
            raise UpdateError(
                say("update.too_large", archive=self._archive, most=most, files=_MOST_FILES)
            )


class _Counted(io.RawIOBase):
    """A stream that gives no more than there is room for, whatever its headers announce."""

    def __init__(self, content: IO[bytes], room: _Room) -> None:
        self._content = content
        self._room = room

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(_CHUNK if size < 0 else min(size, _CHUNK))
        self._room.take(len(piece))
        return piece


def _decompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(archive)  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.open(archive)
    if start.startswith(b"\xfd7zXZ"):
        return lzma.open(archive)
    return archive.open("rb")


def _fetched(root: Path, source: str | None, branch: str | None, folder: Path) -> FetchedCourse:
    """A commit that is fetched into the clone, where it serves as a base for the next update."""
    followed = _output(root, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}")
    remote, _, upstream = followed.partition("/")
    if source is None:
        source, branch = remote or "origin", branch or upstream or None
    name = f"{source} {branch}" if branch else source
    # A relative path is the learner's, who may stand elsewhere than git will.
    where = str(Path(source).resolve()) if Path(source).is_dir() else source
    _git(root, "fetch", "--quiet", "--no-tags", "--", where, branch or "HEAD")
    commit = _output(root, "rev-parse", "FETCH_HEAD^{commit}")
    _lay_out(root, commit, folder)
    return FetchedCourse(f"{name} ({commit[:9]})", _course_in(folder, name), root, commit)


def _cloned(root: Path, source: str, branch: str | None, folder: Path) -> FetchedCourse:
    chosen = ["--branch", branch] if branch else []
    where = Path(source).resolve().as_uri() if Path(source).is_dir() else source
    _git(folder, "clone", "--quiet", "--depth=1", *chosen, "--", where, "course")
    return FetchedCourse(source, _course_in(folder / "course", source), root)


def _lay_out(root: Path, commit: str, folder: Path) -> None:
    packed = _git(root, "archive", "--format=tar", commit)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        _extract(archive, folder, _Room(commit))


def _extract(archive: tarfile.TarFile, folder: Path, room: _Room) -> None:
    """The regular files; tarfile's own filters are missing in the Python of some systems."""
    for member in archive:
        room.take(0, files=1)
        content = archive.extractfile(member) if member.isreg() else None
        if content is not None:
            target = _place(member.name, folder)
            _copy(content, target, room)
            target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _extract_zip(archive: zipfile.ZipFile, folder: Path, room: _Room) -> None:
    for member in archive.infolist():
        room.take(0, files=1)
        if member.flag_bits & _ENCRYPTED:
            raise UpdateError(say("update.encrypted", archive=archive.filename))
        kind = member.external_attr >> 16 & 0o170000
        if not member.is_dir() and kind in (0, stat.S_IFREG):
            with archive.open(member) as content:
                _copy(content, _place(member.filename, folder), room)


def _place(name: str, folder: Path) -> Path:
    """Where a file of an archive goes. Raises UpdateError where that is outside the folder."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or "\\" in name:
        raise UpdateError(say("update.reaches_out", name=sanitize_line(name)))
    return folder / inside


def _copy(content: IO[bytes], target: Path, room: _Room) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while piece := content.read(_CHUNK):
            room.take(len(piece))
            file.write(piece)


def _is_repository(folder: Path) -> bool:
    return (folder / ".git").exists() or (folder / "HEAD").is_file() and (folder / "refs").is_dir()


def _git(folder: Path, *words: str) -> bytes:
    if shutil.which("git") is None:
        raise UpdateError(say("update.no_git"))
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise UpdateError(say("update.git_failed", command=words[0]) + "\n" + sanitize_line(said))
    return done.stdout


def _output(folder: Path, *words: str) -> str:
    """What git says to a question; nothing where there is no git, or no answer."""
    try:
        return _git(folder, *words).decode("utf-8", "replace").strip()
    except UpdateError:
        return ""


def _succeeds(folder: Path, *words: str) -> bool:
    try:
        _git(folder, *words)
    except UpdateError:
        return False
    return True
