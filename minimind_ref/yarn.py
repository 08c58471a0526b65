"""Rotary tables for texts longer than those of the training: the reference for ex12.

YaRN (Peng et al., arXiv 2309.00071, section 3.2, "NTK-by-parts"): pairs that turn more than
``beta_fast`` times within the original length keep their frequency, those that turn less than
``beta_slow`` times get ``1 / factor`` of it. Between them the ramp is linear in the number of the
pair, as in the authors' code and in MiniMind, with both ends rounded outwards to whole pairs.

Tables are made in the default dtype, though never narrower than float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

_NARROWEST = 0.001
"""Of the ramp: where its ends meet or cross, it is a step after the pair `low`."""


def yarn_freqs(dim: int, rope_base: float, rope_scaling: Mapping[str, float]) -> Tensor:
    """Frequencies of all pairs with YaRN, ``[dim/2]``, in the default dtype, at least float32.

    Args:
        dim: features per head, even.
        rope_base: base of the geometric series of frequencies.
        rope_scaling: has ``original_max_position_embeddings``, ``factor``, ``beta_fast`` and
            ``beta_slow``.
    """
    plain = _plain_freqs(dim, rope_base)
    fast = _pair_with_turns(rope_scaling["beta_fast"], dim, rope_base, rope_scaling)
    slow = _pair_with_turns(rope_scaling["beta_slow"], dim, rope_base, rope_scaling)
    low = max(math.floor(fast), 0)
    high = min(math.ceil(slow), dim // 2 - 1)
    width = max(high - low, _NARROWEST)
    pairs = torch.arange(dim // 2, dtype=plain.dtype)
    slowness = torch.clamp((pairs - low) / width, 0.0, 1.0)
    return torch.lerp(plain, plain / rope_scaling["factor"], slowness)


def precompute_freqs_cis(
    dim: int,
    end: int = 32768,
    rope_base: float = 1e6,
    rope_scaling: Mapping[str, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, in the half-split layout.

    Args:
        dim: features per head, even.
        end: number of positions, counted from 0.
        rope_base: base of the geometric series of frequencies.
        rope_scaling: as above, with ``attention_factor`` (1 where it is missing) for both tables.
            It has no effect unless ``end`` exceeds ``original_max_position_embeddings``.

    Returns:
        ``(cos, sin)``, each ``[end, dim]``, in the default dtype, at least float32.
    """
    longer = rope_scaling is not None and end > rope_scaling["original_max_position_embeddings"]
    if rope_scaling is None or not longer:
        return _tables(_plain_freqs(dim, rope_base), end, 1.0)
    magnitude = rope_scaling.get("attention_factor", 1.0)
    return _tables(yarn_freqs(dim, rope_base, rope_scaling), end, magnitude)


def _plain_freqs(dim: int, base: float) -> Tensor:
    dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
    return torch.pow(base, -torch.arange(0, dim, 2, dtype=dtype) / dim)


def _pair_with_turns(
    turns: float, dim: int, base: float, rope_scaling: Mapping[str, float]
) -> float:
    """Where ``original * base^(-2i/dim) = 2 * pi * turns``, solved for i."""
    original = rope_scaling["original_max_position_embeddings"]
    return math.log(original / (2 * math.pi * turns), base) * dim / 2


def _tables(frequencies: Tensor, end: int, magnitude: float) -> tuple[Tensor, Tensor]:
    positions = torch.arange(end, dtype=frequencies.dtype)
    angles = torch.outer(positions, frequencies).repeat(1, 2)
    return angles.cos() * magnitude, angles.sin() * magnitude
