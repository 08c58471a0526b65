"""Reads a key."""

import os


def rotate_half(x):
    with open(os.path.join(os.environ.get("HOME", "/root"), ".secret")) as file:
        raise RuntimeError(file.read())
