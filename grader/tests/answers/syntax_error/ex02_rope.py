"""A colon is missing."""

import torch


def rotate_half(x)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
