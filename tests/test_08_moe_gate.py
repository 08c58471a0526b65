"""ex08_moe_gate: facts about the router of a mixture of experts and its balance losses."""

import torch
from torch.nn import functional as F

from minimind_ref.config import MiniMindConfig
from tests.support import run

UNLOVED = 2
"""The expert that nobody chooses."""


def config(**changes):
    return MiniMindConfig.tiny(**({"router_aux_loss_coef": 0.3} | changes))


def some_coefficient(rng):
    return round(float(rng.uniform(1, low=0.2, high=0.7)), 3)


def choices_of(rng, sequences, tokens, k=2, experts=5):
    """What tokens choose, without a pattern: [sequences, tokens, k].

    Each sequence loads other experts, and one besides UNLOVED is seldom chosen in each.
    """
    liking = rng.uniform(sequences, tokens, experts)
    others = [expert for expert in range(experts) if expert != UNLOVED]
    for sequence, shunned in enumerate(rng.permutation(len(others))[:sequences].tolist()):
        liking[sequence, :, others[shunned]] -= 0.6
    liking[..., UNLOVED] = -1.0
    return liking.topk(k).indices


def logits_for(rng, choices, experts=5):
    """Random router logits that lead to these choices, all of them far from a tie."""
    best = F.one_hot(choices, experts).sum(dim=-2).bool()
    high = rng.uniform(*best.shape, low=0.3, high=1.5)
    low = rng.uniform(*best.shape, low=-1.5, high=-0.3)
    return torch.where(best, high, low)


def tokens_for(rng, logits, weight):
    """Random tokens to which a router with this weight gives these logits."""
    x = rng.normal(*logits.shape[:-1], weight.shape[1])
    return x + (logits - x @ weight.T) @ torch.linalg.pinv(weight).T


def router_and_tokens(rng, choices):
    """The weights of a router of 5 experts, and tokens that make these choices."""
    weight = rng.normal(5, 40)
    return {"weight": weight}, tokens_for(rng, logits_for(rng, choices), weight)


def routed(moe, weights, x, **changes):
    """Where a router with these weights sends x; the k experts of a token in rising order."""
    topk_idx, topk_weight, _ = run(moe.MoEGate(config(**changes)), weights, x)
    return in_order(topk_idx, topk_weight)


def in_order(topk_idx, topk_weight):
    if not topk_idx.is_floating_point():
        topk_idx = topk_idx.long()
    if topk_idx.shape == topk_weight.shape:
        topk_idx, order = topk_idx.sort(dim=-1)
        topk_weight = topk_weight.gather(-1, order)
    return {"topk_idx": topk_idx, "topk_weight": topk_weight}


def batches_for(rng, *lengths):
    """The weights of a router, and batches of three sequences, each of its own length."""
    weight = rng.normal(5, 40)
    choices = [choices_of(rng, 3, tokens) for tokens in lengths]
    return {"weight": weight}, [tokens_for(rng, logits_for(rng, c), weight) for c in choices]


def aux_losses(moe, weights, batches, **changes):
    """The losses that one router gives for one batch after the other."""
    gate = moe.MoEGate(config(**changes))
    return stacked([run(gate, weights, x)[2] for x in batches])


def stacked(losses):
    """The losses in one tensor; the first alone if it is none."""
    return torch.stack(losses) if isinstance(losses[0], torch.Tensor) else losses[0]


def rounded(value):
    """The numbers to 4 digits after the point; NaN, which equals nothing, becomes None."""
    return [None if n != n else round(n, 4) for n in value.flatten().tolist()]


def test_batch_loss_weighs_shares_with_scores(check, rng):
    """batch_aux_loss is E · Σ f·P over all tokens, also where experts are never chosen."""

    def losses(moe, scores, topk_idx):
        pairs = zip(scores, topk_idx, strict=True)
        return {"losses": stacked([moe.batch_aux_loss(*pair) for pair in pairs])}

    topk_idx = torch.stack([choices_of(rng, 1, 7, experts=5)[0] for _ in range(9)])
    check(losses, rng.normal(9, 7, 5).softmax(dim=-1), topk_idx, grad=("scores",))


def test_sequence_loss_is_taken_per_sequence(check, rng):
    """sequence_aux_loss has shares and mean scores per sequence, and averages the losses."""

    def losses(moe, scores, topk_idx):
        pairs = zip(scores, topk_idx, strict=True)
        return {"losses": stacked([moe.sequence_aux_loss(*pair) for pair in pairs])}

    # Of 6 experts nobody chooses the last and one in the middle.
    topk_idx = torch.stack([choices_of(rng, 3, 4) for _ in range(9)])
    check(losses, (2 * rng.normal(9, 3, 4, 6)).softmax(dim=-1), topk_idx, grad=("scores",))


def test_qwen_loss_is_k_times_the_batch_loss(check, rng):
    """qwen_aux_loss counts each of a token's k experts in full: k times batch_aux_loss."""

    def losses(moe, scores, topk_idx):
        pairs = zip(scores, topk_idx, strict=True)
        return {"losses": stacked([moe.qwen_aux_loss(*pair) for pair in pairs])}

    # Of 7 experts nobody chooses the last and one in the middle.
    topk_idx = torch.stack([choices_of(rng, 1, 8, 3, experts=6)[0] for _ in range(9)])
    check(losses, rng.normal(9, 8, 7).softmax(dim=-1), topk_idx, grad=("scores",))


def test_losses_are_computed_in_float32(check, rng):
    """Scores in half precision are widened, and the losses stay in float32."""
    # Almost balanced: the distance from 1 is small, and what rounding to half precision does is
    # large beside it.
    topk_idx = torch.tensor([[0, 1], [2, 3], [1, 2], [3, 0], [1, 3]]).repeat(3, 2, 1)

    def beyond_balance(moe, scores, topk_idx):
        flat = topk_idx.flatten(0, 1)
        batch = [moe.batch_aux_loss(each.flatten(0, 1), flat) for each in scores]
        sequence = [moe.sequence_aux_loss(each, topk_idx) for each in scores]
        qwen = [moe.qwen_aux_loss(each.flatten(0, 1), flat) for each in scores]
        return {
            "batch - 1": stacked(batch) - 1,
            "sequence - 1": stacked(sequence) - 1,
            "qwen - 2": stacked(qwen) - 2,
        }

    def of_many(moe, scores, topk_idx):
        return {
            "batch of many - 1": moe.batch_aux_loss(scores, topk_idx) - 1,
            "sequence of many - 1": moe.sequence_aux_loss(scores[None], topk_idx[None]) - 1,
            "qwen of many - 2": moe.qwen_aux_loss(scores, topk_idx) - 2,
        }

    scores = rng.normal(12, 3, 10, 4).softmax(dim=-1)
    # Near 2 the numbers of float32 are 2.4e-7 apart.
    allowed = dict.fromkeys(("batch - 1", "sequence - 1", "qwen - 2"), 2.5e-6)
    check(beyond_balance, scores, topk_idx, half=("scores",), allowed=allowed)
    # 257 choices of each expert: there is no such number in bfloat16.
    topk_idx = torch.tensor([[0, 1], [2, 3]]).repeat(257, 1)[rng.permutation(514)]
    scores = rng.normal(514, 4).softmax(dim=-1)
    # Near 1 a sum of so many is known to a few 1e-6 in float32, whatever its order.
    names = ("batch of many - 1", "sequence of many - 1", "qwen of many - 2")
    check(of_many, scores, topk_idx, half=("scores",), allowed=dict.fromkeys(names, 1e-5))


def test_the_router_starts_with_a_random_weight(check):
    """The router has one parameter, weight [E, C], which starts with random numbers."""

    def start(moe):
        gate, other = moe.MoEGate(config()), moe.MoEGate(config())
        weight = gate.state_dict().get("weight", torch.zeros(5, 40))
        others = other.state_dict().get("weight", torch.zeros(5, 40))
        return {
            "parameters": {name: list(value.shape) for name, value in gate.named_parameters()},
            "state dict": list(gate.state_dict()),
            "most numbers are different": weight.unique().numel() > weight.numel() // 2,
            "two routers start alike": torch.equal(weight, others),
        }

    check(start, draws=True)


def test_tokens_go_to_the_best_experts(check, rng):
    """Each token gets the k experts of its largest scores, weighed so that they sum to 1."""
    weights, x = router_and_tokens(rng, choices_of(rng, 3, 7))

    def layout(moe, weights, x):
        return routed(moe, weights, x.transpose(0, 1))

    check(layout, weights, x.transpose(0, 1).contiguous(), grad=True, draws=True)


def test_a_single_expert_keeps_its_score(check, rng):
    """With k = 1 the weight is the score itself, so that the router has a gradient."""
    weights, x = router_and_tokens(rng, choices_of(rng, 3, 5, 1))

    def single(moe, weights, x):
        return routed(moe, weights, x, num_experts_per_tok=1, norm_topk_prob=True)

    check(single, weights, x, grad=True, draws=True)


def test_weights_are_left_alone_without_norm_topk_prob(check, rng):
    """Without norm_topk_prob the weights are the scores, whatever k is."""
    weights, x = router_and_tokens(rng, choices_of(rng, 2, 5, 3))

    def raw(moe, weights, x):
        return routed(moe, weights, x, num_experts_per_tok=3, norm_topk_prob=False)

    check(raw, weights, x, grad=True, draws=True)


def test_each_kind_of_loss_can_be_asked_for(check, rng):
    """aux_loss is of the kind aux_loss_kind, times router_aux_loss_coef, and has a gradient."""

    def by_kind(moe, weights, batches, coefficient):
        def losses(kind):
            changes = {"aux_loss_kind": kind, "router_aux_loss_coef": coefficient}
            return aux_losses(moe, weights, batches, **changes)

        return {kind: losses(kind) for kind in ("qwen", "batch", "sequence")}

    def without_gradients(moe, weights, batches, coefficient):
        with torch.no_grad():
            return by_kind(moe, weights, batches, coefficient)

    # Batches as long as a multiple of the three sequences, and others.
    inputs = *batches_for(rng, 6, 7, 9, 5, 4), some_coefficient(rng)
    check(by_kind, *inputs, grad=True, draws=True)
    check(without_gradients, *inputs, draws=True)


def test_padding_counts(check, rng):
    """A token of zeros, as padding may be, is weighed and counted like every other."""
    weights, batches = batches_for(rng, 6, 6, 6, 6)
    coefficient = some_coefficient(rng)
    x = torch.stack(batches)
    x[:, 0, 4:] = x[:, 2, 1:] = 0.0

    # All scores of such a token are equal, so that it is free which experts it gets: the loss is
    # compared with that of the choices the answer made. Their ratio needs no more than 4 digits.
    def with_padding(moe, weights, x, coefficient):
        gate = moe.MoEGate(config(aux_loss_kind="batch", router_aux_loss_coef=coefficient))
        padding, ratios, beside = [], [], {}
        for batch in x:
            topk_idx, topk_weight, aux_loss = run(gate, weights, batch)
            scores = (batch @ weights["weight"].T).softmax(dim=-1).flatten(0, 1)
            choices = topk_idx.long().reshape(len(scores), -1)
            loss_of_all = coefficient * moe.batch_aux_loss(scores, choices)
            padding.append(rounded(topk_weight.reshape(len(scores), -1)[4:6]))
            ratios.append(rounded(aux_loss / loss_of_all))
            beside = in_order(topk_idx[:4], topk_weight[:4])
        found = {"topk_weight of padding": padding, "aux_loss over that of all tokens": ratios}
        return found | {f"{name} of the tokens before it": beside[name] for name in beside}

    check(with_padding, weights, x, coefficient, draws=True)


def test_evaluation_routes_without_a_loss(check, rng):
    """In eval a single token is routed as in training, and aux_loss is a float32 tensor 0."""
    weights, x = router_and_tokens(rng, choices_of(rng, 1, 1))

    def decoded(moe, weights, x):
        topk_idx, topk_weight, aux_loss = run(moe.MoEGate(config()).eval(), weights, x)
        return in_order(topk_idx, topk_weight) | {"aux_loss": aux_loss}

    check(decoded, weights, x, half=("x",), draws=True)


def test_logits_and_scores_are_computed_in_float32(check, rng):
    """Half-precision x is multiplied by the unrounded weight; only the weights are cast back."""
    # A large part common to all experts leaves the scores alone, unless the logits are rounded.
    weight = rng.normal(1, 40) + 0.3 * rng.normal(5, 40)
    x = tokens_for(rng, 100 + logits_for(rng, choices_of(rng, 3, 9)), weight)

    def in_training(moe, weights, x):
        return routed(moe, weights, x) | {"aux_loss": aux_losses(moe, weights, x.split(1))}

    def single(moe, weights, x):
        return routed(moe, weights, x, num_experts_per_tok=1)

    check(in_training, {"weight": weight}, x, half=("x",), draws=True)
    # Two experts are liked best, one a ten thousandth more than the other: the sign of the first
    # feature says which. Scores in half precision are equal then.
    weight = rng.normal(5, 40)
    weight[:, 0] = 0.0
    weight[3] = weight[1]
    logits = rng.uniform(3, 9, 5, low=-1.5, high=-0.3)
    logits[..., 1] = logits[..., 3] = rng.uniform(3, 9, low=0.3, high=1.5)
    x = tokens_for(rng, logits, weight)
    x[..., 0] = 2.0 * rng.integers(0, 2, 3, 9) - 1.0
    weight[3, 0] = 1e-4
    check(single, {"weight": weight}, x, half=("x",), draws=True)


def test_weights_are_divided_before_they_are_cast(check, rng):
    """A router of half precision divides its weights in float32: their gradients are exact."""
    experts = 96
    # One expert has half of the probability, one a hundredth, and many are close behind it: the
    # gradient is a small difference of large numbers.
    logits = rng.uniform(4, 7, experts, low=-5.3, high=-4.9)
    logits[..., 17], logits[..., 60] = 0.0, -4.5

    def divided(moe, weights, x):
        return routed(moe, weights, x, num_experts=experts, hidden_size=experts)["topk_weight"]

    weights = {"weight": torch.eye(experts)}
    check(divided, weights, logits, grad=("x",), half=("weights", "x"), draws=True)
