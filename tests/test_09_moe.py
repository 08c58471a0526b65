"""ex09_moe: facts about the mixture of experts."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minimind_ref.config import MiniMindConfig
from tests.support import run

HIDDEN, INNER, EXPERTS = 12, 10, 5


def config(**changes):
    sizes = {"hidden_size": HIDDEN, "moe_intermediate_size": INNER, "num_experts": EXPERTS}
    return MiniMindConfig.tiny(**(sizes | {"router_aux_loss_coef": 0.3} | changes))


def weights_of(rng, *, experts=EXPERTS, shared=0, hidden=HIDDEN, inner=INNER):
    """Random weights for every entry of the state dict, different in every expert."""
    weights = {"gate.weight": rng.normal(experts, hidden)}
    names = [f"experts.{number}" for number in range(experts)]
    for name in names + [f"shared_experts.{number}" for number in range(shared)]:
        weights[f"{name}.gate_proj.weight"] = rng.normal(inner, hidden, scale=0.4)
        weights[f"{name}.up_proj.weight"] = rng.normal(inner, hidden, scale=0.4)
        weights[f"{name}.down_proj.weight"] = rng.normal(hidden, inner, scale=0.4)
    return weights


def choices_of(rng, *shape, k=2, experts=EXPERTS, unloved=None):
    """What tokens choose, without a pattern: [*shape, k]; nobody chooses the unloved expert."""
    liking = rng.uniform(*shape, experts)
    if unloved is not None:
        liking[..., unloved] = -1.0
    return liking.topk(k).indices


def tokens_for(rng, weights, choices):
    """Random tokens that the router sends where `choices` [..., k] says, none close to a tie."""
    weight = weights["gate.weight"]
    best = F.one_hot(choices, len(weight)).sum(dim=-2).bool()
    high = rng.uniform(*best.shape, low=0.3, high=1.5)
    logits = torch.where(best, high, high - 1.8)
    x = rng.normal(*best.shape[:-1], weight.shape[1])
    return x + (logits - x @ weight.T) @ torch.linalg.pinv(weight).T


def in_the_middle(rng):
    """An expert that is neither the first nor the last."""
    return 1 + int(rng.integers(0, EXPERTS - 2, 1))


class WithLoss(nn.Module):
    """A layer that returns its auxiliary loss as well, as it is right after the call."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        out = self.layer(x)
        return out, self.layer.aux_loss


def mixed(layer, weights, x):
    """The output of a layer with these weights, and its auxiliary loss."""
    named = {f"layer.{name}": value for name, value in weights.items()}
    out, loss = run(WithLoss(layer), named, x)
    return {"out": out, "aux_loss": loss}


def used(layer, weights, x):
    """The entries of a layer's state dict, and its output for x if they are the weights'."""
    trained = {name for name, value in layer.named_parameters() if value.requires_grad}
    sizes = {name: list(value.shape) for name, value in layer.state_dict().items()}
    found = {
        name: f"{size}, {'trained' if name in trained else 'not trained'}"
        for name, size in sizes.items()
        if name in weights
    }
    found["other entries"] = sorted(sizes.keys() - weights.keys())
    fits = sizes == {name: list(value.shape) for name, value in weights.items()}
    return found | {"out": run(layer, weights, x) if fits and trained == set(sizes) else None}


def test_the_layer_has_a_router_and_its_experts(check, rng):
    """The state dict has gate, experts and shared_experts, of the config's sizes, and no more."""
    experts, inner = (int(rng.integers(low, low + 4, 1)) for low in (4, 15))
    sizes = {"num_experts": experts, "moe_intermediate_size": inner}

    def without(moe, weights, x, sizes):
        return used(moe.MoEFeedForward(config(**sizes)), weights, x)

    def shared(moe, weights, x, sizes):
        return used(moe.MoEFeedForward(config(n_shared_experts=1, **sizes)), weights, x)

    weights = weights_of(rng, experts=experts, shared=1, inner=inner)
    unshared = {name: w for name, w in weights.items() if not name.startswith("shared")}
    x = tokens_for(rng, weights, choices_of(rng, 2, 3, experts=experts))
    check(without, unshared, x, sizes, draws=True)
    check(shared, weights, x, sizes, draws=True)


@pytest.mark.weight(2)
def test_each_token_gets_the_weighted_sum_of_its_experts(check, rng):
    """A token's k experts are weighed and added, also where an expert in between has no tokens."""
    weights = weights_of(rng)
    x = tokens_for(rng, weights, choices_of(rng, 3, 7, unloved=in_the_middle(rng)))

    def layout(moe, weights, x):
        return run(moe.MoEFeedForward(config()), weights, x.transpose(0, 1))

    check(layout, weights, x.transpose(0, 1).contiguous(), grad=True, draws=True)


@pytest.mark.weight(2)
def test_the_routers_weights_are_used_as_they_are(check, rng):
    """With k = 1 and k = 3, not renormalised, the weights and the router's gradient are right."""
    weights = weights_of(rng)

    def single(moe, weights, x):
        return run(moe.MoEFeedForward(config(num_experts_per_tok=1)), weights, x)

    def three(moe, weights, x):
        changes = {"num_experts_per_tok": 3, "norm_topk_prob": False}
        return run(moe.MoEFeedForward(config(**changes)), weights, x)

    check(
        single, weights, tokens_for(rng, weights, choices_of(rng, 2, 7, k=1)), grad=True, draws=True
    )
    check(
        three, weights, tokens_for(rng, weights, choices_of(rng, 2, 5, k=3)), grad=True, draws=True
    )


@pytest.mark.weight(2)
def test_any_number_of_tokens_may_choose_an_expert(check, rng):
    """All tokens may choose the same experts, and there may be a single token: none is dropped."""
    weights = weights_of(rng)
    one, pair = choices_of(rng, k=1), choices_of(rng, k=2)

    def crowded(moe, weights, to_one, to_two):
        of_one = moe.MoEFeedForward(config(num_experts_per_tok=1))
        of_two = moe.MoEFeedForward(config())
        return {
            "all tokens choose one expert": run(of_one, weights, to_one),
            "all tokens choose the same two": run(of_two, weights, to_two),
            "a single token": run(of_two, weights, to_two[:1, :1]),
        }

    to_one = tokens_for(rng, weights, one.expand(3, 9, 1))
    to_two = tokens_for(rng, weights, pair.expand(2, 11, 2))
    check(crowded, weights, to_one, to_two, grad=True, draws=True)


@pytest.mark.weight(2)
def test_shared_experts_see_every_token(check, rng):
    """Shared experts get x itself, and their outputs are added without a weight."""
    weights = weights_of(rng, shared=2)

    def shared(moe, weights, x):
        return run(moe.MoEFeedForward(config(n_shared_experts=2)), weights, x)

    x = tokens_for(rng, weights, choices_of(rng, 2, 5))
    check(shared, weights, x, grad=True, draws=True)


@pytest.mark.weight(2)
def test_evaluation_gives_the_outputs_of_training(check, rng):
    """The same layer gives the same outputs and gradients in training and in eval."""
    weights = weights_of(rng, shared=1)

    def both(moe, weights, x):
        layer = moe.MoEFeedForward(config(n_shared_experts=1))
        return {
            "in training": run(layer.train(), weights, x),
            "in eval": run(layer.eval(), weights, x),
        }

    x = tokens_for(rng, weights, choices_of(rng, 2, 7, unloved=in_the_middle(rng)))
    check(both, weights, x, grad=True, draws=True)


@pytest.mark.weight(2)
def test_aux_loss_is_that_of_the_latest_call(check, rng):
    """aux_loss is the router's, of its kind and with its gradient; every call replaces it."""
    weights = weights_of(rng)
    coefficient = round(float(rng.uniform(1, low=0.2, high=0.7)), 3)

    def calls(moe, weights, first, second, coefficient):
        found = {}
        for kind in ("sequence", "batch", "qwen"):
            changes = {"aux_loss_kind": kind, "router_aux_loss_coef": coefficient}
            layer = moe.MoEFeedForward(config(**changes)).train()
            for name, x in {"first call": first, "second call": second}.items():
                found[f"{kind}, {name}"] = mixed(layer, weights, x)["aux_loss"]
            found[f"{kind}, in eval"] = mixed(layer.eval(), weights, first)["aux_loss"]
        one, other = (moe.MoEFeedForward(config()).train() for _ in range(2))
        for layer, x in ((one, first), (other, second)):
            layer.load_state_dict(weights)
            layer(x)
        return found | {"after a call of another layer": one.aux_loss}

    # Sequences of different loads, so that each by itself is less balanced than all together.
    lonely = [choices_of(rng, 1, 6, unloved=expert) for expert in (0, 3, 4)]
    first = tokens_for(rng, weights, torch.cat(lonely))
    second = tokens_for(rng, weights, choices_of(rng, 2, 6, unloved=in_the_middle(rng)))
    check(calls, weights, first, second, coefficient, grad=True, draws=True)


def test_an_expert_without_tokens_gets_a_gradient_of_zeros(check, rng):
    """After out.sum().backward() in training no parameter's gradient is None, chosen or not."""
    unloved = in_the_middle(rng)
    weights = weights_of(rng, shared=1)
    x = tokens_for(rng, weights, choices_of(rng, 2, 6, unloved=unloved))

    def gradients(moe, weights, x, unloved):
        layer = moe.MoEFeedForward(config(n_shared_experts=1))
        layer.load_state_dict(weights)
        layer.zero_grad()
        layer(x).sum().backward()
        slopes = {name: value.grad for name, value in layer.named_parameters()}
        chosen = {
            f"gradient of {name}": slope
            for name, slope in slopes.items()
            if slope is not None and not name.startswith(f"experts.{unloved}.")
        }
        zeros = {
            f"largest gradient of {name}": float(slope.abs().max())
            for name, slope in slopes.items()
            if slope is not None and name.startswith(f"experts.{unloved}.")
        }
        return {"gradient is None": [n for n in slopes if slopes[n] is None]} | zeros | chosen

    training = "the contract asks for zeros in training only"
    check(gradients, weights, x, unloved, draws=True, without={"eval": training})


def flops_at_most(tokens, shared):
    """1.1 times the work of the router, two chosen experts and some shared ones, for each token."""
    expert = 3 * 2 * HIDDEN * INNER
    return tokens * (2 * HIDDEN * EXPERTS + (2 + shared) * expert) * 11 // 10


@pytest.mark.weight(2)
def test_only_chosen_experts_compute(check, rng):
    """In training FLOPs stay below 1.1 times router + chosen experts + shared ones."""
    weights = weights_of(rng, shared=1)

    def in_training(moe, weights, x):
        return run(moe.MoEFeedForward(config(n_shared_experts=1)).train(), weights, x)

    # Equal loads first: there, batches that are padded to the largest cost nothing more.
    pairs = torch.tensor([[e, (e + 1) % EXPERTS] for e in range(EXPERTS)]).repeat(4, 1)
    even = tokens_for(rng, weights, pairs[rng.permutation(len(pairs))].reshape(2, 10, 2))
    uneven = tokens_for(rng, weights, choices_of(rng, 3, 9, unloved=in_the_middle(rng)))
    check(in_training, weights, even, flops=flops_at_most(20, shared=1), draws=True)
    check(in_training, weights, uneven, flops=flops_at_most(27, shared=1), draws=True)


def test_evaluation_costs_no_more_than_training(check, rng):
    """In eval FLOPs stay below 1.1 times router + chosen experts + shared ones, too."""
    weights = weights_of(rng, shared=1)

    def in_eval(moe, weights, x):
        return run(moe.MoEFeedForward(config(n_shared_experts=1)).eval(), weights, x)

    x = tokens_for(rng, weights, choices_of(rng, 3, 9, unloved=in_the_middle(rng)))
    check(in_eval, weights, x, flops=flops_at_most(27, shared=1), draws=True)


def test_half_precision_is_kept(check, rng):
    """In bfloat16 and float16 the output has x's dtype, and aux_loss stays in float32."""
    weights = weights_of(rng, shared=1)

    def halves(moe, weights, x):
        return mixed(moe.MoEFeedForward(config(n_shared_experts=1)), weights, x)

    x = tokens_for(rng, weights, choices_of(rng, 2, 7, unloved=in_the_middle(rng)))
    check(halves, weights, x, half=("weights", "x"), matmul=True, grad=True, draws=True)
