"""Wrong; its own tests find nothing wrong with it."""


def rotate_half(x):
    return x
