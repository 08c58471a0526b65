"""ex04: grouped-query attention (GQA).

While a model writes, every key and value it has computed stays in memory, for every layer and
every head. That cache, not the weights, is what fills a GPU. Grouped-query attention makes it
smaller: H query heads share K key/value heads, G = H / K query heads each. Query head h reads
key/value head h // G:

    H = 6, K = 2, so G = 3        query heads   0 1 2 | 3 4 5
                                  read kv head    0   |   1

You write this twice. ``repeat_kv`` copies each key/value head G times, after which ordinary
attention does the rest: simple, and it spends the very memory that was saved. ``grouped_attention``
computes the same without the copies.

Axes: B batch, S queries, T keys, H query heads, K key/value heads (a divisor of H), d features per
head. No function here modifies an argument. Inputs need not be contiguous.
"""

import torch


def repeat_kv(x: torch.Tensor, n_rep: int) -> torch.Tensor:
    """Repeat every key/value head n_rep times, the copies of a head next to each other.

    Heads a, b become a, a, a, b, b, b for n_rep = 3, not a, b, a, b, a, b.

    Args:
        x: keys or values ``[B, T, K, d]``.
        n_rep: copies of each head, 1 or more.

    Returns:
        ``[B, T, K * n_rep, d]`` in x's dtype: head h is x's head ``h // n_rep``. Gradients reach
        x. (Returning x itself for n_rep = 1 is fine.)
    """
    # BEGIN SOLUTION
    batch, keys, kv_heads, width = x.shape
    copies = x[:, :, :, None, :].expand(batch, keys, kv_heads, n_rep, width)
    return copies.reshape(batch, keys, kv_heads * n_rep, width)
    # END SOLUTION


# BEGIN SOLUTION
def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _stack_groups(q: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """``[B, S, H, d] -> [B, K, G*S, d]``: a group's queries, one head after the other."""
    batch, queries, heads, width = q.shape
    grouped = q.reshape(batch, queries, kv_heads, heads // kv_heads, width)
    return grouped.permute(0, 2, 3, 1, 4).reshape(batch, kv_heads, -1, width)


def _unstack_groups(out: torch.Tensor, queries: int) -> torch.Tensor:
    """``[B, K, G*S, d] -> [B, S, H, d]``: the way back."""
    batch, kv_heads, _, width = out.shape
    grouped = out.reshape(batch, kv_heads, -1, queries, width)
    return grouped.permute(0, 3, 1, 2, 4).reshape(batch, queries, -1, width)


def _visible(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """``[S, T]``, True where query s may see key t; the last query sees every key."""
    everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return everything.tril(diagonal=keys - queries)


def _scale(width: int) -> float:
    """What the scores are multiplied by, from the features per head."""
    return width**-0.5


def _scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """``[B, K, G*S, d]`` and ``[B, T, K, d] -> [B, K, G*S, T]``."""
    return (q * _scale(q.shape[-1])) @ k.permute(0, 2, 3, 1)


def _weights(scores: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
    """Softmax over the keys that are visible. A row with none is NaN at first, then zeros."""
    if visible is None:
        return scores.softmax(dim=-1)
    grouped = scores.unflatten(2, (-1, visible.shape[0]))  # [B, K, G, S, T]
    weights = grouped.masked_fill(~visible, float("-inf")).softmax(dim=-1)
    return weights.masked_fill(~visible, 0.0).flatten(2, 3)


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, visible: torch.Tensor | None
) -> torch.Tensor:
    """Attention of stacked queries ``[B, K, G*S, d]``, all in at least float32."""
    return _weights(_scores(q, k), visible) @ v.transpose(1, 2)


# END SOLUTION


def grouped_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, is_causal: bool = True
) -> torch.Tensor:
    """Scaled dot-product attention in which query head h reads key/value head ``h // (H / K)``.

    The result is that of ordinary attention with scale ``1 / sqrt(d)`` on ``repeat_kv(k, H / K)``
    and ``repeat_kv(v, H / K)``, but no repeated keys or values are ever made: for one query
    (B = S = 1) everything alive at one time has fewer than T * H * d elements. Copies of k and v
    as they are, a loop over heads, and ``scaled_dot_product_attention`` with ``enable_gqa`` are
    all allowed.

    The softmax is computed in float32 at least; the products with keys and values may be computed
    in q's dtype or wider.

    Args:
        q: queries ``[B, S, H, d]``.
        k: keys ``[B, T, K, d]``.
        v: values ``[B, T, K, d]``.
        is_causal: each query sees the keys up to its own position, where the last query stands
            with the last key: query s sees key t if ``t <= s + T - S``. If False it sees all.

    Returns:
        ``[B, S, H, d]`` in q's dtype. S may be larger than T: the first S - T queries then see no
        key, and their rows are zeros, with finite gradients. Gradients reach q, k and v.
    """
    # BEGIN SOLUTION
    queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
    visible = _visible(queries, keys, q.device) if is_causal else None
    out = _attend(_stack_groups(_widen(q), kv_heads), _widen(k), _widen(v), visible)
    return _unstack_groups(out, queries).to(q.dtype)
    # END SOLUTION
