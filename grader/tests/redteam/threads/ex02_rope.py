"""Starts as many threads as it can, each with the smallest stack."""

import threading


def rotate_half(x):
    threading.stack_size(32768)
    forever = threading.Event()
    for _ in range(3000):
        threading.Thread(target=forever.wait).start()
    return x
