"""A loop whose condition never changes."""


def rotate_half(x):
    place = 0
    while place < x.shape[-1]:
        x = -x
    return x
