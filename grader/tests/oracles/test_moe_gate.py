"""Independent oracles for ex08: loops in Python floats, and the Qwen3-MoE of transformers."""

import math

import pytest
import torch

import minimind_ref.moe_gate as reference
from minimind_ref.config import MiniMindConfig
from solutions import ex08_moe_gate as solution

BOTH = pytest.mark.parametrize("moe", [reference, solution], ids=["reference", "solution"])
SEEDS = range(3)


def softmax(logits):
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def balance(scores, choices):
    """E · Σ f·P of lists of rows, by counting."""
    experts, made = len(scores[0]), sum(len(row) for row in choices)
    loss = 0.0
    for expert in range(experts):
        share = sum(row.count(expert) for row in choices) / made
        loss += share * sum(row[expert] for row in scores) / len(scores)
    return experts * loss


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gate_of(moe, weight, **changes):
    gate = moe.MoEGate(MiniMindConfig.tiny(router_aux_loss_coef=0.3, **changes)).double()
    gate.load_state_dict({"weight": weight})
    return gate


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_losses_are_those_of_a_count_by_hand(moe, seed):
    scores = drawn(seed, 3, 4, 7).softmax(dim=-1)
    choices = drawn(seed + 100, 3, 4, 7)[..., :6].topk(2 + seed % 2).indices
    by_sequence = [balance(s, c) for s, c in zip(scores.tolist(), choices.tolist(), strict=True)]
    over_all = balance(scores.flatten(0, 1).tolist(), choices.flatten(0, 1).tolist())
    flat = scores.flatten(0, 1), choices.flatten(0, 1)
    assert moe.sequence_aux_loss(scores, choices).item() == pytest.approx(sum(by_sequence) / 3)
    assert moe.batch_aux_loss(*flat).item() == pytest.approx(over_all)
    assert moe.qwen_aux_loss(*flat).item() == pytest.approx(over_all * choices.shape[-1])


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_routes_are_those_of_a_search_by_hand(moe, seed, norm, k):
    weight, x = drawn(seed, 5, 40), drawn(seed + 50, 3, 4, 40) / 6
    gate = gate_of(moe, weight, num_experts_per_tok=k, norm_topk_prob=norm)
    topk_idx, topk_weight, _ = gate(x)
    for row, token in enumerate(x.flatten(0, 1).tolist()):
        logits = [sum(a * b for a, b in zip(token, w, strict=True)) for w in weight.tolist()]
        scores = softmax(logits)
        best = sorted(range(5), key=scores.__getitem__)[-k:]
        total = sum(scores[expert] for expert in best) if norm and k > 1 else 1.0
        got = dict(zip(topk_idx[row].tolist(), topk_weight[row].tolist(), strict=True))
        assert got == pytest.approx({expert: scores[expert] / total for expert in best})


@BOTH
def test_gradients_are_those_of_finite_differences(moe):
    weight, x = drawn(1, 5, 6), drawn(2, 2, 3, 6)
    for kind, k in (("qwen", 1), ("batch", 2), ("sequence", 2)):
        gate = gate_of(moe, weight, hidden_size=6, num_experts_per_tok=k, aux_loss_kind=kind)

        def routed(weight, x, gate=gate):
            return torch.func.functional_call(gate, {"weight": weight}, (x,))[1:]

        leaves = [weight.clone().requires_grad_(), x.clone().requires_grad_()]
        assert torch.autograd.gradcheck(routed, leaves)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("norm", [True, False])
def test_transformers_routes_and_balances_alike(moe, seed, norm):
    modeling = pytest.importorskip("transformers.models.qwen3_moe.modeling_qwen3_moe")
    from transformers import Qwen3MoeConfig

    weight, x = drawn(seed, 5, 40).float(), drawn(seed + 50, 3, 4, 40).float() / 6
    sizes = {"hidden_size": 40, "num_experts": 5, "num_experts_per_tok": 2}
    router = modeling.Qwen3MoeTopKRouter(Qwen3MoeConfig(**sizes, norm_topk_prob=norm))
    router.load_state_dict({"weight": weight})
    logits, want_weight, want_idx = router(x)
    want_loss = modeling.load_balancing_loss_func((logits,), num_experts=5, top_k=2)
    gate = gate_of(moe, weight, norm_topk_prob=norm).float()
    topk_idx, topk_weight, aux_loss = gate(x)
    empty = torch.zeros(12, 5)
    got = empty.scatter(1, topk_idx, topk_weight)
    torch.testing.assert_close(got, empty.scatter(1, want_idx, want_weight.float()))
    torch.testing.assert_close(aux_loss, 0.3 * want_loss)
