"""Landlock: take away a process's access to files, network and other processes, for good.

A ruleset is made once, where all files can still be opened, and enforced in every process forked
from there: that takes microseconds, however many files it allows to read.

The kernel's interface (Linux 5.13 and later, `man 7 landlock`) has no stable Python binding.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 1, 1 << 2, 1 << 3
_REMOVE_FOLDER, _REMOVE_FILE, _MAKE_FOLDER, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MOVE, _CUT = 1 << 13, 1 << 14
_ALL_OF_FILES = (
    *(_WRITE_FILE, _READ_FILE, _READ_FOLDER, _REMOVE_FOLDER, _REMOVE_FILE, _MAKE_FOLDER),
    *(_MAKE_FILE, _MOVE, _CUT),
)
"""What it takes to work with files and folders; links, pipes, sockets and devices are none."""
_VERSION_FLAG = 1
_PR_SET_NO_NEW_PRIVS = 38

# Rights by the interface version that brought them; a kernel refuses bits that it does not know.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
_NET_RIGHTS_FROM = 4
_SCOPES_FROM = 6
_ALL_NET = 0b11
_SOCKETS, _SIGNALS = 0b01, 0b10


class Unavailable(OSError):
    """The kernel has no Landlock, or it is switched off."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    try:
        return _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except (Unavailable, AttributeError):
        return 0


def make_ruleset(
    readable: Iterable[Path],
    writable: Iterable[Path] = (),
    *,
    files: bool = True,
    network: bool = True,
    signals: bool = True,
    sockets: bool = True,
) -> int:
    """A descriptor of rules: no file but those to read, folders to write in and the null device, no
    TCP, no signals to other processes, no abstract sockets of theirs.

    Raises Unavailable where there is no Landlock.
    """
    available = version()
    if not available:
        raise Unavailable("the kernel has no Landlock")
    attributes = _Ruleset(
        files * ((1 << _bits(available)) - 1),
        network * _ALL_NET if available >= _NET_RIGHTS_FROM else 0,
        signals * _SIGNALS | sockets * _SOCKETS if available >= _SCOPES_FROM else 0,
    )
    size = 24 if available >= _SCOPES_FROM else 16 if available >= _NET_RIGHTS_FROM else 8
    ruleset = _syscall(
        _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    if files:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | (_READ_FOLDER if path.is_dir() else 0))
        known = (1 << _bits(available)) - 1
        for path in writable:
            _allow(ruleset, path, sum(_ALL_OF_FILES) & known)
        _allow(ruleset, Path(os.devnull), _READ_FILE | _WRITE_FILE)
    return ruleset


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH)
    except OSError:  # a broken link: there is nothing to read
        return
    try:
        rule = _PathBeneath(access, descriptor)
        _syscall(
            _ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(descriptor)


def enforce(ruleset: int) -> None:
    """Keep this process to a ruleset for good; descriptors that are open stay usable."""
    try:
        if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise Unavailable(ctypes.get_errno(), "no_new_privs was refused")
        _syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _bits(available: int) -> int:
    return max(bits for since, bits in _FILE_RIGHTS.items() if since <= available)


def _syscall(number: int, *args: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *args))
    if result < 0:
        error = ctypes.get_errno()
        raise Unavailable(error, os.strerror(error))
    return result
