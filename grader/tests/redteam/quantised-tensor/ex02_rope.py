"""Returns a quantised tensor."""

import torch


def rotate_half(x):
    return torch.quantize_per_tensor(x.detach(), 0.1, 0, torch.qint8)
