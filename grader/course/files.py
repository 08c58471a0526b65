"""Write a file in one step: whoever reads it sees the old text or the new, never a half."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Put `content` in the place of the file, whose folder is made where it is missing.

    `mode` are its permissions; without it they are those of any new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:  # one that comes of writing does not say where
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Raise OSError where a file that somebody asks for cannot be written, before work is done.

    Nothing is left behind, and no folder is made.
    """
    path = path.resolve()
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return
    existing = next(folder for folder in path.parents if folder.exists())
    with tempfile.TemporaryFile(dir=existing):
        pass


def write_output(path: Path, content: bytes) -> None:
    """Write a file that somebody asked for in one step; a device or a pipe is written into."""
    path = path.resolve()
    if _is_special(path):
        path.write_bytes(content)
    else:
        replace_file(path, content)


def file_hash(file: Path) -> str:
    """The SHA-256 of a file; empty where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()
