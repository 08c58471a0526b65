"""Calculates in somebody's spreadsheet."""


class _Formula(Exception):
    pass


_Formula.__name__ = "=HYPERLINK('http://x')"


def rotate_half(x):
    raise _Formula("@SUM(1+1)*cmd|' /C calc'!A0")
