"""Takes the memory away from its argument."""


def rotate_half(x):
    x.data.untyped_storage().resize_(0)
    return x
