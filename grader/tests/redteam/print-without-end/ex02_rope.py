"""Prints far too much."""


def rotate_half(x):
    for _ in range(100):
        print("x" * (1 << 20))
    return x
