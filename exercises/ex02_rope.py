"""ex02: rotary position embedding (RoPE).

A query and a key meet in a dot product, which knows nothing of where they stand. RoPE turns each
of them by an angle proportional to its position before they meet; the dot product of two turned
vectors then depends on the distance between them. Pair i of the d features of a head at position
p is turned by

    angle(p, i) = p * base ** (-2 * i / d)        i = 0, 1, ..., d/2 - 1

and turning the pair (a, b) by an angle t gives

    (a * cos t - b * sin t,  a * sin t + b * cos t)

You write this twice. The real form is the one MiniMind uses, and every later exercise uses it:
feature i is paired with feature i + d/2. The complex form pairs neighbours, 2i with 2i + 1, and
reads (a, b) as the number a + b*1j. The last function translates weights between the two.

Axes: B batch, S positions, H query heads, K key/value heads, d features per head (even),
C hidden size. No function here modifies an argument. Inputs need not be contiguous.
"""

import torch


def precompute_freqs_cis(
    dim: int, end: int = 32768, rope_base: float = 1e6
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make the cosine and sine tables for positions 0 to end - 1.

    Row p holds the cosines (sines) of ``angle(p, i) = p * rope_base ** (-2 * i / dim)`` for
    i = 0 ... dim/2 - 1, followed by the same dim/2 numbers once more: features i and
    i + dim/2 are one pair and share its angle.

    Args:
        dim: features per head, even (the d above, not the hidden size).
        end: number of positions.
        rope_base: the base of the frequencies.

    Returns:
        ``(cos, sin)``, each ``[end, dim]``, float32. Angles computed in float32 or in float64
        are both right.
    """
    # your code here
    raise NotImplementedError


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    """Turn every pair (i, i + d/2) by 90 degrees: (a, b) becomes (-b, a).

    With x = [first half, second half] along the last axis, this is
    [-second half, first half]. For example [1, 2, 3, 4] becomes [-3, -4, 1, 2].

    Args:
        x: ``[..., d]``, d even, any number of leading axes.

    Returns:
        ``[..., d]`` in x's dtype.
    """
    # your code here
    raise NotImplementedError


def apply_rotary_pos_emb(
    q: torch.Tensor,
    k: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    unsqueeze_dim: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn queries and keys by the angles of their positions; pairs are (i, i + d/2).

    Both x = q and x = k become ``x * cos + rotate_half(x) * sin``: position s of x meets row s
    of the tables, and all batch rows and heads share that row.

    Computed in float32 at least: bfloat16 and float16 are widened first. The tables are used as
    they are, never rounded to x's dtype. The finished result is cast back, once.

    Args:
        q: queries ``[B, S, H, d]``.
        k: keys ``[B, S, K, d]``; K may differ from H.
        cos: ``[S, d]``, the rows of ``precompute_freqs_cis``'s table for these S positions
            (they need not start at position 0).
        sin: ``[S, d]``, likewise.
        unsqueeze_dim: ignored. It is there because MiniMind and transformers have it; only 1
            is ever passed.

    Returns:
        ``(q, k)``, turned: q in q's shape and dtype, k in k's. Gradients reach q and k.

    Raises:
        ValueError: cos or sin has a number of rows other than S. Without this check a table of
            one row would be broadcast over all positions and nobody would notice. The message
            names the argument, its shape, and the number of rows it should have.
    """
    # your code here
    raise NotImplementedError


def precompute_pos_cis(dim: int, end: int, theta: float) -> torch.Tensor:
    """Make the table of the complex form for positions 0 to end - 1.

    Entry (p, i) is ``cos t + 1j * sin t`` with ``t = p * theta ** (-2 * i / dim)``: multiplying a
    complex number by it turns that number by t. Each angle stands here once, not twice.

    Args:
        dim: features per head, even.
        end: number of positions.
        theta: the base of the frequencies (``rope_base`` above).

    Returns:
        ``[end, dim/2]``, complex64.
    """
    # your code here
    raise NotImplementedError


def apply_rotary_complex(x: torch.Tensor, pos_cis: torch.Tensor) -> torch.Tensor:
    """Turn queries or keys by the angles of their positions; pairs are neighbours (2i, 2i + 1).

    Features 2i and 2i + 1 of x are the real and the imaginary part of one complex number, which
    is multiplied by ``pos_cis[s, i]``. The two parts of the product go back to where the pair
    came from.

    Computed in float32 at least and cast back once, as in ``apply_rotary_pos_emb``.

    Args:
        x: ``[B, S, H, d]``.
        pos_cis: ``[S, d/2]`` complex, the rows of ``precompute_pos_cis``'s table for these S
            positions.

    Returns:
        x turned, in x's shape and dtype. Gradients reach x.

    Raises:
        ValueError: pos_cis has a number of rows other than S, with a message as above.
    """
    # your code here
    raise NotImplementedError


def interleaved_to_half(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Reorder a projection trained for the complex form so that it suits the real form.

    The rows of a query or key projection are the features it produces, head after head. Within
    each head, put the even rows (0, 2, 4, ...) first and the odd rows (1, 3, 5, ...) after them,
    both in their order; the heads stay where they are. The two features of a pair are then d/2
    apart, and the real form applied with the reordered query and key weights gives the same
    attention scores as the complex form with the original ones.

    Args:
        weight: ``[n_heads * d, C]``.
        n_heads: heads in this projection: H for queries, K for keys.

    Returns:
        ``[n_heads * d, C]`` in weight's dtype.
    """
    # your code here
    raise NotImplementedError
