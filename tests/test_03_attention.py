"""ex03_attention: facts about scaled dot-product attention."""

import torch

from tests.support import refusal


def qkv(rng, batch, heads, queries, keys, dim, scale=1.0):
    """Queries, keys and values; with `scale` 3, scores have a standard deviation of 9."""
    return (
        rng.normal(batch, heads, queries, dim, scale=scale),
        rng.normal(batch, heads, keys, dim, scale=scale),
        rng.normal(batch, heads, keys, dim),
    )


def causal(attention, q, k, v):
    return attention.attention(q, k, v)


def padded(attention, q, k, v, mask):
    return attention.attention(q, k, v, is_causal=False, attention_mask=mask)


def causal_and_padded(attention, q, k, v, mask):
    return attention.attention(q, k, v, attention_mask=mask)


def test_softmax_runs_along_any_axis(check, rng):
    """softmax makes every slice along the axis asked for, the last by default, sum to one."""

    def along(attention, x):
        return {
            "softmax(x)": attention.softmax(x),
            "softmax(x, 0)": attention.softmax(x, 0),
            "softmax(x, dim=-2)": attention.softmax(x, dim=-2),
        }

    check(along, rng.normal(3, 5, 4, scale=2), grad=True)


def test_softmax_is_the_same_far_from_zero(check, rng):
    """softmax neither overflows at scores of 1000 nor vanishes at -1000, each slice by itself."""
    near = rng.normal(4, 6)

    def along(attention, shifted, spread):
        return {
            "shifted": attention.softmax(shifted),
            "shifted, dim=0": attention.softmax(shifted.T, dim=0),
            "spread": attention.softmax(spread, dim=1),
        }

    shifted = near + torch.tensor([1000.0, -1000.0, 0.0, 40.0])[:, None]
    spread = near + torch.tensor([0.0, 300.0, -400.0, 298.5, -20.0, -7.0])
    check(along, shifted, spread, grad=True)

    # The largest of each slice takes all: so far apart, rounding the inputs changes nothing.
    steps = torch.stack([rng.permutation(7) + 1.0 for _ in range(5)])
    far = -steps * torch.tensor([2e4, 3e5, 7e6, 4e9, 5e12])[:, None]
    check(lambda attention, far: attention.softmax(far), far)


def test_minus_infinity_gets_no_weight(check, rng):
    """An entry of -inf gets weight 0 and a gradient of 0; the others share the rest."""
    x = rng.normal(5, 7)
    x[0, 1:] = x[1, :3] = x[2:4, 5] = x[4, 0] = -torch.inf
    check(lambda attention, x: attention.softmax(x), x, grad=True)


def test_softmax_widens_half_precision(check, rng):
    """softmax computes bfloat16 and float16 in float32 and casts the result back once."""

    # A difference of 16.0625 does not fit bfloat16, one of 8.00390625 does not fit float16: both
    # operands do. Rounded, it moves all the weights beside the largest by 6 % and by 0.4 %.
    def below(largest, start):
        steps = -start - rng.integers(0, 8, 6, 40) / 4
        return torch.cat((torch.full((6, 1), largest), steps), dim=1)

    def small(attention, far, near):
        return {"far": attention.softmax(far)[:, 1:], "near": attention.softmax(near)[:, 1:]}

    check(small, below(6.0625, 10.0), below(2 + 1 / 256, 6.0), half=("far", "near"))

    # The sum is 1 and some nine tenths of half the gap to the next number in bfloat16 or float16:
    # rounded to the 1, it makes all weights too large, which shows in their mean error.
    def beside_one(rest):
        logits = (rest / 6 * rng.uniform(64, 6, low=0.8, high=1.2)).log()
        return torch.cat((torch.zeros(64, 1), logits), dim=1)

    def summed(attention, bfloat16, float16):
        return {
            "of a sum near 1": attention.softmax(bfloat16)[:, 1:],
            "of a sum nearer to 1": attention.softmax(float16)[:, 1:],
        }

    check(summed, beside_one(0.9 / 256), beside_one(0.9 / 2048), half=("bfloat16", "float16"))


def test_causal_mask_ends_at_the_last_key(check, rng):
    """causal_mask is True where the key is not later, the last query standing at the last key."""
    few, many = int(rng.integers(2, 5, 1)), int(rng.integers(6, 10, 1))
    sizes = ((many, many), (few, many), (1, many), (many, few))

    def masks(attention, sizes):
        return {f"causal_mask{size}": attention.causal_mask(*size) for size in map(tuple, sizes)}

    check(masks, sizes)


def test_every_query_gets_its_mean_of_all_values(check, rng):
    """Each query gets the mean of all values, weighted by softmax(q · k / √d), in any layout."""

    def transposed(attention, q, k, v):
        heads_first = [x.transpose(1, 2) for x in (q, k, v)]
        return attention.attention(*heads_first, is_causal=False)

    q, k, v = (rng.normal(2, positions, 3, 12) for positions in (5, 7, 7))
    check(transposed, q, k, v, grad=True)


def test_no_query_looks_ahead(check, rng):
    """By default a query sees the keys up to its own: of a whole prompt, or after cached keys."""

    def prompt_and_chunk(attention, q, k, v):
        return {
            "a prompt (S = T)": attention.attention(q, k, v),
            "a chunk (S < T)": attention.attention(q[:, :, 2:], k, v, is_causal=True),
        }

    check(prompt_and_chunk, *qkv(rng, 2, 4, 5, 5, 12, scale=3), grad=True)

    # A mask may be kept, but one that was first made in inference mode must not end a training.
    # No other test asks for these sizes, so that nothing is kept of them yet.
    def trained_afterwards(attention, q, k, v):
        with torch.inference_mode():
            attention.attention(q, k, v)
        return attention.attention(q, k, v)

    check(trained_afterwards, *qkv(rng, 1, 2, 9, 11, 8), grad=True)


def test_one_new_token_sees_everything(check, rng):
    """A single new token (B = S = 1) sees every key."""
    check(causal, *qkv(rng, 1, 3, 1, 6, 8), grad=True)


def test_queries_before_the_first_key_get_zeros(check, rng):
    """With S > T the first S - T queries see no key: zeros, and finite gradients everywhere."""
    check(causal, *qkv(rng, 2, 3, 7, 4, 16), grad=True, half=("q", "k", "v"), matmul=True)


def test_padding_hides_keys(check, rng):
    """Where attention_mask is 0 the key is hidden from every query, wherever it stands."""
    mask = torch.tensor([[0, 1, 1, 0, 1, 1, 0], [1, 0, 1, 1, 1, 0, 1]])
    check(padded, *qkv(rng, 2, 3, 5, 7, 12, scale=3), mask, grad=("q", "k", "v"))


def test_padding_and_the_causal_mask_hide_together(check, rng):
    """With padding on the left, a query sees real keys up to its own; with none left, zeros."""
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 0, 1, 1], [0, 1, 1, 1, 0]])
    check(
        causal_and_padded,
        *qkv(rng, 3, 2, 5, 5, 16),
        mask,
        grad=("q", "k", "v"),
        half=("q", "k", "v"),
        matmul=True,
    )


def test_masks_may_be_bool_int_or_float(check, rng):
    """attention_mask may hold True and False, integers or floating numbers, and is not modified."""
    keep = torch.tensor([[1, 1, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 1, 1, 1]])

    def kinds(attention, q, k, v, as_bool, as_int, as_float):
        return {
            "with a bool mask": attention.attention(q, k, v, attention_mask=as_bool),
            "with an int mask": attention.attention(q, k, v, attention_mask=as_int),
            "with a float mask": attention.attention(q, k, v, attention_mask=as_float),
        }

    check(kinds, *qkv(rng, 3, 2, 4, 7, 8), keep.bool(), keep, keep.float())


def test_masks_of_another_shape_are_refused(check, rng):
    """An attention_mask of any shape but [B, T] raises a ValueError."""

    def refused(attention, q, k, v, mask):
        how = refusal(lambda: padded(attention, q, k, v, mask))
        return how if how == "ValueError" else "no ValueError"

    def refusals(attention, q, k, v, mask):
        shapes = {
            "[1, T]": mask[:1],
            "[T]": mask[0],
            "[B, 1, T]": mask[:, None],
            "[B, 1, 1, T]": mask[:, None, None],
            "[B, S, T]": mask[:, None].repeat(1, 3, 1),
            "[B, S]": mask[:, :3],
            "[B, 1]": mask[:, :1],
            "[T, B]": mask.T,
        }
        return {
            f"a mask of {name}": refused(attention, q, k, v, given)
            for name, given in shapes.items()
        }

    check(refusals, *qkv(rng, 2, 5, 3, 7, 8), torch.ones(2, 7, dtype=torch.long))


def test_hidden_keys_are_as_if_they_were_not_there(check, rng):
    """A hidden key has no weight, however far its score is above the visible, 300 or -300000."""
    q, k, v = qkv(rng, 2, 3, 4, 7, 16, scale=0.3)
    mask = torch.tensor([[1, 0, 1, 1, 0, 1, 1], [1, 1, 0, 0, 1, 1, 1]])
    # Along one direction per head, all scores are 300 and those of hidden keys 450; the small
    # parts around it tell the visible keys apart.
    along = rng.normal(2, 3, 1, 16)
    along = along / along.norm(dim=-1, keepdim=True)
    length = torch.where(mask == 0, 90.0, 60.0)[:, None, :, None]
    check(causal_and_padded, q + 20 * along, k + length * along, v, mask, grad=("q", "k", "v"))

    # Far below zero: hidden scores are about -120000, visible ones -300000 and less, so far apart
    # that the best visible key takes all.
    steps = torch.stack([rng.permutation(7) + 1.0 for _ in range(6)]).view(2, 3, 7, 1)
    length = torch.where(mask[:, None, :, None] == 0, 24e3, 60e3 * steps)
    check(causal_and_padded, q + 20 * along, k - length * along, v, mask)


def test_half_precision_is_widened_for_the_softmax(check, rng):
    """Scores in bfloat16 and float16 go into a softmax in float32; the result is cast back once."""
    signs = rng.integers(0, 2, 2, 2, 1, 256) * 2.0 - 1

    # Scores are exact in half precision and their distances from the largest are not, as in the
    # test of softmax. The largest one's value is 0, so that only the rest is left to see. With so
    # many features the last bits of q and k, which are random, hardly move a score.
    def keys(largest, start):
        steps = -start - rng.integers(0, 8, 2, 2, 8, 1) / 4
        return signs * torch.cat((torch.full((2, 2, 1, 1), largest), steps), dim=2) / 16

    def small(attention, q, far, near, v):
        return {
            "far": attention.attention(q, far, v, is_causal=False),
            "near": attention.attention(q, near, v, is_causal=False),
        }

    q = signs.expand(2, 2, 2, 256).clone()
    v = rng.uniform(2, 2, 9, 256, low=1.0, high=2.0)
    v[:, :, 0] = 0
    check(
        small,
        q,
        keys(6.0625, 10.0),
        keys(2 + 1 / 256, 6.0),
        v,
        half=("q", "far", "near", "v"),
        matmul=True,
    )
