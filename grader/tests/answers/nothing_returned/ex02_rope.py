"""The tables are computed and not returned, and neither is the half turn."""

import torch


def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
    angles = torch.outer(torch.arange(end), rope_base ** -(torch.arange(dim) / dim))
    torch.cos(angles), torch.sin(angles)


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    torch.cat((-second, first), dim=-1)
