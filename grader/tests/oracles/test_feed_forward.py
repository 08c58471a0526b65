"""Independent oracles for ex07: loops in Python floats, and the networks of transformers."""

import math

import pytest
import torch

import minimind_ref.feed_forward as reference
from minimind_ref.config import MiniMindConfig
from solutions import ex07_feed_forward as solution

BOTH = pytest.mark.parametrize("ffn", [reference, solution], ids=["reference", "solution"])
SEEDS = range(3)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(ffn, seed, hidden=7, inner=5):
    layer = ffn.FeedForward(MiniMindConfig.tiny(hidden_size=hidden), inner).double()
    shapes = {name: value.shape for name, value in layer.state_dict().items()}
    layer.load_state_dict({n: drawn(seed + i, *s) for i, (n, s) in enumerate(shapes.items())})
    return layer


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def by_hand(layer, vector):
    """The network for one vector, with the definition of silu."""
    gate, up, down = (
        getattr(layer, name).weight.tolist() for name in ("gate_proj", "up_proj", "down_proj")
    )
    pairs = zip(times(gate, vector), times(up, vector), strict=True)
    passed = [g / (1 + math.exp(-g)) * u for g, u in pairs]
    return times(down, passed)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_are_those_of_a_loop_by_hand(ffn, seed):
    layer, x = network(ffn, 10 * seed), drawn(10 * seed + 9, 2, 3, 7)
    for got, vector in zip(layer(x).flatten(0, 1).tolist(), x.flatten(0, 1).tolist(), strict=True):
        assert got == pytest.approx(by_hand(layer, vector))


@BOTH
def test_gradients_are_those_of_finite_differences(ffn):
    layer, x = network(ffn, 1), drawn(2, 2, 7).requires_grad_()
    names, values = zip(*layer.state_dict().items(), strict=True)

    def passed(x, *weights):
        named = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(layer, named, (x,))

    leaves = [value.clone().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(passed, [x, *leaves])


@BOTH
def test_gates_far_from_zero_have_finite_gradients(ffn):
    layer = ffn.FeedForward(MiniMindConfig.tiny(hidden_size=1), 1)
    layer.load_state_dict({name: torch.ones(1, 1) for name in layer.state_dict()})
    for dtype, far in ((torch.float32, 1e4), (torch.float16, 200.0)):
        x = torch.tensor([[-far], [far]], dtype=dtype, requires_grad=True)
        layer.to(dtype)(x).sum().backward()
        assert x.grad[0].item() == 0
        assert x.grad[1].item() == pytest.approx(2 * far, rel=1e-3)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_computes_the_same(ffn, seed):
    modeling = pytest.importorskip("transformers.models.qwen3.modeling_qwen3")
    from transformers import Qwen3Config

    layer, x = network(ffn, seed, hidden=40, inner=56), drawn(seed + 50, 2, 3, 40)
    theirs = modeling.Qwen3MLP(Qwen3Config(hidden_size=40, intermediate_size=56)).double()
    theirs.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), theirs(x))
