"""Wrong; it brings a list of packages, a setup.py and a wheel."""


def rotate_half(x):
    return x
