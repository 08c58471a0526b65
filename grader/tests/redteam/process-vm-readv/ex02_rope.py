"""Reads memory of the parent through process_vm_readv."""

import ctypes
import os


class _Place(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def rotate_half(x):
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(64)
    here = _Place(ctypes.addressof(buffer), 64)
    start = 0x10000
    if os.path.exists("/proc/self/maps"):
        with open(f"/proc/{os.getppid()}/maps") as file:
            start = int(file.readline().partition("-")[0], 16)
    there = _Place(start, 64)
    read = libc.process_vm_readv(os.getppid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if read != 64:
        raise OSError(ctypes.get_errno(), "process_vm_readv was refused")
    raise RuntimeError("REACHED the parent's memory")
