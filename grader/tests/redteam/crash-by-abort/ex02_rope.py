"""Aborts the process."""

import os


def rotate_half(x):
    os.abort()
