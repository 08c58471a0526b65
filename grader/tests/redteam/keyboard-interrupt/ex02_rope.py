"""Pretends that somebody pressed Ctrl-C."""


def rotate_half(x):
    raise KeyboardInterrupt
