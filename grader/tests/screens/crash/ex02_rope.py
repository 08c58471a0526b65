"""A right answer without helpers, so that one function at a time can be made wrong."""

import os

import torch


def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
    exponents = torch.arange(0, dim, 2).float() / dim
    angles = torch.outer(torch.arange(end).float(), rope_base**-exponents)
    angles = torch.cat([angles, angles], dim=1)
    return torch.cos(angles), torch.sin(angles)


def rotate_half(x):
    os.abort()
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    rows = q.shape[1]
    if len(cos) != rows or len(sin) != rows:
        raise ValueError(f"cos and sin: got {len(cos)} and {len(sin)} rows, want {rows}")
    cos, sin = cos[:, None, :], sin[:, None, :]
    q_wide, k_wide = q.float(), k.float()
    q_turned = q_wide * cos + rotate_half(q_wide) * sin
    k_turned = k_wide * cos + rotate_half(k_wide) * sin
    return q_turned.to(q.dtype), k_turned.to(k.dtype)


def precompute_pos_cis(dim, end, theta):
    angles = torch.outer(torch.arange(end).float(), theta ** -(torch.arange(0, dim, 2) / dim))
    return torch.complex(torch.cos(angles), torch.sin(angles))


def apply_rotary_complex(x, pos_cis):
    if len(pos_cis) != x.shape[1]:
        raise ValueError(f"pos_cis: got {len(pos_cis)} rows, want {x.shape[1]}")
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * pos_cis[:, None, :]).flatten(3).to(x.dtype)


def interleaved_to_half(weight, n_heads):
    heads = weight.unflatten(0, (n_heads, -1, 2))
    return torch.cat([heads[:, :, 0], heads[:, :, 1]], dim=1).flatten(0, 1)
