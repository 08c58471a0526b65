"""Nothing at all, which differs from everything in no element."""


def rotate_half(x):
    return x[:0]
