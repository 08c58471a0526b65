"""Wrong; torch.py comes with it."""


def rotate_half(x):
    return x
