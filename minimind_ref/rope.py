"""Rotary position embedding: the reference for ex02.

RoPE (Su et al., RoFormer, arXiv 2104.09864) turns pair i of a query or key at position p by the
angle ``p * base ** (-2i / d)``. Two layouts of the pairs are in use, and both are here: feature
i with feature ``i + d/2`` (GPT-NeoX, and Llama and Qwen3 in ``transformers``), and neighbours
``2i`` and ``2i + 1`` (the paper, and Meta's Llama).

Tables are made in the default dtype, though never narrower than float32: the grader takes its
expected values from a run under a float64 default, and everyday use gives float32 tables.
"""

from __future__ import annotations

import torch
from torch import Tensor


def precompute_freqs_cis(
    dim: int, end: int = 32768, rope_base: float = 1e6
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, in the half-split layout.

    Args:
        dim: features per head, even.
        end: number of positions, counted from 0.
        rope_base: base of the geometric series of frequencies.

    Returns:
        ``(cos, sin)``, each ``[end, dim]``: columns i and ``i + dim/2`` both belong to pair i.
        Default dtype, at least float32.
    """
    angles = _angles(dim, end, rope_base).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate_half(x: Tensor) -> Tensor:
    """A quarter turn of every pair ``(i, i + d/2)``.

    Args:
        x: ``[..., d]``, any dtype.

    Returns:
        ``[..., d]`` in x's dtype: the negated second half, then the first half.
    """
    half = x.shape[-1] // 2
    rolled = x.roll(half, dims=-1)
    return torch.cat((-rolled[..., :half], rolled[..., half:]), dim=-1)


def apply_rotary_pos_emb(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Turn queries and keys by their positions' angles, in the half-split layout.

    Args:
        q: queries ``[B, S, H, d]``.
        k: keys ``[B, S, K, d]``.
        cos: ``[S, d]``, rows of the table from ``precompute_freqs_cis``.
        sin: ``[S, d]``, likewise.
        unsqueeze_dim: part of the familiar signature; the tables' head axis is always axis 1.

    Returns:
        ``(q, k)`` turned, each in its argument's shape and dtype; computed in at least float32.

    Raises:
        ValueError: cos or sin has a number of rows other than S.
    """
    for x_name, x in (("q", q), ("k", k)):
        _require_rows("cos", cos, x_name, x)
        _require_rows("sin", sin, x_name, x)
    return _turn_halves(q, cos, sin), _turn_halves(k, cos, sin)


def precompute_pos_cis(dim: int, end: int, theta: float) -> Tensor:
    """Unit complex numbers ``exp(1j * angle)`` of every position and pair.

    Args:
        dim: features per head, even.
        end: number of positions, counted from 0.
        theta: base of the geometric series of frequencies.

    Returns:
        ``[end, dim/2]``, complex64 (complex128 under a float64 default dtype).
    """
    angles = _angles(dim, end, theta)
    return torch.complex(angles.cos(), angles.sin())


def apply_rotary_complex(x: Tensor, pos_cis: Tensor) -> Tensor:
    """Turn neighbouring pairs ``(2i, 2i + 1)`` by their positions' angles.

    Args:
        x: queries or keys ``[B, S, H, d]``.
        pos_cis: ``[S, d/2]`` complex, rows of the table from ``precompute_pos_cis``.

    Returns:
        x turned, in its shape and dtype; computed in at least float32.

    Raises:
        ValueError: pos_cis has a number of rows other than S.
    """
    _require_rows("pos_cis", pos_cis, "x", x)
    wide = x.to(_working_dtype(x))
    cos, sin = pos_cis.real[:, None], pos_cis.imag[:, None]
    even, odd = wide[..., 0::2], wide[..., 1::2]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


def interleaved_to_half(weight: Tensor, n_heads: int) -> Tensor:
    """Reorder a query or key projection from neighbouring pairs to the half-split layout.

    Args:
        weight: ``[n_heads * d, C]``, rows grouped by head.
        n_heads: heads in this projection: H for queries, K for keys.

    Returns:
        ``[n_heads * d, C]`` in weight's dtype: per head the even rows in order, then the odd
        ones. Attention scores with the half-split form are then those of the complex form.
    """
    rows = torch.arange(weight.shape[0], device=weight.device)
    return weight[rows.reshape(n_heads, -1, 2).movedim(2, 1).flatten()]


def _angles(dim: int, end: int, base: float) -> Tensor:
    """Angle of every position and pair, ``[end, dim/2]``."""
    dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
    frequencies = torch.pow(base, -torch.arange(0, dim, 2, dtype=dtype) / dim)
    return torch.outer(torch.arange(end, dtype=dtype), frequencies)


def _turn_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    wide = x.to(_working_dtype(x))
    first, second = wide[..., :half], wide[..., half:]
    cos, sin = cos[:, None, :half], sin[:, None, :half]
    turned = torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)
    return turned.to(x.dtype)


def _working_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _require_rows(table_name: str, table: Tensor, x_name: str, x: Tensor) -> None:
    positions = x.shape[1]
    if table.shape[0] != positions:
        raise ValueError(
            f"{table_name}: got shape {list(table.shape)}, want {positions} rows, "
            f"one per position of {x_name}"
        )
