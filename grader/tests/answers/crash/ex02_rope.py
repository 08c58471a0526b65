"""The answer crashes its process."""

import os


def rotate_half(x):
    os.abort()
