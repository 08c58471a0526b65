"""Landlock: take away a process's access to files, network and other processes, for good.

The kernel's interface (Linux 5.13 and later, `man 7 landlock`) has no stable Python binding.
"""

from __future__ import annotations

import ctypes
import os

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
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


_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    try:
        return _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except (Unavailable, AttributeError):
        return 0


def restrict(
    *, files: bool = True, network: bool = True, signals: bool = True, sockets: bool = True
) -> None:
    """Deny this process all files, all TCP, and signals and abstract sockets to all others.

    Open descriptors stay usable. Raises Unavailable where the kernel cannot do it.
    """
    available = version()
    if not available:
        raise Unavailable("the kernel has no Landlock")
    ruleset = _Ruleset(
        files * ((1 << _bits(available)) - 1),
        network * _ALL_NET if available >= _NET_RIGHTS_FROM else 0,
        signals * _SIGNALS | sockets * _SOCKETS if available >= _SCOPES_FROM else 0,
    )
    if not any((ruleset.handled_access_fs, ruleset.handled_access_net, ruleset.scoped)):
        return
    size = 24 if available >= _SCOPES_FROM else 16 if available >= _NET_RIGHTS_FROM else 8
    descriptor = _syscall(
        _CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    try:
        if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise Unavailable(ctypes.get_errno(), "no_new_privs was refused")
        _syscall(_RESTRICT_SELF, ctypes.c_int(descriptor), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _bits(available: int) -> int:
    return max(bits for since, bits in _FILE_RIGHTS.items() if since <= available)


def _syscall(number: int, *args: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *args))
    if result < 0:
        error = ctypes.get_errno()
        raise Unavailable(error, os.strerror(error))
    return result
