"""Takes two gigabytes at once."""

import torch


def rotate_half(x):
    return torch.ones(2**29).sum() + x
