"""The traces of an attack: files that it changed or left behind."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def contents(folder: Path) -> dict[str, str]:
    """A digest of every regular file, but for caches and hidden folders."""
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if not n.startswith(".") and n != "__pycache__"]
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[path.relative_to(folder).as_posix()] = digest
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    paths = {**before, **after}
    return tuple(path for path in paths if before.get(path) != after.get(path))


def left_behind(*folders: Path) -> tuple[str, ...]:
    """Files of the attacks' own, where they try to put them."""
    places = [*folders, *(folder / "tmp" for folder in folders), Path("/tmp"), Path("/dev/shm")]
    found = {path for place in places if place.is_dir() for path in place.glob("redteam-*")}
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tuple(path.name for path in found)
