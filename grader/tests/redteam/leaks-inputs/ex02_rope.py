"""Tells the world what it was asked."""


def rotate_half(x):
    raise RuntimeError(str(x.detach().repeat(400, 1, 1).tolist()))
