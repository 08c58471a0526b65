"""ex02_rope: facts about rotary position embedding."""

import pytest
import torch

from tests.support import default_dtype, refusal

BASE = 500.0


def angles(positions, dim, base=BASE):
    """Angles of the half-split layout, each pair's twice: [len(positions), dim], float64."""
    pair = torch.arange(dim // 2, dtype=torch.float64).repeat(2)
    return positions.double()[:, None] * base ** (-2 * pair / dim)


def half_tables(first, count, dim):
    """The tables of `count` positions from `first` on, float32, as an answer makes them."""
    table = angles(torch.arange(first, first + count), dim)
    return table.cos().float(), table.sin().float()


def complex_table(first, count, dim):
    """The complex table of `count` positions from `first` on, complex64."""
    table = angles(torch.arange(first, first + count), dim)[:, : dim // 2]
    return torch.polar(torch.ones_like(table), table).to(torch.complex64)


def per_position(rows):
    """What float32 angles may cost in row p of a table: 4e-7 · (1 + p)."""
    return 4e-7 * (1 + rows.double()[:, None])


def freqs_cis(rope, dim, end, base):
    cos, sin = rope.precompute_freqs_cis(dim, end, base)
    return {"cos": cos, "sin": sin}


def some_size(rng, low, high):
    return int(rng.integers(low, high, 1))


def some_base(rng):
    return round(float(rng.uniform(1, low=200.0, high=900.0)), 2)


def turned(rope, q, k, cos, sin):
    q_turned, k_turned = rope.apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1)
    return {"q turned": q_turned, "k turned": k_turned}


@pytest.mark.weight(2)
def test_tables_hold_the_angle_of_every_position_and_pair(check, rng):
    """Row p of cos and sin holds the angles p · base^(-2i/d), all pairs once and then again."""
    dim, end = 2 * some_size(rng, 5, 9), some_size(rng, 37, 44)
    allowed = per_position(torch.arange(end))

    def tables(rope, dim, end, base, other):
        found = freqs_cis(rope, dim, end, base)
        again = freqs_cis(rope, dim, end, other)
        return found | {f"{name} of another base": table for name, table in again.items()}

    base = some_base(rng)
    names = ("cos", "sin", "cos of another base", "sin of another base")
    check(tables, dim, end, base, 3 * base, allowed=dict.fromkeys(names, allowed))


@pytest.mark.weight(2)
def test_default_tables_reach_position_32767(check, rng):
    """By default the tables have 32768 rows, base 1e6 and angles good to the last row."""
    rows = torch.cat((rng.integers(0, 32767, 511), torch.tensor([32767])))
    allowed = per_position(rows)

    def sampled(rope, dim, rows):
        cos, sin = rope.precompute_freqs_cis(dim)
        return {"rows": len(cos), "cos": cos[rows], "sin": sin[rows]}

    dim = 2 * some_size(rng, 4, 8)
    check(sampled, dim, rows, allowed={"cos": allowed, "sin": allowed})

    def built_in_bfloat16(rope, dim, rows):
        with default_dtype(torch.bfloat16):
            return sampled(rope, dim, rows)

    check(built_in_bfloat16, dim, rows, allowed={"cos": allowed, "sin": allowed})


@pytest.mark.weight(2)
def test_rotate_half_is_a_quarter_turn_of_every_pair(check, rng):
    """rotate_half turns (a, b) into (-b, a), where b stands d/2 places after a."""
    x = rng.normal(3, 5, 8)
    check(lambda rope, x: rope.rotate_half(x), x, grad=True, half=("x",))


@pytest.mark.weight(2)
def test_queries_and_keys_are_turned_by_their_positions(check, rng):
    """Queries and keys at position s turn by row s of the tables, in every head alike."""
    heads_first = rng.normal(3, 4, 5, 12), rng.normal(3, 2, 5, 12)

    def layout(rope, q, k, cos, sin):
        return turned(rope, q.transpose(1, 2), k.transpose(1, 2), cos, sin)

    check(layout, *heads_first, *half_tables(7, 5, 12), grad=("q", "k"))


def test_one_new_token_turns_by_the_row_it_is_given(check, rng):
    """A single token (B = S = 1) far into the text is turned by the one row passed in."""
    q, k = rng.normal(1, 1, 4, 8), rng.normal(1, 1, 2, 8)
    check(turned, q, k, *half_tables(29, 1, 8), grad=("q", "k"))


@pytest.mark.weight(2)
def test_half_precision_is_widened_before_the_turn(check, rng):
    """bfloat16 and float16 are turned in float32 with unrounded tables and cast back once."""
    cos, sin = half_tables(3, 9, 16)

    # Turned, these are zero in the first half but for what rounding the inputs leaves: exact
    # arithmetic sees that rest, rounded tables or products bury it.
    def cancelling(heads):
        size = rng.uniform(3, 9, heads, 8, low=1.0, high=2.0)
        return torch.cat((size * sin[:, None, :8], size * cos[:, None, :8]), dim=-1)

    def first_half(rope, q, k, cos, sin):
        q_turned, k_turned = rope.apply_rotary_pos_emb(q, k, cos, sin)
        return {"q turned": q_turned[..., :8], "k turned": k_turned[..., :8]}

    check(first_half, cancelling(4), cancelling(2), cos, sin, half=("q", "k"))


def test_queries_and_keys_keep_their_own_dtypes(check, rng):
    """With queries in half precision and keys in float32, each result has its input's dtype."""
    q, k = rng.normal(3, 5, 4, 8), rng.normal(3, 5, 2, 8)
    check(turned, q, k, *half_tables(7, 5, 8), half=("q",))


def test_a_table_of_the_wrong_length_is_refused(check, rng):
    """A table whose rows are not the S positions of q and k raises a ValueError."""
    q, k = rng.normal(3, 5, 4, 8), rng.normal(3, 5, 2, 8)

    def refusals(rope, q, k, cos, sin):
        apply = rope.apply_rotary_pos_emb
        return {
            "one row": refusal(lambda: apply(q, k, cos[:1], sin[:1])),
            "one row of cos": refusal(lambda: apply(q, k, cos[:1], sin[:5])),
            "one row of sin": refusal(lambda: apply(q, k, cos[:5], sin[:1])),
            "too many rows": refusal(lambda: apply(q, k, cos, sin)),
        }

    check(refusals, q, k, *half_tables(0, 7, 8))


@pytest.mark.weight(2)
def test_complex_table_holds_every_angle_once(check, rng):
    """Entry (p, i) of the complex table is cos t + j·sin t with t = p · theta^(-2i/d)."""

    def tables(rope, dim, end, theta, other):
        return {
            "table": rope.precompute_pos_cis(dim, end, theta),
            "table of another theta": rope.precompute_pos_cis(dim, end, other),
        }

    dim, end = 2 * some_size(rng, 5, 9), some_size(rng, 37, 44)
    allowed = per_position(torch.arange(end))[..., None]
    theta = some_base(rng)
    names = ("table", "table of another theta")
    check(tables, dim, end, theta, 3 * theta, allowed=dict.fromkeys(names, allowed))


@pytest.mark.weight(2)
def test_complex_form_turns_neighbouring_pairs(check, rng):
    """The complex form turns features 2i and 2i + 1 together, in x's own dtype and layout."""
    heads_first = rng.normal(3, 4, 5, 12)

    def layout(rope, x, table):
        return rope.apply_rotary_complex(x.transpose(1, 2), table)

    check(layout, heads_first, complex_table(7, 5, 12), grad=("x",))


@pytest.mark.weight(2)
def test_complex_form_widens_half_precision(check, rng):
    """The complex form, too, turns half precision in float32 and casts back once."""
    table = complex_table(3, 9, 16)
    size = rng.uniform(3, 9, 4, 8, low=1.0, high=2.0)
    # As above: the even features of the result are zero but for what rounding the input leaves.
    pairs = (size * table.imag[:, None], size * table.real[:, None])
    x = torch.stack(pairs, dim=-1).flatten(-2)
    check(lambda rope, x, t: rope.apply_rotary_complex(x, t)[..., 0::2], x, table, half=("x",))


def test_complex_form_refuses_a_table_of_the_wrong_length(check, rng):
    """A complex table whose rows are not the S positions of x raises a ValueError."""

    def refusals(rope, x, table):
        apply = rope.apply_rotary_complex
        return {
            "one row": refusal(lambda: apply(x, table[:1])),
            "too many rows": refusal(lambda: apply(x, table)),
        }

    check(refusals, rng.normal(3, 5, 4, 8), complex_table(0, 7, 8))


@pytest.mark.weight(2)
def test_weights_are_reordered_head_by_head(check, rng):
    """interleaved_to_half puts each head's even rows first, then its odd ones."""

    def layout(rope, weight):
        return rope.interleaved_to_half(weight.T, 3)

    check(layout, rng.normal(5, 24), grad=True, half=("weight",))
