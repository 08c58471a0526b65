"""ex06_flash_attention: facts about attention in tiles, its merges and its gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from grader.observation.cost import CostMeter
from tests.support import time_and_memory


def qkv(rng, *, batch=2, heads=3, queries, keys, width=5, scale=1.0):
    """Random queries, keys and values; with `scale` 3, scores have a standard deviation of 9."""
    return (
        rng.normal(batch, heads, queries, width, scale=scale),
        rng.normal(batch, heads, keys, width, scale=scale),
        rng.normal(batch, heads, keys, width),
    )


def not_wider(lse):
    """An lse that may be float64 where float32 is enough, as the comparison wants it."""
    wide = isinstance(lse, torch.Tensor) and lse.dtype == torch.float64
    return lse.to(torch.get_default_dtype()) if wide else lse


def attended(flash, q, k, v, *blocks, **options):
    """out and lse for each block size, None for the default one."""
    found = {}
    for block in blocks:
        size = {} if block is None else {"block_size": block}
        out, lse = flash.flash_attention(q, k, v, **options, **size)
        name = "by default" if block is None else f"with block_size={block}"
        found |= {f"out {name}": out, f"lse {name}": not_wider(lse)}
    return found


def plain_attention(q, k, v, is_causal):
    """out and lse by the whole matrix of scores, as a right forward pass gives them."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(wide) @ k.to(wide).transpose(-2, -1) * q.shape[-1] ** -0.5
    if is_causal:
        hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(k.shape[2] - q.shape[2] + 1)
        scores = scores.masked_fill(hidden, -math.inf)
    lse = scores.logsumexp(dim=-1)
    weights = (scores - lse.masked_fill(lse == -math.inf, 0.0).unsqueeze(-1)).exp()
    return (weights @ v.to(wide)).to(q.dtype), lse


def gradients(flash, grad_out, q, k, v, *blocks, is_causal):
    """dq, dk and dv for each block size, of a forward pass that is right whatever the answer's."""
    out, lse = plain_attention(q, k, v, is_causal)
    found = {}
    for block in blocks:
        dq, dk, dv = flash.flash_attention_backward(
            grad_out, q, k, v, out, lse, is_causal=is_causal, block_size=block
        )
        name = f"with block_size={block}"
        found |= {f"dq {name}": dq, f"dk {name}": dk, f"dv {name}": dv}
    return found


def hidden_tiles(call, tile):
    """Whether tiles that no query sees are computed, from the FLOPs of both kinds of attention.

    Of 4 x 4 tiles 10 are seen. Who cuts only the keys or only the queries has none to leave out.
    """

    def cost(is_causal):
        with CostMeter() as meter:
            call(is_causal)
        return meter.cost()

    causal, full = cost(True), cost(False)
    cuts_both = causal.largest_elements < tile
    return "computed" if cuts_both and causal.flops > 0.9 * full.flops else "left out"


COUNTED = {
    "again": "it costs the same again, and other tests ask for its numbers",
    "refused": "likewise",
}


def merged(flash, out_a, lse_a, out_b, lse_b):
    out, lse = flash.merge_partials(out_a, lse_a, out_b, lse_b)
    return {"out": out, "lse": not_wider(lse)}


@pytest.mark.weight(2)
def test_merging_weighs_each_side_by_its_share(check, rng):
    """Each side weighs exp(lse) over both sums, also where lse is 1000, -1000 or far apart."""
    shape = 2, 3, 7
    lse_a, lse_b = rng.normal(*shape, scale=1.5), rng.normal(*shape, scale=1.5)
    check(merged, rng.normal(*shape, 5), lse_a, rng.normal(*shape, 5), lse_b)
    near = torch.tensor([1000.0, -1000.0, 95.0, -110.0, 0.0, 60.0, -300.0])
    apart = torch.tensor([0.5, -1.0, 2.0, 0.0, 120.0, -200.0, 1.5])
    lse_a = near + rng.normal(*shape)
    check(merged, rng.normal(*shape, 5), lse_a, rng.normal(*shape, 5), lse_a + apart)


def test_merging_with_no_keys_changes_nothing(check, rng):
    """Where one lse is -inf the result is the other side; where both are, 0 and -inf."""
    shape = 2, 3, 7
    lse_a, lse_b = rng.normal(*shape, scale=3.0), rng.normal(*shape, scale=3.0)
    out_a, out_b = rng.normal(*shape, 5), rng.normal(*shape, 5)
    lse_a[..., 1:3] = lse_b[..., 2:5] = -math.inf
    out_a[..., 2, :] = out_b[..., 2, :] = 0
    check(merged, out_a, lse_a, out_b, lse_b)


def test_merging_widens_half_precision(check, rng):
    """In bfloat16 and float16 partial results are merged in float32, and out is cast once."""
    shape = 2, 3, 7
    # The two sides almost cancel: what rounding one of them or its weight does is large beside it.
    lse_a, apart = rng.normal(*shape), rng.uniform(*shape, low=0.3, high=0.9)
    out_a = rng.uniform(*shape, 5, low=20.0, high=60.0)
    out_b = -out_a * torch.exp(-apart).unsqueeze(-1)
    check(merged, out_a, lse_a, out_b, lse_a + apart, half=("out_a", "out_b"))


@pytest.mark.weight(2)
def test_every_query_attends_to_all_keys(check, rng):
    """Attention is the softmax of q · k / √d over all keys, whatever block_size is; lse its log."""

    def to_all(flash, q, k, v):
        return attended(flash, q, k, v, 3, 4, 5, None, is_causal=False)

    check(to_all, *qkv(rng, queries=7, keys=10, scale=2.0))


@pytest.mark.weight(3)
def test_no_query_looks_ahead(check, rng):
    """By default query s sees the keys 0 … s + T - S: with S < T the earlier ones were cached."""
    check(lambda flash, q, k, v: attended(flash, q, k, v, 3, 4, None), *qkv(rng, queries=9, keys=9))

    def chunks(flash, q, k, v):
        found = attended(flash, q, k, v, 3, 4, 64, is_causal=True)
        one, lse = flash.flash_attention(q[:1, :, -1:], k[:1], v[:1], block_size=3)
        return found | {"out of one query": one, "its lse": not_wider(lse)}

    check(chunks, *qkv(rng, queries=4, keys=11))


def test_queries_before_the_first_key_get_zeros(check, rng):
    """With S > T the first S - T queries see no key: out is 0 and lse is -inf, without NaN."""
    check(lambda flash, q, k, v: attended(flash, q, k, v, 2, 3, 64), *qkv(rng, queries=9, keys=4))


def steered(rng, heights, *, queries, spread=0.5, width=6):
    """q, k and v whose scores are `heights` [queries or 1, keys], and random ones of `spread`.

    One feature carries the heights, so that rounding q and k moves them as little as possible.
    """
    q, k, v = qkv(rng, queries=queries, keys=heights.shape[-1], width=width, scale=spread)
    rows = heights.expand(queries, -1)
    # Each row of heights is the first one times a number.
    ratio = rows[:, 0] / rows[0, 0]
    q[..., 0], k[..., 0] = ratio * width**0.5, rows[0]
    return q, k, v


@pytest.mark.weight(2)
def test_sums_are_corrected_when_the_maximum_moves(check, rng):
    """Scores may rise, fall or jump from tile to tile, by much: the running maximum follows."""
    # The scores of the last tile decide, or those of the first, or of one in the middle.
    rising = torch.arange(1.0, 11.0) * 2
    jumping = torch.tensor([1.0, 2.0, 90.0, 91.0, 89.5, 3.0, 200.0, 199.0, 201.0, -20.0])

    def moving(flash, rising, falling, jumping):
        cases = {"rising": rising, "falling": falling, "jumping": jumping}
        found = {}
        for name, case in cases.items():
            for what, value in attended(flash, *case, 2, 3, is_causal=False).items():
                found[f"{what}, {name}"] = value
        return found

    cases = (steered(rng, h, queries=4) for h in (rising, rising.flip(0), jumping))
    check(moving, *cases)


@pytest.mark.weight(2)
def test_scores_far_from_zero(check, rng):
    """Scores of 500, of -500 and of -200000 are treated as those around 0, row by row."""
    # With S < T the diagonal cuts through more tiles, in which some rows see nothing.
    level = torch.full((1, 10), 500.0)
    # Every other query has its scores on the other side of zero.
    both = torch.where(torch.arange(9) % 2 == 0, 1.0, -1.0)[:, None] * level

    def shifted(flash, near, far):
        found = attended(flash, *near, 2, 4, None)
        # So far below that the best key takes all.
        for what, value in attended(flash, *far, 2, 3).items():
            found[f"{what}, far below"] = value
        return found

    steps = rng.permutation(9) + 1.0
    far = steered(rng, -1e5 - 3e4 * steps[None], queries=8, spread=0.01)
    check(shifted, steered(rng, both, queries=9), far)


def test_hidden_keys_are_as_if_they_were_not_there(check, rng):
    """A later key has no weight and is no maximum, however far its score is above the visible."""
    heights = torch.linspace(-400.0, 400.0, 9)[None]  # each later key is 100 above the last

    def visible(flash, q, k, v):
        return attended(flash, q, k, v, 2, 4, None)

    check(visible, *steered(rng, heights, queries=9))
    # Before the first key, hidden scores are all there is.
    check(visible, *steered(rng, heights[:, 3:7] + 150.0, queries=7))


@pytest.mark.weight(2)
def test_sums_are_kept_in_float32(check, rng):
    """In bfloat16 and float16 scores, maximum and sums are kept in float32; out has q's dtype."""
    signs = rng.integers(0, 2, 1, 2, 1, 256) * 2.0 - 1

    # Scores are exact in half precision, and their distances from the largest, which is the first
    # key's, are not.
    def keys(largest, start, count, kinds=8):
        steps = -start - rng.integers(0, kinds, 1, 2, count, 1) / 4
        return signs * torch.cat((torch.full((1, 2, 1, 1), largest), steps), dim=2) / 16

    # Where the first key's value is 0, only the rest is left to see. In `drops` the others weigh so
    # little, each by itself, that a sum in half precision misses them.
    def small(flash, q, far, near, drops, rest, v):
        cases = {"far": (far, rest, 3), "near": (near, rest, 3), "drop by drop": (drops, v, 1)}
        found = {}
        for name, (k, values, block) in cases.items():
            given = attended(flash, q, k, values, block, is_causal=False)
            found |= {f"{what}, {name}": value for what, value in given.items()}
        return found

    v = -rng.uniform(1, 2, 49, 256, low=1.0, high=2.0)
    v[:, :, 0] *= -1
    rest = v[:, :, :9].clone()
    rest[:, :, 0] = 0
    inputs = signs.clone(), keys(6.0625, 10.0, 8), keys(2 + 1 / 256, 6.0, 8), keys(1.0, 5.25, 48, 2)
    casts = ("q", "far", "near", "drops", "rest", "v")
    check(small, *inputs, rest, v, half=casts, matmul=True)


@pytest.mark.weight(2)
def test_no_matrix_of_all_scores_is_made(check, rng):
    """With S = T = 16 blocks, what is alive at one time stays below S · T elements."""
    q, k, v = qkv(rng, batch=1, heads=1, queries=64, keys=64, width=3)

    def in_blocks_of_4(flash, q, k, v):
        return attended(flash, q, k, v, 4)

    check(in_blocks_of_4, q, k, v, peak_elements=64 * 64 - 1, without=COUNTED)


def test_tiles_that_no_query_sees_are_left_out(observe, rng):
    """With is_causal, a tile of queries and keys in which all is hidden is not computed."""
    q, k, v = qkv(rng, batch=1, heads=1, queries=16, keys=16, width=2)
    grad_out = rng.normal(1, 1, 16, 2)

    def forward(flash, q, k, v):
        def call(is_causal):
            flash.flash_attention(q, k, v, is_causal=is_causal, block_size=4)

        return {"tiles": hidden_tiles(call, 16 * 4)}

    found = observe(forward, q, k, v, without=COUNTED)["tiles"]
    assert found == "left out", "flash_attention computes tiles in which every key is hidden"

    def backward(flash, grad_out, q, k, v, out, lse):
        def call(is_causal):
            options = {"is_causal": is_causal, "block_size": 4}
            flash.flash_attention_backward(grad_out, q, k, v, out, lse, **options)

        return {"tiles": hidden_tiles(call, 16 * 4)}

    given = grad_out, q, k, v, *plain_attention(q, k, v, True)
    found = observe(backward, *given, without=COUNTED)["tiles"]
    told = "flash_attention_backward computes tiles in which every key is hidden"
    assert found == "left out", told


@pytest.mark.weight(4)
def test_gradients_are_those_of_attention(check, rng):
    """The gradients of q, k and v, for any S, T and block_size; 0 for a query that sees no key."""

    def both(flash, grad_out, q, k, v):
        found = {}
        for is_causal in (False, True):
            given = gradients(flash, grad_out, q, k, v, 3, 4, 64, is_causal=is_causal)
            found |= {f"{name}, is_causal={is_causal}": x for name, x in given.items()}
        return found

    check(both, rng.normal(2, 3, 7, 5), *qkv(rng, queries=7, keys=10, scale=1.5))

    def causal(flash, grad_out, q, k, v):
        prompt = gradients(flash, grad_out, q, k, v, 3, 4, is_causal=True)
        few = k[:, :, :4], v[:, :, :4]
        short = gradients(flash, grad_out, q, *few, 2, 3, 64, is_causal=True)
        return prompt | {f"{name}, S > T": value for name, value in short.items()}

    check(causal, rng.normal(2, 3, 9, 5), *qkv(rng, queries=9, keys=9))


def test_gradients_of_scores_far_from_zero(check, rng):
    """Weights are computed from lse without overflow; hidden keys get no gradient."""
    both = torch.where(torch.arange(9) % 2 == 0, 1.0, -1.0)[:, None] * torch.full((1, 9), 300.0)
    heights = torch.linspace(-400.0, 400.0, 9)[None]

    def far(flash, grad_out, level, rising):
        found = gradients(flash, grad_out, *level, 2, 4, is_causal=False)
        hidden = gradients(flash, grad_out, *rising, 2, 4, is_causal=True)
        return found | {f"{name}, hidden keys above": value for name, value in hidden.items()}

    level, rising = steered(rng, both, queries=9), steered(rng, heights, queries=9)
    check(far, rng.normal(2, 3, 9, 6), level, rising)


@pytest.mark.weight(2)
def test_gradients_are_added_up_in_float32(check, rng):
    """In bfloat16 and float16 each gradient is a sum in float32, cast once to its own dtype."""
    few, many = 2, 64

    # Of many tiles the first one gives most of the sum, and the others so little each that a sum in
    # half precision misses them.
    def drops(flash, many_keys, many_queries):
        keys = gradients(flash, *many_keys, 1, is_causal=False)
        queries = gradients(flash, *many_queries, 1, is_causal=False)
        found = {f"{name}, many keys": value for name, value in keys.items()}
        return found | {f"{name}, many queries": value for name, value in queries.items()}

    # The first key has a fifth of the weight, and its gradient is opposed to that of all others.
    q, k, v = qkv(rng, batch=1, heads=2, queries=1, keys=many, width=4, scale=0.5)
    grad_out = rng.uniform(1, 2, 1, 4, low=1.0, high=2.0)
    v = rng.uniform(1, 2, many, 4, low=0.8, high=1.2)
    v[:, :, 0] *= -1
    q[..., 0], k[..., 0] = 0.75, rng.uniform(1, 2, many, low=0.6, high=0.8)
    k[:, :, 0, 0] = 8.0
    many_keys = grad_out, q, k, v

    # All queries pull at both keys in one direction.
    q, k, v = qkv(rng, batch=1, heads=2, queries=many, keys=few, width=4, scale=0.5)
    q[..., 0], k[..., 0] = rng.uniform(1, 2, many, low=0.8, high=1.2), 0.5
    v = rng.uniform(1, 2, few, 4, low=0.8, high=1.2)
    v[:, :, 1] *= -1
    grad_out = rng.uniform(1, 2, many, 4, low=0.15, high=0.25)
    grad_out[:, :, 0] = rng.uniform(1, 2, 4, low=100.0, high=160.0)
    check(drops, many_keys, (grad_out, q, k, v), half=("many_keys", "many_queries"), matmul=True)


@pytest.mark.weight(2)
def test_gradients_need_no_matrix_of_all_scores(check, rng):
    """In the backward pass, too, less than S · T elements are alive at one time."""
    q, k, v = qkv(rng, batch=1, heads=1, queries=64, keys=64, width=3)

    def in_blocks_of_4(flash, grad_out, q, k, v, out, lse):
        dq, dk, dv = flash.flash_attention_backward(
            grad_out, q, k, v, out, lse, is_causal=True, block_size=4
        )
        return {"dq": dq, "dk": dk, "dv": dv}

    given = rng.normal(1, 1, 64, 3), q, k, v, *plain_attention(q, k, v, True)
    check(in_blocks_of_4, *given, peak_elements=64 * 64 - 1, without=COUNTED)


def manual_attention(q, k, v):
    """What everybody writes first: all scores, all weights."""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -math.inf).softmax(dim=-1) @ v


@pytest.mark.timeout(300)  # a limit for the hung, no verdict on the slow
@pytest.mark.parametrize("kind", ["manual", "yours", "torch"])
@pytest.mark.parametrize("tokens", [128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
def test_time_and_memory(benchmark, answer, device, backward, dtype, tokens, kind):
    """Manual attention, yours and F.scaled_dot_product_attention, side by side."""
    q, k, v, grad_out = (torch.randn(1, 2, tokens, 64).to(device, dtype) for _ in range(4))
    block = min(256, tokens)

    def yours():
        out, lse = answer.flash_attention(q, k, v, block_size=block)
        if backward:
            answer.flash_attention_backward(
                grad_out, q, k, v, out, lse, is_causal=True, block_size=block
            )

    def by_autograd(attention):
        leaves = [x.detach().requires_grad_(backward) for x in (q, k, v)]
        out = attention(*leaves)
        if backward:
            torch.autograd.grad(out, leaves, grad_out)

    def run():
        if kind == "yours":
            with torch.no_grad():
                yours()
        elif kind == "manual":
            by_autograd(manual_attention)
        else:
            by_autograd(lambda *qkv: F.scaled_dot_product_attention(*qkv, is_causal=True))

    time_and_memory(
        benchmark, run, device, backward=backward, dtype=dtype, tokens=tokens, kind=kind
    )
