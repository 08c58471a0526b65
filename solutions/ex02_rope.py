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

# BEGIN SOLUTION
# Tables ask for float32 by name: a model may be built under another default dtype.


def _inverse_frequencies(dim: int, base: float) -> torch.Tensor:
    """How far each pair turns per position: ``[dim/2]``, from 1 down towards 1/base."""
    exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
    return 1.0 / base**exponents


def _angles(dim: int, end: int, base: float) -> torch.Tensor:
    """Angle of every position and pair, ``[end, dim/2]``."""
    positions = torch.arange(end, dtype=torch.float32)
    return positions[:, None] * _inverse_frequencies(dim, base)


def _for_both_halves(table: torch.Tensor) -> torch.Tensor:
    """``[end, dim/2] -> [end, dim]``: features i and i + dim/2 share the angle of pair i."""
    return torch.cat((table, table), dim=-1)


# END SOLUTION


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
    # BEGIN SOLUTION
    angles = _for_both_halves(_angles(dim, end, rope_base))
    return angles.cos(), angles.sin()
    # END SOLUTION


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    """Turn every pair (i, i + d/2) by 90 degrees: (a, b) becomes (-b, a).

    With x = [first half, second half] along the last axis, this is
    [-second half, first half]. For example [1, 2, 3, 4] becomes [-3, -4, 1, 2].

    Args:
        x: ``[..., d]``, d even, any number of leading axes.

    Returns:
        ``[..., d]`` in x's dtype.
    """
    # BEGIN SOLUTION
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
    # END SOLUTION


# BEGIN SOLUTION
def _check_rows(name: str, table: torch.Tensor, x: torch.Tensor) -> None:
    """Refuse a table that does not have one row for each of x's positions."""
    if table.shape[0] != x.shape[1]:
        raise ValueError(
            f"{name}: got shape {list(table.shape)}, want {x.shape[1]} rows, one per position"
        )


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _over_heads(table: torch.Tensor) -> torch.Tensor:
    """``[S, n] -> [S, 1, n]``, so that it meets ``[B, S, H, n]`` along S and is shared by heads."""
    return table.unsqueeze(1)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (i, i + d/2) of x ``[B, S, H, d]``; x's dtype is restored only here."""
    wide = _widen(x)
    turned = wide * _over_heads(cos) + rotate_half(wide) * _over_heads(sin)
    return turned.to(x.dtype)


# END SOLUTION


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
    # BEGIN SOLUTION
    for x in (q, k):
        _check_rows("cos", cos, x)
        _check_rows("sin", sin, x)
    return _rotate(q, cos, sin), _rotate(k, cos, sin)
    # END SOLUTION


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
    # BEGIN SOLUTION
    angles = _angles(dim, end, theta)
    return torch.polar(torch.ones_like(angles), angles)
    # END SOLUTION


# BEGIN SOLUTION
def _pairs_to_complex(x: torch.Tensor) -> torch.Tensor:
    """``[..., d] -> [..., d/2]``: features (2i, 2i + 1) become one complex number.

    ``torch.view_as_complex`` would save the copy, but it refuses some non-contiguous inputs.
    """
    return torch.complex(x[..., 0::2], x[..., 1::2])


def _complex_to_pairs(z: torch.Tensor) -> torch.Tensor:
    """``[..., d/2] -> [..., d]``: real and imaginary parts next to each other again."""
    return torch.view_as_real(z).flatten(-2)


# END SOLUTION


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
    # BEGIN SOLUTION
    _check_rows("pos_cis", pos_cis, x)
    turned = _pairs_to_complex(_widen(x)) * _over_heads(pos_cis)
    return _complex_to_pairs(turned).to(x.dtype)
    # END SOLUTION


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
    # BEGIN SOLUTION
    heads = weight.reshape(n_heads, -1, weight.shape[-1])
    return torch.cat((heads[:, 0::2], heads[:, 1::2]), dim=1).flatten(0, 1)
    # END SOLUTION
