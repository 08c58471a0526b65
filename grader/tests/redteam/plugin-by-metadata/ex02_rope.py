"""Wrong; a plugin comes with it that nobody asked for."""


def rotate_half(x):
    return x
