"""The keys are forgotten: queries alone come back."""

import torch


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    return q * cos[:, None, :] + rotate_half(q) * sin[:, None, :]
