"""Wrong; the name of its folder is the attack."""


def rotate_half(x):
    return x
