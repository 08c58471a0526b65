"""Wrong; Python imports the other file before anything else."""


def rotate_half(x):
    return x
