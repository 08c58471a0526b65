"""Writes what is read as something else."""


def rotate_half(x):
    hidden = "\u202edessap\u202c \u200bfailed\u200d\u2066\u2028\ufeff\U000e0041"
    print(hidden)
    raise RuntimeError(hidden)
