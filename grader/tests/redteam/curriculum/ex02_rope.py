"""Wrong; it brings its own points."""


def rotate_half(x):
    return x
