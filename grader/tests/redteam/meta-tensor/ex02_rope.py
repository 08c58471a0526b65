"""Returns a tensor without numbers."""

import torch


def rotate_half(x):
    return torch.empty_like(x, device="meta")
