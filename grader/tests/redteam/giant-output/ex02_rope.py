"""Returns far more than anybody asked for."""

import torch


def rotate_half(x):
    return torch.zeros(75_000_000)
