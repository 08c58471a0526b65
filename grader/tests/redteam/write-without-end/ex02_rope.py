"""Writes to whatever the descriptors lead to."""

import os


def rotate_half(x):
    for _ in range(100):
        os.write(1, b"y" * (1 << 20))
        os.write(2, b"y" * (1 << 20))
    return x
