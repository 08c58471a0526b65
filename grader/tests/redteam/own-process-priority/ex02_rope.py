"""Takes more than its share."""

import os


def rotate_half(x):
    os.sched_setaffinity(0, {0})
    os.nice(5)
    raise RuntimeError("REACHED its own priority")
