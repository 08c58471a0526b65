"""ex03: scaled dot-product attention.

Every token asks a question (its query), says what it can answer (its key) and what the answer is
(its value). A query's score for a key is their dot product, divided by sqrt(d); the scores become
weights that sum to one, and the result is the mean of the values under these weights:

    scores[s, t] = q[s] . k[t] / sqrt(d)
    weights[s]   = softmax of scores[s], over the keys that query s may see
    out[s]       = sum over t of weights[s, t] * v[t]

Which keys a query may see is decided by two masks. The causal one hides what comes later in the
text; the padding one hides keys that are no tokens at all. A hidden key has weight zero exactly,
as if it were not there. Where every key is hidden, the result is zero.

Axes: B batch, H heads, S queries (the new tokens), T keys and values (cached tokens and the new
ones), d features per head. No function here modifies an argument. Inputs need not be contiguous.

You build this from matrix products and exponentials. PyTorch's softmax, log_softmax and
scaled_dot_product_attention are banned under every name they have; torch.logsumexp is allowed.
"""

import math

import torch

# BEGIN SOLUTION


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


# END SOLUTION


def softmax(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Turn every slice of x along one axis into weights that sum to one.

    Entry i of a slice becomes ``exp(x_i) / sum over j of exp(x_j)``, computed so that no slice
    overflows or vanishes, however large or small its entries are: adding the same number to a whole
    slice changes nothing in the result. An entry of minus infinity gets weight 0 and gradient 0.
    What a slice of nothing but minus infinity gives is free.

    Computed in float32 at least: bfloat16 and float16 are widened first. The finished result is
    cast back, once.

    Args:
        x: any shape.
        dim: the axis along which the weights sum to one; may be negative.

    Returns:
        x's shape and dtype. Gradients reach x.
    """
    # BEGIN SOLUTION
    wide = _widen(x)
    exponentials = torch.exp(wide - wide.amax(dim, keepdim=True))
    return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)
    # END SOLUTION


def causal_mask(q_len: int, kv_len: int) -> torch.Tensor:
    """Say which keys each query may attend to if nobody looks ahead.

    The queries are the *last* q_len tokens of the text and the keys are all kv_len of them, so that
    the last query meets the last key: row s stands at position ``s + kv_len - q_len`` and may
    attend to the keys up to and including that position. For 2 queries and 4 keys:

        [[True, True, True, False],
         [True, True, True, True]]

    With more queries than keys the first ``q_len - kv_len`` rows are all False.

    Args:
        q_len: S, the number of queries.
        kv_len: T, the number of keys.

    Returns:
        ``[q_len, kv_len]`` bool, True = may attend.
    """
    # BEGIN SOLUTION
    return torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len)
    # END SOLUTION


# BEGIN SOLUTION
def _scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """How well each query matches each key: ``[B, H, S, T]``."""
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def _check_mask(attention_mask: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> None:
    """Refuse a mask that does not have one entry per batch row and key."""
    want = [k.shape[0], k.shape[2]]
    if list(attention_mask.shape) != want:
        raise ValueError(
            f"attention_mask: got shape {list(attention_mask.shape)}, want [B, T] = {want}"
        )


def _over_keys(attention_mask: torch.Tensor) -> torch.Tensor:
    """``[B, T] -> [B, 1, 1, T]`` bool, so that it meets ``[B, H, S, T]`` along B and T."""
    return attention_mask.bool()[:, None, None, :]


def _visible(
    q: torch.Tensor, k: torch.Tensor, is_causal: bool, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """Which key each query may see: bool, broadcasts to ``[B, H, S, T]``."""
    queries, keys = q.shape[2], k.shape[2]
    visible = torch.ones(queries, keys, dtype=torch.bool, device=q.device)
    if is_causal:
        visible = causal_mask(queries, keys).to(q.device)
    if attention_mask is not None:
        visible = visible & _over_keys(attention_mask)
    return visible


def _weights(scores: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The softmax over visible keys; all zeros for a query that sees none.

    Such a query's softmax is 0/0. Filling instead of adding or multiplying keeps that NaN out of
    the result, and on the way back its gradient out of the scores.
    """
    weights = softmax(scores.masked_fill(~visible, -math.inf))
    return weights.masked_fill(~visible, 0.0)


# END SOLUTION


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    is_causal: bool = True,
    attention_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Give every query the mean of the values it may see, weighted by the softmax of its scores.

    Query s may see key t if both masks let it:

    * ``is_causal``: only keys up to its own position, counted as in ``causal_mask``, where the
      queries are the last S of the T tokens. More queries than keys (S > T) is legal; the first
      S - T queries then see nothing.
    * ``attention_mask``: only keys whose entry is 1. It is about keys: a query whose own entry is
      0 still gets its result, from the keys it may see.

    The result is what the visible keys alone would give, however large a hidden key's score is.
    A query that sees no key gets zeros, and all gradients stay finite, in float16 too.

    The two matrix products may run in the dtype of q, k and v; the softmax between them is computed
    in at least float32, as above.

    Args:
        q: queries ``[B, H, S, d]``.
        k: keys ``[B, H, T, d]``.
        v: values ``[B, H, T, d]``.
        is_causal: whether later keys are hidden.
        attention_mask: ``[B, T]``, one entry for each key, 1 = keep, 0 = hide; bool, an integer
            dtype or a floating one. None hides nothing.

    Returns:
        ``[B, H, S, d]`` in q's dtype. Gradients reach q, k and v.

    Raises:
        ValueError: attention_mask has any other shape than ``[B, T]``. Without this check a mask of
            one row would be broadcast over the batch and nobody would notice. The message names the
            argument, its shape, and the shape it should have.
    """
    # BEGIN SOLUTION
    if attention_mask is not None:
        _check_mask(attention_mask, q, k)
    weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
    return weights @ v
    # END SOLUTION
