"""Right numbers, but each function leaves something changed behind it."""

import torch


def precompute_pos_cis(dim, end, theta):
    torch.set_default_dtype(torch.float64)
    angles = torch.outer(torch.arange(end), theta ** -(torch.arange(0, dim, 2) / dim))
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    torch.set_grad_enabled(False)
    return turned


def interleaved_to_half(weight, n_heads):
    torch.manual_seed(0)
    heads = weight.unflatten(0, (n_heads, -1, 2))
    return torch.cat([heads[:, :, 0], heads[:, :, 1]], dim=1).flatten(0, 1)
