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

# BEGIN SOLUTION


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _finite(top: torch.Tensor) -> torch.Tensor:
    """What exponents are shifted by: 0 in place of -inf, since -inf minus -inf is NaN."""
    return top.masked_fill(top == -math.inf, 0.0)


def _divided(weighed: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Values ``[..., d]`` by their total weight ``[...]``; 0 where there is none."""
    return weighed / total.masked_fill(total == 0, 1.0).unsqueeze(-1)


# END SOLUTION


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
    # BEGIN SOLUTION
    lse_a, lse_b = _widen(lse_a), _widen(lse_b)
    shift = _finite(torch.maximum(lse_a, lse_b))
    weight_a, weight_b = torch.exp(lse_a - shift), torch.exp(lse_b - shift)
    total = weight_a + weight_b
    weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
    return _divided(weighed, total).to(out_a.dtype), shift + torch.log(total)
    # END SOLUTION


# BEGIN SOLUTION
def _tiles(length: int, block_size: int) -> list[slice]:
    """``[0, length)`` cut into pieces of block_size, the last of which may be shorter."""
    return [slice(i, min(i + block_size, length)) for i in range(0, length, block_size)]


def _offset(q: torch.Tensor, k: torch.Tensor) -> int:
    """Query s stands at place s + offset among the keys: the last one at the last key."""
    return k.shape[2] - q.shape[2]


def _is_seen(rows: slice, cols: slice, offset: int) -> bool:
    """Whether the last query of a tile may see its first key."""
    return cols.start <= rows.stop - 1 + offset


def _key_tiles(
    rows: slice, q: torch.Tensor, k: torch.Tensor, is_causal: bool, block_size: int
) -> list[slice]:
    """The tiles of keys that these queries have to look at."""
    tiles = _tiles(k.shape[2], block_size)
    return [cols for cols in tiles if not is_causal or _is_seen(rows, cols, _offset(q, k))]


def _hidden(rows: slice, cols: slice, offset: int, device: torch.device) -> torch.Tensor:
    """Within one tile, True where a key comes after the query."""
    queries = torch.arange(rows.start, rows.stop, device=device) + offset
    return torch.arange(cols.start, cols.stop, device=device) > queries.unsqueeze(-1)


def _scale(q: torch.Tensor) -> float:
    """What the scores are multiplied by."""
    return q.shape[-1] ** -0.5


def _scores(
    q: torch.Tensor, k: torch.Tensor, rows: slice, cols: slice, is_causal: bool
) -> torch.Tensor:
    """One tile of scores, -inf where a query must not look."""
    keys = _widen(k[:, :, cols]).transpose(-2, -1)
    scores = _widen(q[:, :, rows]) @ keys * _scale(q)
    if not is_causal:
        return scores
    return scores.masked_fill(_hidden(rows, cols, _offset(q, k), q.device), -math.inf)


State = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Of some queries and the keys they have met: largest score, sum of exp, sum of exp * value.

Both sums are relative to the largest score: exp(score - largest).
"""


def _nothing(q: torch.Tensor) -> State:
    """The state of queries ``[B, H, rows, d]`` that have met no key."""
    wide = _widen(q)
    none = wide.new_zeros(q.shape[:-1])
    return torch.full_like(none, -math.inf), none, torch.zeros_like(wide)


def _absorb(state: State, scores: torch.Tensor, v: torch.Tensor) -> State:
    """The state after one more tile of scores, and the values ``[B, H, cols, d]`` of its keys."""
    top, total, weighed = state
    new_top = torch.maximum(top, scores.amax(dim=-1))
    shift = _finite(new_top)
    correction = torch.exp(top - shift)  # the old sums were relative to the old largest score
    weights = torch.exp(scores - shift.unsqueeze(-1))
    total = total * correction + weights.sum(dim=-1)
    weighed = weighed * correction.unsqueeze(-1) + weights @ _widen(v)
    return new_top, total, weighed


def _finish(state: State) -> tuple[torch.Tensor, torch.Tensor]:
    """out and lse of queries that have met all their keys."""
    top, total, weighed = state
    return _divided(weighed, total), _finite(top) + torch.log(total)


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    rows: slice,
    is_causal: bool,
    block_size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """out and lse of one tile of queries."""
    state = _nothing(q[:, :, rows])
    for cols in _key_tiles(rows, q, k, is_causal, block_size):
        state = _absorb(state, _scores(q, k, rows, cols, is_causal), v[:, :, cols])
    return _finish(state)


# END SOLUTION


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
    # BEGIN SOLUTION
    parts = [
        _attend(q, k, v, rows, is_causal, block_size) for rows in _tiles(q.shape[2], block_size)
    ]
    outs, lses = zip(*parts, strict=True)
    return torch.cat(outs, dim=2).to(q.dtype), torch.cat(lses, dim=2)
    # END SOLUTION


# BEGIN SOLUTION
Sums = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _weights(scores: torch.Tensor, lse: torch.Tensor) -> torch.Tensor:
    """The softmax of a tile, from the lse ``[B, H, rows]`` of its queries over all their keys."""
    return torch.exp(scores - _finite(_widen(lse)).unsqueeze(-1))


def _weights_again(
    q: torch.Tensor, k: torch.Tensor, lse: torch.Tensor, rows: slice, cols: slice, is_causal: bool
) -> torch.Tensor:
    """One tile of the weights that the forward pass did not keep."""
    return _weights(_scores(q, k, rows, cols, is_causal), lse[:, :, rows])


def _delta(grad_out: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """For each query, the mean of its weights' gradients under the weights, ``[B, H, S, 1]``.

    The sum of weight * (grad_out . v) over all keys is grad_out . out: no key is needed.
    """
    return (_widen(grad_out) * _widen(out)).sum(dim=-1, keepdim=True)


def _grad_scores(
    weights: torch.Tensor, grad: torch.Tensor, values: torch.Tensor, delta: torch.Tensor
) -> torch.Tensor:
    """The gradient of a tile's scores, back through the softmax."""
    return weights * (grad @ values.transpose(-2, -1) - delta)


def _grad_tile(
    weights: torch.Tensor,
    grad_scores: torch.Tensor,
    grad: torch.Tensor,
    queries: torch.Tensor,
    keys: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What one tile adds to dq, dk and dv."""
    scaled = grad_scores * _scale(queries)
    return scaled @ keys, scaled.transpose(-2, -1) @ queries, weights.transpose(-2, -1) @ grad


def _add(sums: Sums, parts: Sums, rows: slice, cols: slice) -> None:
    """Add one tile's gradients to dq, dk and dv, in place."""
    for total, part, where in zip(sums, parts, (rows, cols, cols), strict=True):
        total[:, :, where] += part


# END SOLUTION


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
    # BEGIN SOLUTION
    sums = (torch.zeros_like(_widen(q)), torch.zeros_like(_widen(k)), torch.zeros_like(_widen(v)))
    delta = _delta(grad_out, out)
    for rows in _tiles(q.shape[2], block_size):
        grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
        for cols in _key_tiles(rows, q, k, is_causal, block_size):
            keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
            weights = _weights_again(q, k, lse, rows, cols, is_causal)
            grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
            _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
    dq, dk, dv = sums
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)
    # END SOLUTION
