"""ex06's two answers against whole matrices, torch's built-in attention, autograd and loops."""

import importlib
import math
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from grader.observation.cost import Cost, CostMeter

LENGTHS = [(1, 1), (1, 6), (5, 5), (3, 8), (8, 3), (5, 1)]
BLOCKS = [1, 3, 4, 64]


@pytest.fixture(params=["minimind_ref.flash_attention", "solutions.ex06_flash_attention"])
def flash(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(60)


def normal(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)


def qkv(random: torch.Generator, queries: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        2 * normal(random, 2, 3, queries, 4),
        normal(random, 2, 3, keys, 4),
        normal(random, 2, 3, keys, 4),
    )


def visible(queries: int, keys: int, is_causal: bool) -> Tensor:
    everything = torch.ones(queries, keys, dtype=torch.bool)
    return everything.tril(keys - queries) if is_causal else everything


def in_loops(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    """One query after the other, number by number, sums by `fsum`."""
    out, lse = torch.zeros_like(q), torch.full(q.shape[:-1], -math.inf, dtype=q.dtype)
    seen = visible(q.shape[2], k.shape[2], is_causal)
    for b, h, s in ((b, h, s) for b in range(2) for h in range(3) for s in range(q.shape[2])):
        scores = {
            t: math.fsum((q[b, h, s] * k[b, h, t]).tolist()) / math.sqrt(q.shape[-1])
            for t in range(k.shape[2])
            if seen[s, t]
        }
        if scores:
            lse[b, h, s] = math.log(math.fsum(math.exp(score) for score in scores.values()))
        for t, score in scores.items():
            out[b, h, s] += math.exp(score - float(lse[b, h, s])) * v[b, h, t]
    return out, lse


def assert_exact(got: Tensor, expected: Tensor) -> None:
    """Equal but for what float64 rounds."""
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_out_and_lse_are_the_definition(
    flash: ModuleType, random: torch.Generator, lengths: tuple[int, int], is_causal: bool
) -> None:
    q, k, v = qkv(random, *lengths)
    want = in_loops(q, k, v, is_causal)
    for block in BLOCKS:
        got = flash.flash_attention(q, k, v, is_causal=is_causal, block_size=block)
        for mine, theirs in zip(got, want, strict=True):
            assert_exact(mine, theirs)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_gradients_are_those_of_autograd_through_the_built_in(
    flash: ModuleType, random: torch.Generator, lengths: tuple[int, int], is_causal: bool
) -> None:
    leaves = [x.requires_grad_() for x in qkv(random, *lengths)]
    some = visible(*lengths, is_causal)
    rows = some.any(-1)
    want = torch.zeros_like(leaves[0])
    want[:, :, rows] = F.scaled_dot_product_attention(
        leaves[0][:, :, rows], *leaves[1:], some[rows]
    )
    grad_out = normal(random, *want.shape)
    expected = torch.autograd.grad(want, leaves, grad_out)
    q, k, v = (x.detach() for x in leaves)
    out, lse = flash.flash_attention(q, k, v, is_causal=is_causal)
    assert_exact(out, want.detach())
    for block in BLOCKS:
        got = flash.flash_attention_backward(
            grad_out, q, k, v, out, lse, is_causal=is_causal, block_size=block
        )
        for mine, theirs in zip(got, expected, strict=True):
            assert_exact(mine, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_of_the_keys_merges_to_the_whole(flash: ModuleType, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    q, k, v = qkv(random, 5, 9)
    whole = flash.flash_attention(q, k, v, is_causal=False)
    for cut in range(1, 9):
        parts = [
            flash.flash_attention(q, k[:, :, part], v[:, :, part], is_causal=False)
            for part in (slice(0, cut), slice(cut, 9))
        ]
        for order in (parts, parts[::-1]):
            merged = flash.merge_partials(*order[0], *order[1])
            for mine, theirs in zip(merged, whole, strict=True):
                assert_exact(mine, theirs)


def test_merging_has_a_neutral_side(flash: ModuleType, random: torch.Generator) -> None:
    out, lse = normal(random, 2, 3, 5, 4), 300 * normal(random, 2, 3, 5)
    nothing = torch.zeros_like(out), torch.full_like(lse, -math.inf)
    for merged in (
        flash.merge_partials(out, lse, *nothing),
        flash.merge_partials(*nothing, out, lse),
    ):
        assert torch.equal(merged[0], out) and torch.equal(merged[1], lse)
    empty = flash.merge_partials(*nothing, *nothing)
    assert not empty[0].any() and torch.isneginf(empty[1]).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_dtypes(
    flash: ModuleType, random: torch.Generator, dtype: torch.dtype
) -> None:
    q, k, v = (x.to(dtype) for x in qkv(random, 7, 7))
    out, lse = flash.flash_attention(q, k, v, block_size=3)
    grads = flash.flash_attention_backward(q, q, k, v, out, lse, is_causal=True, block_size=2)
    assert {x.dtype for x in (out, *grads)} == {dtype}
    assert lse.dtype == torch.float32
    whole = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(out, whole, rtol=2e-2, atol=2e-2)


def costs(flash: ModuleType, length: int, is_causal: bool, block: int) -> tuple[Cost, Cost]:
    """Of one forward and one backward pass of a single head."""
    q, k, v, grad_out = torch.randn(4, 1, 1, length, 8)
    with torch.no_grad():
        with CostMeter() as forward:
            out, lse = flash.flash_attention(q, k, v, is_causal=is_causal, block_size=block)
        options = {"is_causal": is_causal, "block_size": block}
        with CostMeter() as backward:
            flash.flash_attention_backward(grad_out, q, k, v, out, lse, **options)
    return forward.cost(), backward.cost()


def test_memory_grows_with_the_length_and_not_its_square(flash: ModuleType) -> None:
    peaks = [
        [cost.peak_elements for cost in costs(flash, length, True, block=256)]
        for length in (1024, 2048, 4096, 8192)
    ]
    for short, long in zip(peaks, peaks[1:], strict=False):
        for before, after in zip(short, long, strict=True):
            assert after < 2.5 * before
    assert max(peaks[-1]) < 8192 * 8192 // 3


def test_causal_attention_takes_little_more_than_half_of_the_products(flash: ModuleType) -> None:
    for causal, full in zip(costs(flash, 512, True, 32), costs(flash, 512, False, 32), strict=True):
        assert causal.flops == full.flops * 17 // 32
