"""Other correct ways to compute the frequencies of ex12_yarn, which round differently."""

import math

import torch


class exponential_of_logarithms:
    """frequencies by exp, and the blend as one factor"""

    def _plain_freqs(dim, base):
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        return torch.exp(torch.arange(0, dim, 2, dtype=dtype) * (-math.log(base) / dim))

    def yarn_freqs(dim, rope_base, rope_scaling):
        plain = _plain_freqs(dim, rope_base)
        fast = _pair_with_turns(rope_scaling["beta_fast"], dim, rope_base, rope_scaling)
        slow = _pair_with_turns(rope_scaling["beta_slow"], dim, rope_base, rope_scaling)
        low, high = max(math.floor(fast), 0), min(math.ceil(slow), dim // 2 - 1)
        pairs = torch.arange(dim // 2, dtype=plain.dtype)
        ramp = ((pairs - low) / max(high - low, 0.001)).clamp(0, 1)
        return plain * (1 - ramp + ramp / rope_scaling["factor"])


class reciprocal_powers:
    """frequencies as reciprocals, each divided part rounded by itself"""

    def _plain_freqs(dim, base):
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        return 1 / base ** (torch.arange(0, dim, 2, dtype=dtype) / dim)
