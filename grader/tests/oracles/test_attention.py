"""ex03's two answers against code that shares nothing with them: loops, PyTorch, transformers."""

import importlib
import math
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

ANSWERS = ["minimind_ref.attention", "solutions.ex03_attention"]
SIZES = [(5, 5), (3, 7), (1, 6), (6, 4), (7, 1), (1, 1)]


@pytest.fixture(params=ANSWERS)
def answer(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(30)


def normal(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)


def qkv(random: torch.Generator, queries: int, keys: int) -> list[Tensor]:
    return [normal(random, 2, 3, n, 8).requires_grad_() for n in (queries, keys, keys)]


def assert_exact(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def attention_in_loops(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, mask: Tensor | None
) -> Tensor:
    """One number after the other."""
    out = torch.zeros_like(q)
    batch, heads, queries, dim = q.shape
    keys = k.shape[2]
    for b in range(batch):
        for h in range(heads):
            for s in range(queries):
                seen = [
                    t
                    for t in range(keys)
                    if not (causal and t - keys > s - queries)
                    and not (mask is not None and not mask[b, t])
                ]
                powers = {}
                for t in seen:
                    dot = sum(float(q[b, h, s, i] * k[b, h, t, i]) for i in range(dim))
                    powers[t] = math.exp(dot / math.sqrt(dim))
                for t, power in powers.items():
                    out[b, h, s] += power / sum(powers.values()) * v[b, h, t]
    return out


@pytest.mark.parametrize("dim", [-1, 0, 1, 2, -2])
def test_softmax_is_torchs(answer: ModuleType, random: torch.Generator, dim: int) -> None:
    x = normal(random, 3, 4, 5) * 50 - 400
    x[0, 0, 1:3] = x[1:, 2, 3] = -math.inf
    x.requires_grad_()
    weight = normal(random, 3, 4, 5)
    got, expected = answer.softmax(x, dim), torch.softmax(x, dim)
    assert_exact(got, expected)
    assert_exact(*(torch.autograd.grad((y * weight).sum(), x)[0] for y in (got, expected)))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        half = answer.softmax(x.to(dtype), dim)
        assert half.dtype == dtype
        torch.testing.assert_close(half, torch.softmax(x.to(dtype), dim))


@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_causal_mask_is_the_definition(answer: ModuleType, queries: int, keys: int) -> None:
    mask = answer.causal_mask(queries, keys)
    assert mask.dtype == torch.bool
    expected = [[t <= s + keys - queries for t in range(keys)] for s in range(queries)]
    assert mask.tolist() == expected


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_attention_is_loops_and_torchs(
    answer: ModuleType,
    random: torch.Generator,
    queries: int,
    keys: int,
    causal: bool,
    padded: bool,
) -> None:
    q, k, v = qkv(random, queries, keys)
    mask = torch.rand(2, keys, generator=random) < 0.6 if padded else None
    got = answer.attention(q, k, v, is_causal=causal, attention_mask=mask)
    with torch.no_grad():
        assert_exact(got, attention_in_loops(q, k, v, causal, mask))

    visible = torch.ones(queries, keys, dtype=torch.bool)
    visible = visible.tril(keys - queries) if causal else visible
    visible = visible if mask is None else visible & mask[:, None, None]
    expected = F.scaled_dot_product_attention(q, k, v, visible)
    assert_exact(got, expected)
    weight = normal(random, *q.shape)
    gradients = (torch.autograd.grad((y * weight).sum(), (q, k, v)) for y in (got, expected))
    for mine, theirs in zip(*gradients, strict=True):
        assert_exact(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_key_means_zero_and_finite_gradients(
    answer: ModuleType, random: torch.Generator, dtype: torch.dtype
) -> None:
    q, k, v = (x.detach().to(dtype).requires_grad_() for x in qkv(random, 6, 4))
    mask = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
    out = answer.attention(q, k, v, attention_mask=mask)
    assert out.dtype == dtype
    assert not out[0, :, :4].any() and not out[1].any() and out[0, :, 4:].all()
    for gradient in torch.autograd.grad(out.sum(), (q, k, v)):
        assert gradient.dtype == dtype and gradient.isfinite().all()
        assert not gradient[1].any() and gradient[0].any()


def test_other_shapes_of_mask_are_refused(answer: ModuleType, random: torch.Generator) -> None:
    q, k, v = qkv(random, 3, 5)
    for shape in [(1, 5), (5,), (2, 3), (2, 1), (5, 2), (2, 1, 5), (2, 1, 1, 5), (2, 6)]:
        with pytest.raises(ValueError, match="attention_mask"):
            answer.attention(q, k, v, attention_mask=torch.ones(shape))


def test_attention_is_that_of_transformers(answer: ModuleType, random: torch.Generator) -> None:
    pytest.importorskip("transformers")
    qwen = importlib.import_module("transformers.models.qwen3.modeling_qwen3")
    q, k, v = (x.detach().float() for x in qkv(random, 3, 7))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]])
    visible = torch.ones(3, 7, dtype=torch.bool).tril(4) & mask.bool()[:, None, None]
    bias = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    layer = SimpleNamespace(num_key_value_groups=1, training=False)
    expected, _ = qwen.eager_attention_forward(layer, q, k, v, bias, scaling=8**-0.5)
    got = answer.attention(q, k, v, attention_mask=mask)
    torch.testing.assert_close(got, expected.transpose(1, 2))
