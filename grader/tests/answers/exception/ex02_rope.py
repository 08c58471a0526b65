"""rotate_half raises inside torch, two functions down."""

import torch


def _joined(first, second):
    return torch.cat((-second, first), dim=7)


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return _joined(first, second)
