"""A list that has no end."""


def rotate_half(x):
    nested = [x]
    nested.append(nested)
    return nested
