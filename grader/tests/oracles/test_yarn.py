"""Independent oracles for ex12: plain loops, and the YaRN of transformers where both agree."""

import math

import pytest
import torch

import minimind_ref.rope as plain
import minimind_ref.yarn as reference
from solutions import ex12_yarn as solution

BOTH = pytest.mark.parametrize("yarn", [reference, solution], ids=["reference", "solution"])
SEEDS = range(6)
USUAL = {"original_max_position_embeddings": 2048, "beta_fast": 32.0, "beta_slow": 1.0}


def by_hand(dim, base, scaling):
    """Frequencies one by one, in Python floats."""
    original, factor = scaling["original_max_position_embeddings"], scaling["factor"]

    def place(beta):
        # The pair whose frequency makes `beta` turns: base^(-2i/dim) = 2 pi beta / original.
        return -dim / 2 * math.log(2 * math.pi * beta / original, base)

    low, high = math.floor(place(scaling["beta_fast"])), math.ceil(place(scaling["beta_slow"]))
    low, high = max(low, 0), min(high, dim // 2 - 1)
    found = []
    for pair in range(dim // 2):
        if low < high:
            ramp = min(max((pair - low) / (high - low), 0.0), 1.0)
        else:
            ramp = float(pair > low)
        frequency = math.exp(-2 * pair / dim * math.log(base))
        found.append(frequency * (1 - ramp) + frequency / factor * ramp)
    return torch.tensor(found, dtype=torch.float64)


def drawn(seed):
    """Some settings, usual and unusual ones."""
    random = torch.Generator().manual_seed(seed)
    pick = torch.rand(6, generator=random).tolist()
    dim, base = 4 + 2 * int(30 * pick[0]), 10 ** (1.2 + 4.8 * pick[1])
    scaling = {
        "original_max_position_embeddings": int(10 ** (0.6 + 4.4 * pick[2])),
        "factor": 1.5 + 14 * pick[3],
        "beta_fast": 10 + 40 * pick[4],
        "beta_slow": 0.5 + 3 * pick[5],
    }
    return dim, base, scaling


def theirs(dim, base, scaling):
    """The frequencies and the attention factor of transformers."""
    utils = pytest.importorskip("transformers.modeling_rope_utils")
    from transformers import Qwen3Config

    config = Qwen3Config(
        head_dim=dim,
        max_position_embeddings=10 * scaling["original_max_position_embeddings"],
        rope_parameters={"rope_type": "yarn", "rope_theta": base, **scaling},
    )
    return utils.ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")


@BOTH
@pytest.mark.parametrize("seed", range(60))
def test_frequencies_are_those_of_a_loop(yarn, seed):
    dim, base, scaling = drawn(seed)
    expected = by_hand(dim, base, scaling)
    got = yarn.yarn_freqs(dim, base, scaling)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=3e-6, atol=0)


@BOTH
def test_the_loop_meets_every_kind_of_ramp(yarn):
    """The settings above are of all kinds: ramps, steps, and both limits."""
    kinds = set()
    for seed in range(60):
        dim, base, scaling = drawn(seed)
        parts = by_hand(dim, base, scaling) * base ** (torch.arange(dim // 2) * 2 / dim)
        low, high = parts.max().item(), parts.min().item()
        inside = ((parts < low - 1e-6) & (parts > high + 1e-6)).any().item()
        kinds.add("none" if low - high < 1e-6 else "ramp" if inside else "step")
    assert kinds == {"none", "ramp", "step"}


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_has_the_same_frequencies(yarn, seed):
    random = torch.Generator().manual_seed(seed)
    pick = torch.rand(3, generator=random).tolist()
    dim, base = 32 + 2 * int(48 * pick[0]), 10 ** (4 + 2 * pick[1])
    scaling = USUAL | {"factor": 2 + 14 * pick[2], "attention_factor": 1.2}
    freqs, magnitude = theirs(dim, base, scaling)
    torch.testing.assert_close(yarn.yarn_freqs(dim, base, scaling), freqs, rtol=3e-6, atol=0)

    original = scaling["original_max_position_embeddings"]
    cos, sin = yarn.precompute_freqs_cis(dim, original + 50, base, scaling)
    angles = torch.outer(torch.arange(original + 50).double(), freqs.double()).repeat(1, 2)
    allowed = 4e-7 * (original + 50) * magnitude
    torch.testing.assert_close(cos.double(), angles.cos() * magnitude, rtol=0, atol=allowed)
    torch.testing.assert_close(sin.double(), angles.sin() * magnitude, rtol=0, atol=allowed)


def test_transformers_differs_where_the_lesson_says_so():
    """The limit of high, a ramp that runs backwards, a missing factor: as in the lesson's table."""
    long = USUAL | {"factor": 4.0, "original_max_position_embeddings": 65536}
    ours, (their, magnitude) = reference.yarn_freqs(16, 1e4, long), theirs(16, 1e4, long)
    assert (ours[-1] / their[-1]).item() < 0.8
    assert magnitude == pytest.approx(0.1 * math.log(4) + 1)

    crossed = USUAL | {"factor": 4.0, "original_max_position_embeddings": 32768}
    ours, (their, _) = reference.yarn_freqs(8, 3.0, crossed), theirs(8, 3.0, crossed)
    frequencies = 3.0 ** (-torch.arange(4) * 2 / 8)
    torch.testing.assert_close(ours, frequencies)
    torch.testing.assert_close(their, frequencies / 4)

    not_rounded = USUAL | {"factor": 4.0, "truncate": False}
    ours, (their, _) = reference.yarn_freqs(96, 1e6, not_rounded), theirs(96, 1e6, not_rounded)
    assert not torch.allclose(ours, their, rtol=1e-3, atol=0)


@BOTH
@pytest.mark.parametrize("end", [64, 63, 9])
def test_short_tables_are_those_of_the_second_exercise(yarn, end):
    scaling = USUAL | {
        "original_max_position_embeddings": 64,
        "factor": 4.0,
        "attention_factor": 1.3,
    }
    expected = plain.precompute_freqs_cis(12, end, 300.0)
    for given in (scaling, None):
        for table, want in zip(
            yarn.precompute_freqs_cis(12, end, 300.0, given), expected, strict=True
        ):
            torch.testing.assert_close(table, want, rtol=0, atol=4e-7 * end)


def test_expected_values_are_exact_in_float64():
    """The grader takes expected values from the reference under a float64 default."""
    scaling = USUAL | {"original_max_position_embeddings": 64, "factor": 4.0}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        freqs = reference.yarn_freqs(12, 300.0, scaling)
        cos, _ = reference.precompute_freqs_cis(12, 90, 300.0, scaling)
    finally:
        torch.set_default_dtype(before)
    expected = by_hand(12, 300.0, scaling)
    torch.testing.assert_close(freqs, expected, rtol=1e-13, atol=0)
    angles = torch.arange(90, dtype=torch.float64)[:, None] * expected
    torch.testing.assert_close(cos, angles.cos().repeat(1, 2), rtol=0, atol=1e-11)
