"""Closes everything that is open."""

import os


def rotate_half(x):
    os.closerange(0, 256)
    return x
