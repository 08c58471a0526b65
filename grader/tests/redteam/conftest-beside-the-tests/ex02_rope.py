"""Wrong; it brings tests/conftest.py."""


def rotate_half(x):
    return x
