"""Skips by the other library's exception."""


def rotate_half(x):
    import unittest

    raise unittest.SkipTest("not needed")
