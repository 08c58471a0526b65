"""A function that calls itself with what it was given."""


def rotate_half(x):
    return rotate_half(x)
