"""The right numbers in another dtype."""

import torch


def rotate_half(x):
    first, second = x.double().chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
