"""Leaves a thread behind for which Python waits at the end."""

import threading
import time


def _wait():
    while True:
        time.sleep(1)


threading.Thread(target=_wait).start()


def rotate_half(x):
    return x
