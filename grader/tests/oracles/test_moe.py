"""Independent oracles for ex09: the dense sum over all experts, loops, and transformers' blocks."""

import pytest
import torch

import minimind_ref.moe as reference
from grader.observation.cost import CostMeter
from minimind_ref.config import MiniMindConfig
from solutions import ex09_moe as solution

BOTH = pytest.mark.parametrize("moe", [reference, solution], ids=["reference", "solution"])
SEEDS = range(3)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(moe, seed, **changes):
    """A layer in float64 with random weights, the router's among them."""
    sizes = {"hidden_size": 12, "moe_intermediate_size": 10, "num_experts": 5}
    layer = moe.MoEFeedForward(MiniMindConfig.tiny(**(sizes | changes))).double()
    shapes = {name: value.shape for name, value in layer.state_dict().items()}
    layer.load_state_dict({n: drawn(seed + i, *s) for i, (n, s) in enumerate(shapes.items())})
    return layer


def dense(layer, x, k, norm):
    """The sum over all experts, with weights of 0 for those that were not chosen."""
    scores = torch.softmax(x @ layer.gate.weight.T, dim=-1)
    least = scores.sort(dim=-1, descending=True).values[..., k - 1 : k]
    weights = scores * (scores >= least)
    if norm and k > 1:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    outputs = torch.stack([expert(x) for expert in layer.experts], dim=-1)
    out = (outputs * weights.unsqueeze(-2)).sum(dim=-1)
    return out + sum(expert(x) for expert in layer.shared_experts)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shared", [0, 2])
@pytest.mark.parametrize(("k", "norm"), [(1, True), (2, True), (3, False), (5, True)])
def test_outputs_and_gradients_are_those_of_the_dense_sum(moe, seed, shared, k, norm):
    changes = {"num_experts_per_tok": k, "norm_topk_prob": norm, "n_shared_experts": shared}
    layer = layer_of(moe, 100 * seed, **changes)
    x = drawn(100 * seed + 99, 3, 4, 12).requires_grad_()
    leaves = (x, *layer.parameters())
    cotangent = drawn(100 * seed + 98, 3, 4, 12)
    for mode in (True, False):
        layer.train(mode)
        got, want = layer(x), dense(layer, x, k, norm)
        torch.testing.assert_close(got, want)
        slopes = torch.autograd.grad(got, leaves, cotangent, materialize_grads=True)
        torch.testing.assert_close(
            slopes, torch.autograd.grad(want, leaves, cotangent, materialize_grads=True)
        )


@BOTH
@pytest.mark.parametrize("favourite", range(5))
def test_all_tokens_may_choose_one_expert(moe, favourite):
    layer = layer_of(moe, 7, num_experts_per_tok=1)
    x = drawn(8, 2, 9, 12)
    x[..., 0] = 1.0
    with torch.no_grad():
        layer.gate.weight[favourite, 0] += 100.0
    score = torch.softmax(x @ layer.gate.weight.T, dim=-1)[..., favourite : favourite + 1]
    torch.testing.assert_close(layer(x), score * layer.experts[favourite](x))
    layer(x).sum().backward()
    for number, expert in enumerate(layer.experts):
        for value in expert.parameters():
            assert value.grad is not None
            assert bool(value.grad.any()) is (number == favourite)


@BOTH
@pytest.mark.parametrize("training", [True, False])
def test_work_is_that_of_the_chosen_experts(moe, training):
    for shared, k in ((0, 1), (0, 2), (2, 2)):
        layer = layer_of(moe, 3, num_experts_per_tok=k, n_shared_experts=shared).train(training)
        x = drawn(4, 3, 16, 12)
        with CostMeter() as meter:
            layer(x)
        expert = 3 * 2 * 12 * 10
        assert meter.cost().flops == 48 * (2 * 12 * 5 + (k + shared) * expert)


@BOTH
def test_aux_loss_is_the_routers_and_replaced_on_every_call(moe):
    for kind in ("qwen", "batch", "sequence"):
        layer = layer_of(moe, 5, aux_loss_kind=kind, router_aux_loss_coef=0.3)
        for seed, length in ((1, 4), (2, 7)):
            x = drawn(seed, 3, length, 12)
            layer.train()(x)
            torch.testing.assert_close(layer.aux_loss, layer.gate(x)[2])
            assert layer.aux_loss.requires_grad
        layer.eval()(x)
        assert layer.aux_loss.item() == 0


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_the_block_of_transformers_mixes_alike(moe, seed):
    modeling = pytest.importorskip("transformers.models.qwen3_moe.modeling_qwen3_moe")
    from transformers import Qwen3MoeConfig

    sizes = {"hidden_size": 12, "moe_intermediate_size": 10, "num_experts": 5}
    theirs = modeling.Qwen3MoeSparseMoeBlock(
        Qwen3MoeConfig(**sizes, num_experts_per_tok=2, norm_topk_prob=True)
    ).eval()
    layer = layer_of(moe, 30 * seed).float()
    state = layer.state_dict()
    wanted = theirs.state_dict()
    if "experts.gate_up_proj" in wanted:  # newer versions keep all experts in two tensors

        def stacked(name):
            return torch.stack([state[f"experts.{n}.{name}.weight"] for n in range(5)])

        state = {
            "gate.weight": state["gate.weight"],
            "experts.gate_up_proj": torch.cat((stacked("gate_proj"), stacked("up_proj")), dim=1),
            "experts.down_proj": stacked("down_proj"),
        }
    theirs.load_state_dict(state)
    x = drawn(seed + 77, 2, 6, 12).float()
    got = theirs(x)
    want = got[0] if isinstance(got, tuple) else got
    torch.testing.assert_close(layer(x), want)
