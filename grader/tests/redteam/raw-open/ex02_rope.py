"""Makes system call 2 past Python."""

import ctypes
import errno


def rotate_half(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(2, b"/etc/hostname", 0) < 0:
        raise OSError(ctypes.get_errno() or errno.EPERM, "refused")
    raise RuntimeError("REACHED the disk")
