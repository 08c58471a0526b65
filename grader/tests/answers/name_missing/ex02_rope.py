"""One function has another name than it should have."""

import torch


def rotate_halves(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def precompute_pos_cis(dim, end, theta):
    angles = torch.outer(torch.arange(end).float(), theta ** -(torch.arange(0, dim, 2) / dim))
    return torch.complex(torch.cos(angles), torch.sin(angles))
