"""Loads native code."""

import ctypes


def rotate_half(x):
    for name in ("libanl.so.1", "libBrokenLocale.so.1", "libnsl.so.1", "libresolv.so.2"):
        try:
            ctypes.CDLL(name)
        except OSError as error:
            refusal = error
        else:
            raise RuntimeError("REACHED a library")
    raise refusal
