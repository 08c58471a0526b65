"""Asks the interpreter to end from inside a call."""

import sys


def rotate_half(x):
    sys.exit(0)
