"""Raises with half a character."""


def rotate_half(x):
    print("\ud83d")
    raise RuntimeError("\ud83d")
