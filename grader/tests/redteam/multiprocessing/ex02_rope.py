"""Starts a child that the limits may not hold for."""

import multiprocessing


def rotate_half(x):
    child = multiprocessing.get_context("fork").Process(target=print)
    child.start()
    child.join()
    raise RuntimeError("REACHED another process")
