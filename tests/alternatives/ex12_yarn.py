"""Right answers to ex12_yarn, written differently: each must pass every test."""

import math

import numpy as np
import torch


class between_two_sets:
    """two sets of frequencies and a mask that says how much of the unchanged ones remains"""

    def _bounds(dim, base, scaling):
        original = scaling["original_max_position_embeddings"]

        def found(beta):
            return (dim * math.log(original / (beta * 2 * math.pi))) / (2 * math.log(base))

        low = max(math.floor(found(scaling["beta_fast"])), 0)
        high = min(math.ceil(found(scaling["beta_slow"])), dim // 2 - 1)
        return low, high

    def yarn_freqs(dim, rope_base, rope_scaling):
        powers = rope_base ** (torch.arange(0, dim, 2).float() / dim)
        unchanged = 1.0 / powers
        stretched = 1.0 / (rope_scaling["factor"] * powers)
        low, high = _bounds(dim, rope_base, rope_scaling)
        width = high - low if high > low else 0.001
        mask = 1 - torch.clamp((torch.arange(dim // 2).float() - low) / width, 0, 1)
        return stretched * (1 - mask) + unchanged * mask


class pair_by_pair:
    """one pair after the other, in Python's own floats, the ramp by comparisons"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        factor = rope_scaling["factor"]
        per_turn = dim / 2 / math.log(rope_base)
        low = math.floor(
            per_turn * (math.log(original) - math.log(2 * math.pi * rope_scaling["beta_fast"]))
        )
        high = math.ceil(
            per_turn * (math.log(original) - math.log(2 * math.pi * rope_scaling["beta_slow"]))
        )
        low, high = max(low, 0), min(high, dim // 2 - 1)
        found = []
        for pair in range(dim // 2):
            frequency = rope_base ** (-2 * pair / dim)
            if pair <= low:
                found.append(frequency)
            elif pair >= high:
                found.append(frequency / factor)
            else:
                part = (pair - low) / (high - low)
                found.append(frequency * (1 - part) + frequency / factor * part)
        return torch.tensor(found, dtype=torch.float32)


class as_minimind_has_it:
    """everything in one function, with defaults for what is missing"""

    def precompute_freqs_cis(dim, end=int(32 * 1024), rope_base=1e6, rope_scaling=None):
        freqs = 1.0 / (rope_base ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim))
        magnitude = 1.0
        if rope_scaling is not None:
            original = rope_scaling.get("original_max_position_embeddings", 2048)
            if end / original > 1.0:
                freqs = yarn_freqs(dim, rope_base, rope_scaling)
                magnitude = rope_scaling.get("attention_factor", 1.0)
        freqs = torch.outer(torch.arange(end, device=freqs.device), freqs).float()
        cos = torch.cat([torch.cos(freqs), torch.cos(freqs)], dim=-1) * magnitude
        sin = torch.cat([torch.sin(freqs), torch.sin(freqs)], dim=-1) * magnitude
        return cos, sin


class in_float64:
    """NumPy in float64 throughout, and a polar form for the tables"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        pairs = np.arange(dim // 2)
        freqs = np.power(float(rope_base), -2.0 * pairs / dim)
        betas = np.array([rope_scaling["beta_fast"], rope_scaling["beta_slow"]])
        turns_of_first = rope_scaling["original_max_position_embeddings"] / (2 * np.pi)
        fast, slow = dim / 2 * np.log(turns_of_first / betas) / np.log(rope_base)
        low, high = max(np.floor(fast), 0), min(np.ceil(slow), dim / 2 - 1)
        ramp = np.clip((pairs - low) / max(high - low, 1e-3), 0, 1)
        return torch.from_numpy(freqs * (1 + ramp * (1 / rope_scaling["factor"] - 1))).float()

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None):
        settings = dict(rope_scaling or {"original_max_position_embeddings": math.inf})
        magnitude = settings.setdefault("attention_factor", 1)
        if end <= settings["original_max_position_embeddings"]:
            magnitude = 1
            freqs = rope_base ** -(torch.arange(dim // 2, dtype=torch.float64) * 2 / dim)
        else:
            freqs = yarn_freqs(dim, rope_base, settings).double()
        angles = torch.arange(end, dtype=torch.float64).unsqueeze(1) * freqs
        turn = torch.polar(torch.full_like(angles, magnitude), angles).repeat(1, 2)
        return turn.real.float(), turn.imag.float()


class scaled_in_place:
    """the ramp is filled in slices and the frequencies are scaled in place"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        pairs = torch.arange(0, dim, 2, dtype=torch.float32)
        freqs = torch.exp(pairs * (-math.log(rope_base) / dim))
        low = _first_place(dim, rope_base, rope_scaling)
        high = _last_place(dim, rope_base, rope_scaling)
        ramp = torch.ones_like(freqs)
        ramp[: low + 1] = 0
        if high > low:
            ramp[low : high + 1] = torch.linspace(0, 1, high - low + 1)
        freqs -= freqs * ramp * (1 - 1 / rope_scaling["factor"])
        return freqs

    def _tables(frequencies, end):
        both = frequencies.repeat(2)
        angles = torch.einsum("p,f->pf", torch.arange(end).to(both.dtype), both)
        return torch.cos(angles), torch.sin(angles)
