"""Adds up, where no signal is looked at."""


def rotate_half(x):
    return sum(range(10**12))
