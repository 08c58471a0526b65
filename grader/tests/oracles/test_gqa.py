"""ex04's two answers against plain loops, torch's built-in attention and transformers."""

import importlib
import math
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from grader.observation.cost import CostMeter

LENGTHS = [(1, 1), (1, 6), (5, 5), (3, 7), (7, 3), (5, 1)]
HEADS = [(6, 3), (6, 2), (4, 1), (3, 3)]


@pytest.fixture(params=["minimind_ref.gqa", "solutions.ex04_gqa"])
def gqa(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(40)


def normal(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)


def qkv(
    random: torch.Generator, lengths: tuple[int, int], heads: tuple[int, int], width: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    k, v = (normal(random, 2, lengths[1], heads[1], width) for _ in range(2))
    return normal(random, 2, lengths[0], heads[0], width), k, v


def attended_in_loops(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
    """One query of one head after the other, number by number."""
    batches, queries, heads, width = q.shape
    keys, kv_heads = k.shape[1:3]
    out = torch.zeros_like(q)
    for b in range(batches):
        for h in range(heads):
            shared = h // (heads // kv_heads)
            for s in range(queries):
                seen = range(min(keys, s + keys - queries + 1) if is_causal else keys)
                scores = [
                    math.fsum((q[b, s, h] * k[b, t, shared]).tolist()) / math.sqrt(width)
                    for t in seen
                ]
                if not scores:
                    continue
                top = max(scores)
                total = math.fsum(math.exp(score - top) for score in scores)
                for t, score in zip(seen, scores, strict=True):
                    out[b, s, h] += math.exp(score - top) / total * v[b, t, shared]
    return out


def assert_exact(got: Tensor, expected: Tensor) -> None:
    """Equal but for what float64 rounds."""
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_repeat_kv_is_repeat_interleave(gqa: ModuleType, random: torch.Generator) -> None:
    x = normal(random, 2, 3, 5, 4).transpose(1, 2)
    for count in (1, 2, 5):
        assert torch.equal(gqa.repeat_kv(x, count), torch.repeat_interleave(x, count, dim=2))


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_attention_is_the_formula(
    gqa: ModuleType,
    random: torch.Generator,
    lengths: tuple[int, int],
    heads: tuple[int, int],
    is_causal: bool,
) -> None:
    q, k, v = qkv(random, lengths, heads)
    got = gqa.grouped_attention(q, k, v, is_causal=is_causal)
    assert_exact(got, attended_in_loops(q, k, v, is_causal))


@pytest.mark.parametrize("lengths", LENGTHS)
def test_values_and_gradients_are_those_of_the_built_in(
    gqa: ModuleType, random: torch.Generator, lengths: tuple[int, int]
) -> None:
    leaves = [x.requires_grad_() for x in qkv(random, lengths, (6, 3))]
    repeated = [leaves[0], *(x.repeat_interleave(2, dim=2) for x in leaves[1:])]
    mask = torch.ones(lengths, dtype=torch.bool).tril(lengths[1] - lengths[0])
    some = mask.any(-1)
    want = F.scaled_dot_product_attention(
        repeated[0][:, some].transpose(1, 2), *(x.transpose(1, 2) for x in repeated[1:]), mask[some]
    ).transpose(1, 2)
    got = gqa.grouped_attention(*leaves)
    assert not got[:, ~some].any()
    assert_exact(got[:, some], want)
    cotangent = normal(random, *got.shape)
    expected = torch.autograd.grad(want, leaves, cotangent[:, some])
    for mine, theirs in zip(torch.autograd.grad(got, leaves, cotangent), expected, strict=True):
        assert_exact(mine, theirs)


@pytest.mark.parametrize(("keys", "heads", "kv_heads", "width"), [(16, 3, 1, 4), (64, 16, 4, 32)])
def test_one_query_never_sees_its_keys_repeated(
    gqa: ModuleType, keys: int, heads: int, kv_heads: int, width: int
) -> None:
    q = torch.randn(1, 1, heads, width)
    k, v = torch.randn(2, 1, keys, kv_heads, width)
    with CostMeter() as meter:
        gqa.grouped_attention(q, k, v)
    assert meter.cost().peak_elements < keys * heads * width


def test_heads_are_repeated_as_in_transformers(gqa: ModuleType, random: torch.Generator) -> None:
    qwen3 = pytest.importorskip("transformers.models.qwen3.modeling_qwen3")
    x = normal(random, 2, 5, 3, 4)
    theirs = qwen3.repeat_kv(x.transpose(1, 2), 4).transpose(1, 2)
    assert torch.equal(gqa.repeat_kv(x, 4), theirs)
