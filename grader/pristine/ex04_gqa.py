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
    # your code here
    raise NotImplementedError


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
    # your code here
    raise NotImplementedError
