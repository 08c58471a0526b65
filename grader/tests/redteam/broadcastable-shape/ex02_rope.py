"""One zero, to be broadcast over everything."""

import torch


def rotate_half(x):
    return torch.zeros(1, 1, 1, requires_grad=True) * 1
