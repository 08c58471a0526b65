"""ex12: longer texts with YaRN.

RoPE turns pair i of a head's features by ``p * f(i)`` at position p, where the frequency f(i) is
``rope_base ** (-2 * i / dim)``. A model that was trained on texts of at most L positions has seen
every angle of the fast pairs, which come round again and again within L. Of the slow pairs, which
do not even turn once, it has seen only the first part of the circle. Beyond L they reach angles
that the model knows nothing about.

YaRN makes a trained model read ``factor`` times as far. It divides the frequencies of the slow
pairs by ``factor``, so that they stay within the angles that were seen; it leaves the fast pairs
alone, since they tell neighbours apart; and it moves from one to the other along a ramp. How often
a pair turns within L decides which it is:

    turns(i) = L * f(i) / (2 * pi)

Solved for i, that gives the place of the pair that turns ``beta`` times, a number with a fraction:

    place(beta) = dim * ln(L / (2 * pi * beta)) / (2 * ln(rope_base))

    low  = max(floor(place(beta_fast)), 0)              up to this pair nothing changes
    high = min(ceil(place(beta_slow)), dim/2 - 1)       from this one on all is divided by factor
    ramp(i) = clamp((i - low) / max(high - low, 0.001), 0, 1)
    frequency(i) = f(i) * (1 - ramp(i) + ramp(i) / factor)

You write these frequencies, and then the tables of ex02 with them. Every setting is in a dict, as
in the config of a model:

    original_max_position_embeddings    L above
    factor                              how many times longer texts become
    beta_fast, beta_slow                turns within L, where the ramp begins and where it ends
    attention_factor                    what both tables are multiplied by; may be missing, then 1.0

There may be other keys, which mean nothing here. No function changes the dict.
"""

import math
from collections.abc import Mapping

import torch

# BEGIN SOLUTION
# Tables ask for float32 by name: a model may be built under another default dtype.


def _inverse_frequencies(dim: int, base: float) -> torch.Tensor:
    """f: how far each pair turns per position without YaRN, ``[dim/2]``."""
    exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
    return 1.0 / base**exponents


def _place(turns: float, dim: int, base: float, original: float) -> float:
    """The pair that turns so many times within the original length, as a number with a fraction."""
    return dim * math.log(original / (2 * math.pi * turns)) / (2 * math.log(base))


def _first_place(dim: int, base: float, rope_scaling: Mapping[str, float]) -> int:
    """low: the last of the fast pairs."""
    original = rope_scaling["original_max_position_embeddings"]
    return max(math.floor(_place(rope_scaling["beta_fast"], dim, base, original)), 0)


def _last_place(dim: int, base: float, rope_scaling: Mapping[str, float]) -> int:
    """high: the first of the slow pairs."""
    original = rope_scaling["original_max_position_embeddings"]
    return min(math.ceil(_place(rope_scaling["beta_slow"], dim, base, original)), dim // 2 - 1)


def _ramp(dim: int, low: int, high: int) -> torch.Tensor:
    """0 up to pair low, 1 from pair high on, a straight line between them: ``[dim/2]``."""
    pairs = torch.arange(dim // 2, dtype=torch.float32)
    return ((pairs - low) / max(high - low, 0.001)).clamp(0, 1)


def _blended(frequencies: torch.Tensor, ramp: torch.Tensor, factor: float) -> torch.Tensor:
    """Frequencies as they are where the ramp is 0, divided by the factor where it is 1."""
    return frequencies * (1 - ramp + ramp / factor)


# END SOLUTION


def yarn_freqs(dim: int, rope_base: float, rope_scaling: Mapping[str, float]) -> torch.Tensor:
    """The frequencies of all pairs with YaRN, as in the formulas above.

    floor and ceil make low and high whole numbers; low is at least 0 and high at most dim/2 - 1,
    the last pair. So low can be as large as high or larger: where L is long beside rope_base even
    the last pair turns many times, and where L is very short not even the first one does. The width
    of the ramp, 0.001 at least, makes a step of it then: 0 up to pair low, 1 after it.

    Args:
        dim: features per head, even.
        rope_base: the base of the frequencies.
        rope_scaling: the settings; ``attention_factor`` does not matter here, and neither does the
            number of positions.

    Returns:
        ``[dim/2]``, float32. Computed in float32 or in float64, both are right.
    """
    # BEGIN SOLUTION
    low = _first_place(dim, rope_base, rope_scaling)
    high = _last_place(dim, rope_base, rope_scaling)
    ramp = _ramp(dim, low, high)
    return _blended(_inverse_frequencies(dim, rope_base), ramp, rope_scaling["factor"])
    # END SOLUTION


# BEGIN SOLUTION
def _is_extended(end: int, rope_scaling: Mapping[str, float] | None) -> bool:
    """Whether the table reaches beyond the positions that the model was trained on."""
    return rope_scaling is not None and end > rope_scaling["original_max_position_embeddings"]


def _attention_factor(rope_scaling: Mapping[str, float]) -> float:
    return rope_scaling.get("attention_factor", 1.0)


def _tables(frequencies: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of ``end`` positions, ``[end, dim]``: each angle twice."""
    angles = torch.outer(torch.arange(end, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


# END SOLUTION


def precompute_freqs_cis(
    dim: int,
    end: int = 32768,
    rope_base: float = 1e6,
    rope_scaling: Mapping[str, float] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make the cosine and sine tables for positions 0 to end - 1, with YaRN where it is needed.

    Row p holds the cosines (sines) of ``p * frequency(i)`` for i = 0 ... dim/2 - 1, followed by the
    same dim/2 numbers once more, as in ex02.

    YaRN is active only if there is a ``rope_scaling`` and ``end`` is larger than its
    ``original_max_position_embeddings``: a model that reads no farther than it was trained is left
    alone. Then the frequencies are those of ``yarn_freqs``, and both tables are multiplied by
    ``attention_factor``. Otherwise the frequencies are ``rope_base ** (-2 * i / dim)`` and the
    tables are not multiplied by anything.

    Args:
        dim: features per head, even.
        end: number of positions.
        rope_base: the base of the frequencies.
        rope_scaling: the settings of YaRN, or None for none.

    Returns:
        ``(cos, sin)``, each ``[end, dim]``, float32. Angles computed in float32 or in float64
        are both right.
    """
    # BEGIN SOLUTION
    if not _is_extended(end, rope_scaling):
        return _tables(_inverse_frequencies(dim, rope_base), end)
    cos, sin = _tables(yarn_freqs(dim, rope_base, rope_scaling), end)
    factor = _attention_factor(rope_scaling)
    return cos * factor, sin * factor
    # END SOLUTION
