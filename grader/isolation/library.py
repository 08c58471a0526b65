"""The files that a locked worker may read: Python's own library, torch, numpy and what they need.

An answer may use whatever is in them, and much of it is imported only when it is first used. The
rest of site-packages stays closed: the course itself may be installed there.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterator
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

PACKAGES = (
    *("torch", "torchgen", "functorch", "numpy", "regex", "safetensors"),
    # What torch imports late, such as sympy to look at a gradient that it is given.
    *("sympy", "mpmath", "networkx", "typing_extensions", "jinja2", "markupsafe", "fsspec"),
    *("filelock", "packaging", "optree", "setuptools", "_distutils_hack"),
    *("pkg_resources",),
)
"""The packages beside Python's own library that an answer can use, as they are imported."""

NOT_PYTHON_S = ("site-packages", "dist-packages")
"""What lies in the folder of Python's own library without being a part of it."""
_CLOSED = {(name,) for name in NOT_PYTHON_S}


@cache
def standard_folders() -> tuple[Path, ...]:
    """The folders of Python's own library."""
    names = ("stdlib", "platstdlib")
    folders = (Path(sysconfig.get_path(name)) for name in names)
    return tuple(dict.fromkeys(folder for folder in folders if folder.is_dir()))


@cache
def package_files() -> tuple[Path, ...]:
    """The folder or file of every package that is installed, of the libraries beside it, and of
    what Python's own library reads elsewhere: the system's time zones."""
    packages = [path for name in PACKAGES for path in _places(name)]
    return (*packages, *(Path(zones) for zones in zoneinfo.TZPATH if Path(zones).is_dir()))


def readable() -> Iterator[Path]:
    """All that may be read, each folder with everything in it."""
    for folder in standard_folders():
        yield from (path for path in folder.iterdir() if path.name not in NOT_PYTHON_S)
    yield from package_files()


class LibraryAlone(MetaPathFinder):
    """Finds the modules of the library, in the place of the finder that looks through `sys.path`.

    That one would find others that are installed here too, and then could not read them; torch
    itself asks for packages that it can do without.
    """

    @classmethod
    def install(cls) -> None:
        """Let this process import nothing else from files."""
        standard_folders(), package_files()  # or looking for a module would look for modules
        sys.meta_path[:] = [cls() if found is PathFinder else found for found in sys.meta_path]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None:
            return None
        places = [spec.origin] if spec.has_location else spec.submodule_search_locations or ()
        return spec if any(map(_is_readable, places)) else None


@cache
def _is_readable(place: str) -> bool:
    path = Path(place)
    folders = [folder for folder in standard_folders() if path.is_relative_to(folder)]
    standard = any(path.relative_to(f).parts[:1] not in _CLOSED for f in folders)
    return standard or any(path.is_relative_to(package) for package in package_files())


def _places(name: str) -> Iterator[Path]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield Path(spec.origin)
        return
    for place in map(Path, spec.submodule_search_locations):
        yield place
        libraries = place.with_name(f"{name}.libs")  # where wheels for Linux put theirs
        if libraries.is_dir():
            yield libraries
