"""Grouped-query attention: the reference for ex04.

Several query heads share one key/value head (Ainslie et al., GQA, arXiv 2305.13245), so that the
cache of keys and values shrinks. Sharing must not cost memory again where attention is computed:
the queries of a group are stacked along the query axis, and each key/value head is then met by one
ordinary matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor


def repeat_kv(x: Tensor, n_rep: int) -> Tensor:
    """Give every query head a key (or value) head of its own, as a copy.

    Args:
        x: keys or values ``[B, T, K, d]``.
        n_rep: query heads per key/value head.

    Returns:
        ``[B, T, K * n_rep, d]``: head h is x's head ``h // n_rep``.
    """
    heads = torch.arange(x.shape[2] * n_rep, device=x.device) // n_rep
    return x.index_select(2, heads)


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool = True) -> Tensor:
    """Attention in which query head h reads key/value head ``h // (H / K)``.

    Args:
        q: queries ``[B, S, H, d]``.
        k: keys ``[B, T, K, d]``, K a divisor of H.
        v: values ``[B, T, K, d]``.
        is_causal: query s sees keys up to ``s + T - S``: the last query sees all of them.

    Returns:
        ``[B, S, H, d]`` in q's dtype, computed in at least float32; zeros where a query sees no
        key. Keys and values are never repeated in memory.
    """
    batch, queries, heads, width = q.shape
    keys, kv_heads = k.shape[1:3]
    group = heads // kv_heads
    dtype = torch.promote_types(q.dtype, torch.float32)

    # [B*K, S*G, d], [B*K, d, T] and [B*K, T, d]: one product per key/value head.
    stacked = q.to(dtype).reshape(batch, queries, kv_heads, group, width).movedim(2, 1)
    stacked = stacked.reshape(batch * kv_heads, queries * group, width)
    turned_keys = k.to(dtype).permute(0, 2, 3, 1).reshape(batch * kv_heads, width, keys)
    values = v.to(dtype).transpose(1, 2).reshape(batch * kv_heads, keys, width)

    scores = torch.bmm(stacked * width**-0.5, turned_keys)
    hidden = _hidden(queries, keys, q.device) if is_causal and queries > 1 else None
    weights = _softmax(scores.reshape(-1, queries, group, keys), hidden)
    out = torch.bmm(weights.flatten(1, 2), values)
    out = out.reshape(batch, kv_heads, queries, group, width).movedim(1, 2)
    return out.reshape(batch, queries, heads, width).to(q.dtype)


def _hidden(queries: int, keys: int, device: torch.device) -> Tensor:
    """Where a query must not look, ``[S, 1, T]``: keys after its own position."""
    last_seen = torch.arange(queries, device=device) + keys - queries
    return (torch.arange(keys, device=device) > last_seen[:, None])[:, None]


def _softmax(scores: Tensor, hidden: Tensor | None) -> Tensor:
    """Weights over the keys, ``[B*K, S, G, T]``; none for hidden keys, also where all are."""
    if hidden is None:
        return scores.softmax(-1)
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    return weights.masked_fill(hidden, 0.0)
