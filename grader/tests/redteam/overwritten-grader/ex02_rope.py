"""Wrong; it brings its own judge."""


def rotate_half(x):
    return x
