"""ex06: flash attention, forward and backward, in tiles.

Ordinary attention writes down a score for every pair of a query and a key: S * T numbers, and the
same again for the weights. For a long text that is far more than all queries, keys and values
together, and carrying it to memory and back takes longer than the arithmetic. Flash attention
gives the same numbers and never has more of the scores than one tile at a time.

What makes it possible is that a softmax can be put together from parts. If you know, of some keys,

    out = the mean of their values, weighted by the softmax of their scores
    lse = log(sum over these keys of exp(score)),    how much weight they have together

and the same two of other keys, then you know both of all these keys, and need no score again:

    lse = log(exp(lse_a) + exp(lse_b))
    out = exp(lse_a - lse) * out_a + exp(lse_b - lse) * out_b

Keys that do not exist have lse = minus infinity and out = 0: they change nothing.

You write this merge, then attention that goes over the keys tile by tile and corrects what it has
as it goes, and then its gradients, which compute the weights a second time from lse.

Axes: B batch, H heads, S queries (the new tokens), T keys and values (cached tokens and the new
ones), d features per head. S, T and the block size are 1 or more, in any relation to each other. No
function here modifies an argument. Inputs need not be contiguous. torch never has to differentiate
any of these functions.

PyTorch's scaled_dot_product_attention is banned under every name it has; torch.softmax and
torch.logsumexp are allowed.
"""

import math

import torch


def merge_partials(
    out_a: torch.Tensor, lse_a: torch.Tensor, out_b: torch.Tensor, lse_b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Join the results of attention over two sets of keys into that over all of them.

        lse = log(exp(lse_a) + exp(lse_b))
        out = exp(lse_a - lse) * out_a + exp(lse_b - lse) * out_b

    but computed so that nothing overflows or vanishes: an lse may be 1000 or -1000 as well as 0.
    Where one side's lse is minus infinity (a query that saw none of its keys), the result is the
    other side, whatever finite out is on this side. Where both are, it is out = 0 and lse = minus
    infinity, not NaN.

    Computed in float32 at least.

    Args:
        out_a: ``[B, H, S, d]``, attention over the first set of keys.
        lse_a: ``[B, H, S]``, the logarithm of the sum of their exp(score); float32 or wider, also
            where out_a is in half precision.
        out_b: ``[B, H, S, d]``, over the second set; out_a's dtype.
        lse_b: ``[B, H, S]``.

    Returns:
        ``(out, lse)``: out ``[B, H, S, d]`` in out_a's dtype, cast once at the end; lse
        ``[B, H, S]`` in float32 at least.
    """
    # your code here
    raise NotImplementedError


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    is_causal: bool = True,
    block_size: int = 64,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention with scale ``1 / sqrt(d)``, tile by tile, and the log-sum-exp of its scores.

    The numbers are those of ordinary attention, whatever the block size. S and T need not be
    multiples of it, and it may be larger than both. For each query, go over the keys block_size at
    a time and keep three things: the largest score so far (a running maximum that starts at minus
    infinity), the sum of ``exp(score - maximum)``, and the sum of ``exp(score - maximum) * value``.
    Whenever the maximum moves, both sums have to be corrected. Divide at the end, once.

    If ``is_causal``, query s sees key t if ``t <= s + T - S``: the queries are the last S of the T
    tokens, so the last query meets the last key. With S > T the first S - T queries see no key.

    Memory: for one head (B = H = 1) with S = T of at least 16 blocks and d of at most one, the new
    storage alive at one time stays below S * T elements: no score matrix, no mask and no list of
    all tiles of that size. It is enough to cut the keys in tiles and take all queries at once.
    Work: a tile of block_size queries and keys in which no query sees any key is not computed, so
    that causal attention with S = T takes little more than half of the products. (If you cut only
    the keys, or only the queries, you have no such tile; computing everything is fine then.)

    Scores are computed in float32 at least, and all sums are kept so until the end; the products
    with keys and with values may be computed in the dtype of q, k and v.

    Args:
        q: queries ``[B, H, S, d]``.
        k: keys ``[B, H, T, d]``.
        v: values ``[B, H, T, d]``.
        is_causal: whether later keys are hidden.
        block_size: queries and keys per tile.

    Returns:
        ``(out, lse)``: out ``[B, H, S, d]`` in q's dtype; lse ``[B, H, S]``, for each query the
        natural logarithm of the sum of ``exp(score)`` over the keys that it sees, of scores that
        are scaled by ``1 / sqrt(d)``, in float32 at least. A query that sees no key has out 0 and
        lse minus infinity.
    """
    # your code here
    raise NotImplementedError


def flash_attention_backward(
    grad_out: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    *,
    is_causal: bool,
    block_size: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of q, k and v by hand, from the gradient of out.

    Nothing of size S * T was kept, so each tile's weights are computed again, already divided, by
    ``exp(score - lse)``. With P the weights, dO the gradient of out and ``scale = 1 / sqrt(d)``:

        dV = P^T dO
        dP = dO V^T
        dS = P * (dP - delta),    delta = the sum of dO * out over the features of each query
        dQ = scale * dS K
        dK = scale * dS^T Q

    A query's gradient is the sum over all tiles of keys that it sees; a key's and a value's is the
    sum over all tiles of queries that see it. The gradients of a query that sees no key (lse is
    minus infinity) are 0, and it adds nothing to those of k and v.

    Which query sees which key, the bound on memory, and which tiles are not computed: as in
    ``flash_attention``. Computed in float32 at least, and the sums are kept so until the end; the
    products may be computed in the dtype of q, k and v.

    Args:
        grad_out: ``[B, H, S, d]``, the gradient of out, in out's dtype.
        q: queries ``[B, H, S, d]``.
        k: keys ``[B, H, T, d]``.
        v: values ``[B, H, T, d]``.
        out: ``[B, H, S, d]``, as ``flash_attention`` returned it for these q, k and v.
        lse: ``[B, H, S]``, likewise.
        is_causal: as in the forward pass.
        block_size: queries and keys per tile; need not be that of the forward pass.

    Returns:
        ``(dq, dk, dv)`` in the shapes and dtypes of q, k and v.
    """
    # your code here
    raise NotImplementedError
