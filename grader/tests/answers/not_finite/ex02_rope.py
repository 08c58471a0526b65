"""One half is divided by zero."""

import torch


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first * 0 / 0), dim=-1)
