"""ex04_gqa: facts about grouped-query attention."""

import torch


def attended(gqa, q, k, v):
    return gqa.grouped_attention(q, k, v, is_causal=True)


def attended_to_all(gqa, q, k, v):
    return gqa.grouped_attention(q, k, v, is_causal=False)


def qkv(rng, *, batch=2, queries, keys, heads=6, kv_heads=3, width=16, scale=1.0):
    """Random q [B, S, H, d], k and v [B, T, K, d]; `scale` makes the scores larger."""
    q = rng.normal(batch, queries, heads, width, scale=scale)
    k = rng.normal(batch, keys, kv_heads, width)
    return q, k, rng.normal(batch, keys, kv_heads, width)


def test_repeat_kv_puts_the_copies_of_a_head_side_by_side(check, rng):
    """repeat_kv gives query head h the key/value head h // n_rep: a, a, b, b, not a, b, a, b."""

    def repeated(gqa, x):
        return {"n_rep=2": gqa.repeat_kv(x, 2), "n_rep=4": gqa.repeat_kv(x, 4)}

    check(repeated, rng.normal(2, 5, 3, 8), grad=True)


def test_repeat_kv_takes_any_layout_and_one_copy(check, rng):
    """repeat_kv takes transposed keys too, keeps their dtype, and n_rep = 1 changes nothing."""

    def repeated(gqa, x):
        return {
            "n_rep=1": gqa.repeat_kv(x, 1),
            "transposed": gqa.repeat_kv(x.transpose(1, 2), 2),
        }

    check(repeated, rng.normal(2, 5, 3, 8), half=("x",))


def test_every_query_head_attends_with_the_keys_and_values_of_its_group(check, rng):
    """Query head h reads key/value head h // (H / K), for any K; scores are divided by sqrt(d)."""

    def extremes(gqa, q, k, v):
        return {
            "K = 1": attended(gqa, q, k[:, :, :1], v[:, :, :1]),
            "K = H": attended(gqa, q[:, :, :3], k, v),
            "B = S = 1": attended(gqa, q[:1, :1], k[:1], v[:1]),
        }

    check(extremes, *qkv(rng, queries=4, keys=7))
    check(attended_to_all, *qkv(rng, queries=4, keys=7), grad=True)


def test_queries_see_no_later_keys(check, rng):
    """With S = T query s sees keys 0 … s, whichever head of the group it is in."""
    check(lambda gqa, q, k, v: gqa.grouped_attention(q, k, v), *qkv(rng, queries=5, keys=5))


def test_the_last_query_stands_with_the_last_key(check, rng):
    """With S < T query s sees keys 0 … s + T - S: the earlier keys come from a cache."""
    check(attended, *qkv(rng, queries=5, keys=11), grad=True)


def test_queries_before_the_first_key_give_zeros(check, rng):
    """With S > T the first S - T queries see no key: zeros, and all gradients are finite."""
    check(attended, *qkv(rng, queries=7, keys=4), grad=True)


def test_transposed_layouts(check, rng):
    """Queries, keys and values may be transposed views, whose heads come first in memory."""

    def transposed_queries(gqa, q, k, v):
        return attended(gqa, q.transpose(1, 2), k, v)

    def transposed_keys_and_values(gqa, q, k, v):
        return attended(gqa, q, k.transpose(1, 2), v.transpose(1, 2))

    q, k, v = qkv(rng, queries=4, keys=7)
    heads_first = [x.transpose(1, 2).contiguous() for x in (q, k, v)]
    check(transposed_queries, heads_first[0], k, v)
    check(transposed_keys_and_values, q, *heads_first[1:])


def test_large_scores_neither_overflow_nor_vanish(check, rng):
    """Scores of several hundred, above and below zero, are treated as exactly as small ones."""
    q, k, v = qkv(rng, queries=4, keys=7, scale=12.0)
    ones = torch.ones(1, 1, 1, 16)

    def shifted(gqa, q, k, v, by):
        return {
            "above": attended(gqa, q + by, k + by, v),
            "below": attended(gqa, q - by, k + by, v),
        }

    check(shifted, q, k, v, 6 * ones)


def test_half_precision_is_widened_for_the_softmax(check, rng):
    """In bfloat16 and float16 the softmax runs in float32; results and gradients have q's dtype."""
    signs = rng.integers(0, 2, 2, 1, 2, 256) * 2.0 - 1

    # Scores are exact in half precision and their distances from the largest are not. The largest
    # one's value is 0, so that only the rest is left to see: rounded, it moves by 6 % and by 0.4 %.
    def keys(largest, start):
        steps = -start - rng.integers(0, 8, 2, 8, 2, 1) / 4
        return signs * torch.cat((torch.full((2, 1, 2, 1), largest), steps), dim=1) / 16

    def small(gqa, q, far, near, v):
        return {"far": attended_to_all(gqa, q, far, v), "near": attended_to_all(gqa, q, near, v)}

    q = signs.repeat_interleave(3, dim=2).expand(2, 4, 6, 256).clone()
    v = rng.uniform(2, 9, 2, 256, low=1.0, high=2.0)
    v[:, 0] = 0
    inputs = q, keys(6.0625, 10.0), keys(2 + 1 / 256, 6.0), v
    check(small, *inputs, half=("q", "far", "near", "v"), matmul=True)

    q, k, v = qkv(rng, queries=4, keys=9, scale=2.0)
    check(attended, q, k, v, half=("q", "k", "v"), matmul=True, grad=True)


def test_keys_and_values_are_not_repeated_in_memory(check, rng):
    """One query (B = S = 1) makes fewer than T·H·d new elements: keys and values stay K heads."""
    heads, keys, width = 12, 32, 16
    q, k, v = qkv(rng, batch=1, queries=1, keys=keys, heads=heads, kv_heads=3, width=width)
    repeated = keys * heads * width
    # Keys and values repeated at the same time break even this, and are named by it.
    below = {"views": "the check below asks the same"}
    check(attended, q, k, v, peak_elements=repeated * 3 // 2, without=below)
    check(attended, q, k, v, peak_elements=repeated - 1)
