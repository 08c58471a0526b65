"""ex07_feed_forward: facts about the gated feed-forward network."""

import pytest
import torch

from minimind_ref.config import MiniMindConfig
from tests.support import run


def weights_of(rng, hidden, inner, scale=0.3):
    """Random weights, different in all three projections; gates of about 2 for x of about 1."""
    return {
        "gate_proj.weight": rng.normal(inner, hidden, scale=scale),
        "up_proj.weight": rng.normal(inner, hidden, scale=scale),
        "down_proj.weight": rng.normal(hidden, inner, scale=scale),
    }


def passed(ffn, weights, x):
    """What a network of MiniMindConfig.tiny's sizes makes of x."""
    return run(ffn.FeedForward(MiniMindConfig.tiny()), weights, x)


def some_size(rng, low):
    return int(rng.integers(low, low + 12, 1))


def used(layer, weights, x):
    """The entries of a layer's state dict, and what it makes of x if they are the weights'."""
    trained = {name for name, value in layer.named_parameters() if value.requires_grad}
    state = layer.state_dict()
    sizes = {name: list(value.shape) for name, value in state.items()}
    found = {
        name: f"{size}, {'trained' if name in trained else 'not trained'}"
        for name, size in sizes.items()
        if name in weights
    }
    found["other entries"] = sorted(sizes.keys() - weights.keys())
    fits = sizes == {name: list(value.shape) for name, value in weights.items()}
    return found | {"out": run(layer, weights, x) if fits else None}


def test_the_network_has_three_weights_of_the_configs_sizes(check, rng):
    """The state dict has gate_proj, up_proj and down_proj, sized by the config, without biases."""
    hidden, inner = some_size(rng, 5), some_size(rng, 30)

    def by_config(ffn, weights, x, sizes):
        return used(ffn.FeedForward(MiniMindConfig.tiny(**sizes)), weights, x)

    sizes = {"hidden_size": hidden, "intermediate_size": inner}
    inputs = weights_of(rng, hidden, inner), rng.normal(2, hidden)
    check(by_config, *inputs, sizes, draws=True)
    check(by_config, *inputs, sizes | {"use_moe": True}, draws=True)


def test_intermediate_size_can_be_given(check, rng):
    """The argument intermediate_size overrides the config's, by place and by name."""
    inner, other = some_size(rng, 8), some_size(rng, 60)

    def by_place(ffn, weights, x, inner):
        return used(ffn.FeedForward(MiniMindConfig.tiny(hidden_size=12), inner), weights, x)

    def by_name(ffn, weights, x, inner):
        config = MiniMindConfig.tiny(hidden_size=12)
        return used(ffn.FeedForward(config, intermediate_size=inner), weights, x)

    check(by_place, weights_of(rng, 12, inner), rng.normal(2, 3, 12), inner, draws=True)
    check(by_name, weights_of(rng, 12, other), rng.normal(2, 3, 12), other, draws=True)


@pytest.mark.weight(2)
def test_silu_of_the_gate_times_up_for_any_leading_axes(check, rng):
    """y = down_proj(silu(gate_proj(x)) · up_proj(x)) for every vector of any number of axes."""

    def shapes(ffn, weights, x):
        layer = ffn.FeedForward(MiniMindConfig.tiny())
        return {
            "three axes": run(layer, weights, x[0]),
            "one vector": run(layer, weights, x[1, 2, 3]),
            "two axes": run(layer, weights, x[1, 2]),
            "B = S = 1": run(layer, weights, x[:1, :1, 1]),
            "four axes": run(layer, weights, x),
            "transposed": run(layer, weights, x.transpose(0, 2)),
        }

    def without_gradients(ffn, weights, x):
        layer = ffn.FeedForward(MiniMindConfig.tiny())
        with torch.no_grad():
            return {f"sequence {index}": run(layer, weights, each) for index, each in enumerate(x)}

    inputs = weights_of(rng, 40, 56), rng.normal(2, 3, 5, 40)
    check(shapes, *inputs, grad=True, draws=True)
    check(without_gradients, *inputs, draws=True)


@pytest.mark.weight(2)
def test_gates_far_from_zero(check, rng):
    """With gates of several hundred, below and above 0, outputs and gradients stay finite."""
    weights = weights_of(rng, 40, 56)
    # Only a few gates are far away: the others show what becomes of the gradient.
    far = rng.permutation(56)[:12]
    weights["gate_proj.weight"][far] *= 150.0
    # What passes them is large, and must not hide what passes the others.
    weights["down_proj.weight"][:, far] *= 0.01
    check(passed, weights, rng.normal(2, 5, 40), grad=True, draws=True)


def test_half_precision_is_kept(check, rng):
    """In bfloat16 and float16 the result and all gradients have the dtype that x has."""
    half = "weights", "x"
    inputs = weights_of(rng, 40, 56), rng.normal(3, 7, 40)
    check(passed, *inputs, half=half, matmul=True, grad=True, draws=True)
