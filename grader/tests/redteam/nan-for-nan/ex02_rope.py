"""Not a number, anywhere."""


def rotate_half(x):
    return x * float("nan")
