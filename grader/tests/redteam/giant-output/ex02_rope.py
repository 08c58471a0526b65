"""Returns far more than anybody asked for."""

import torch


def rotate_half(x):
    return torch.empty(75_000_000)
