"""Reads where nothing is."""

import ctypes


def rotate_half(x):
    return ctypes.string_at(0)
