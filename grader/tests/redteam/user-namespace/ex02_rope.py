"""Makes system call 272 past Python."""

import ctypes
import errno


def rotate_half(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(272, 0x10000000) < 0:
        raise OSError(ctypes.get_errno() or errno.EPERM, "refused")
    raise RuntimeError("REACHED a namespace of its own")
