"""Exact attention in little memory: the reference for ex06.

The softmax over all keys is put together from softmaxes over slices of them (Milakov and
Gimelshein, arXiv 1805.02867; Rabe and Staats, arXiv 2112.05682), as FlashAttention does (Dao et
al., arXiv 2205.14135; Dao, arXiv 2307.08691, section 3). The backward pass computes the weights of
each slice again from the log-sum-exp (the same, section 3.1.2).

Only the keys are cut: all queries that see a slice meet it in one product.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def merge_partials(
    out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention over two sets of keys together, from that over each.

    Args:
        out_a: ``[B, H, S, d]``, and out_b.
        lse_a: ``[B, H, S]``, and lse_b: log-sum-exp of the scores, -inf for no keys.

    Returns:
        ``(out, lse)``: out in out_a's dtype, lse in at least float32; 0 and -inf where both sets
        are empty.
    """
    wide = torch.promote_types(lse_a.dtype, torch.float32)
    lse_a, lse_b = lse_a.to(wide), lse_b.to(wide)
    lse = torch.logaddexp(lse_a, lse_b)
    share_a, share_b = (_exp_of_difference(x, lse).unsqueeze(-1) for x in (lse_a, lse_b))
    out = share_a * out_a.to(wide) + share_b * out_b.to(wide)
    return out.to(out_a.dtype), lse


def flash_attention(
    q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool = True, block_size: int = 64
) -> tuple[Tensor, Tensor]:
    """Attention over slices of block_size keys, merged one after the other.

    Args:
        q: queries ``[B, H, S, d]``.
        k: keys ``[B, H, T, d]``.
        v: values ``[B, H, T, d]``.
        is_causal: query s sees keys up to ``s + T - S``.
        block_size: keys per slice.

    Returns:
        ``(out [B, H, S, d], lse [B, H, S])``: out in q's dtype, lse in at least float32, of the
        scores divided by sqrt(d); 0 and -inf for a query that sees no key.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    out = torch.zeros(q.shape, dtype=wide, device=q.device)
    lse = torch.full(q.shape[:-1], -torch.inf, dtype=wide, device=q.device)
    for rows, keys, hidden in _slices(q, k, is_causal, block_size):
        scores = _scores(q[:, :, rows], k[:, :, keys], hidden)
        here = scores.logsumexp(-1)
        average = torch.matmul(
            _exp_of_difference(scores, here.unsqueeze(-1)), v[:, :, keys].to(wide)
        )
        merged = merge_partials(out[:, :, rows], lse[:, :, rows], average, here)
        out[:, :, rows], lse[:, :, rows] = merged
    return out.to(q.dtype), lse


def flash_attention_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    *,
    is_causal: bool,
    block_size: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, with the weights computed again slice by slice.

    Args:
        grad_out: ``[B, H, S, d]``, the gradient of out.
        q: queries ``[B, H, S, d]``.
        k: keys ``[B, H, T, d]``.
        v: values ``[B, H, T, d]``.
        out: ``[B, H, S, d]``, the result of the forward pass.
        lse: ``[B, H, S]``, likewise.
        is_causal: as in the forward pass.
        block_size: keys per slice.

    Returns:
        ``(dq, dk, dv)`` like q, k and v.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    root = q.shape[-1] ** 0.5
    grad = grad_out.to(wide)
    along = (grad * out.to(wide)).sum(-1, keepdim=True)
    dq = torch.zeros(q.shape, dtype=wide, device=q.device)
    dk, dv = (torch.zeros(x.shape, dtype=wide, device=x.device) for x in (k, v))
    for rows, keys, hidden in _slices(q, k, is_causal, block_size):
        scores = _scores(q[:, :, rows], k[:, :, keys], hidden)
        weights = _exp_of_difference(scores, lse[:, :, rows].to(wide).unsqueeze(-1))
        dv[:, :, keys] = torch.matmul(weights.mT, grad[:, :, rows])
        moved = torch.matmul(grad[:, :, rows], v[:, :, keys].to(wide).mT) - along[:, :, rows]
        slopes = weights * moved / root
        dk[:, :, keys] = torch.matmul(slopes.mT, q[:, :, rows].to(wide))
        dq[:, :, rows] += torch.matmul(slopes, k[:, :, keys].to(wide))
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def _slices(
    q: Tensor, k: Tensor, is_causal: bool, block_size: int
) -> Iterator[tuple[slice, slice, Tensor | None]]:
    """Slices of keys, the queries that see any of them, and who sees which not."""
    queries, keys = q.shape[2], k.shape[2]
    before = keys - queries
    for first in range(0, keys, block_size):
        places = torch.arange(first, min(first + block_size, keys), device=q.device)
        start = max(0, first - before) if is_causal else 0
        rows = slice(start, queries)
        hidden = None
        if is_causal:
            standing = torch.arange(start, queries, device=q.device) + before
            hidden = places > standing.unsqueeze(-1)
        yield rows, slice(first, first + len(places)), hidden


def _scores(q: Tensor, k: Tensor, hidden: Tensor | None) -> Tensor:
    """Scaled scores of some queries and keys, in at least float32."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores: Tensor = torch.matmul(q.to(wide), k.to(wide).mT) / q.shape[-1] ** 0.5
    return scores if hidden is None else scores.masked_fill(hidden, -torch.inf)


def _exp_of_difference(x: Tensor, total: Tensor) -> Tensor:
    """``exp(x - total)`` for x that is part of the total; 0 where both are -inf."""
    return torch.exp(x - total.masked_fill(total == -torch.inf, 0.0))
