"""Scaled dot-product attention: the reference for ex03.

Attention (Vaswani et al., arXiv 1706.03762) gives every query the mean of the values, weighted by
how well their keys match it. A key that a query may not see has weight zero. Where nothing is left
to see, the mean of nothing is taken to be zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Exponentials along one axis, divided by their sum.

    Every slice is shifted by its largest entry, so that the largest exponential is 1.

    Args:
        x: any shape; entries of minus infinity get 0.
        dim: the axis to sum over.

    Returns:
        x's shape and dtype, computed in at least float32. A slice of nothing but minus infinity
        gives zeros, with zero gradients.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    largest = wide.amax(dim, keepdim=True)
    # Minus infinity from minus infinity is not a number; nothing is left to shift there.
    exponentials = (wide - largest.masked_fill(largest == -torch.inf, 0.0)).exp()
    total = exponentials.sum(dim, keepdim=True)
    return (exponentials / total.masked_fill(total == 0, 1.0)).to(x.dtype)


def causal_mask(q_len: int, kv_len: int) -> Tensor:
    """Which key each query may attend to when the last query stands at the last key.

    Args:
        q_len: S, the queries.
        kv_len: T, the keys.

    Returns:
        ``[q_len, kv_len]`` bool, True = may attend.
    """
    positions = torch.arange(kv_len - q_len, kv_len)
    return torch.arange(kv_len) <= positions[:, None]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    is_causal: bool = True,
    attention_mask: Tensor | None = None,
) -> Tensor:
    """The mean of the values each query may see, weighted by the softmax of its scores.

    Args:
        q: queries ``[B, H, S, d]``.
        k: keys ``[B, H, T, d]``.
        v: values ``[B, H, T, d]``.
        is_causal: hide the keys after a query, positions counted back from the last key.
        attention_mask: ``[B, T]`` bool, integer or floating; keys at 0 are hidden from all queries.

    Returns:
        ``[B, H, S, d]`` in q's dtype, computed in at least float32; zeros for a query that has no
        key.

    Raises:
        ValueError: attention_mask is not ``[B, T]``.
    """
    weights = softmax(_scores_of_visible(q, k, is_causal, attention_mask))
    return (weights @ v.to(weights.dtype)).to(q.dtype)


def _scores_of_visible(
    q: Tensor, k: Tensor, is_causal: bool, attention_mask: Tensor | None
) -> Tensor:
    """Scaled scores ``[B, H, S, T]``, minus infinity where a query may not see a key."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q.to(wide) / math.sqrt(q.shape[-1])) @ k.to(wide).transpose(2, 3)
    if is_causal:
        hidden = ~causal_mask(q.shape[2], k.shape[2]).to(q.device)
        scores = scores.masked_fill(hidden, -torch.inf)
    if attention_mask is not None:
        _require_one_entry_per_key(attention_mask, k)
        scores = scores.masked_fill((attention_mask == 0)[:, None, None], -torch.inf)
    return scores


def _require_one_entry_per_key(attention_mask: Tensor, k: Tensor) -> None:
    batch, _, keys, _ = k.shape
    if attention_mask.shape != (batch, keys):
        raise ValueError(
            f"attention_mask: got shape {list(attention_mask.shape)}, want [{batch}, {keys}], "
            "one entry per batch row and key"
        )
