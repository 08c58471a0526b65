"""The tables and rotate_half are done, the rest is still the stub."""

import torch


def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
    exponents = torch.arange(0, dim, 2).float() / dim
    angles = torch.outer(torch.arange(end).float(), rope_base**-exponents)
    angles = torch.cat([angles, angles], dim=1)
    return torch.cos(angles), torch.sin(angles)


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    # your code here
    raise NotImplementedError


def precompute_pos_cis(dim, end, theta):
    # your code here
    raise NotImplementedError


def apply_rotary_complex(x, pos_cis):
    # your code here
    raise NotImplementedError


def interleaved_to_half(weight, n_heads):
    # your code here
    raise NotImplementedError
