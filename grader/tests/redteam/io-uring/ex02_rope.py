"""Makes system call 425 past Python."""

import ctypes
import errno


def rotate_half(x):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 8, (ctypes.c_char * 120)()) < 0:
        raise OSError(ctypes.get_errno() or errno.EPERM, "refused")
    raise RuntimeError("REACHED io_uring")
