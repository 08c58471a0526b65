"""Part of the answer is in another file."""

from .helper import joined


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return joined(-second, first)
