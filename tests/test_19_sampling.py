"""ex19_sampling: facts about filters on logits and the choice of a token.

Draws are never compared. Where something must be drawn, many rows draw at once, and what is looked
at is which tokens ever come, or their shares in tenths: laws are such that a right answer gives
another one with a probability below 1e-15.
"""

import pytest
import torch

ROWS = 8_000
"""Shares of so many draws are off by 0.05 with a probability below 2 exp(-2 · 8000 · 0.05²)."""
FEW_ROWS = 800
"""A token of probability 0.05 is missing in so many draws with a probability of 0.95⁸⁰⁰."""


def shuffled(rng, law):
    """The logits of a law, one row for each list, its tokens in a random order: [B, V]."""
    rows = [torch.tensor(row).log()[rng.permutation(len(row))] for row in law]
    return torch.stack(rows)


def apart(rng, rows, vocabulary, step=0.2):
    """Random logits [rows, vocabulary], any two in a row at least `step` / 2 apart, around 0."""
    places = torch.stack([rng.permutation(vocabulary) for _ in range(rows)])
    return step * (places - vocabulary / 2 + rng.uniform(rows, vocabulary, low=0.25, high=0.75))


def between(logits, sizes):
    """For each size the mass that only so many tokens of the first row reach, and not just so."""
    likely = logits[0].double().softmax(dim=-1).sort(descending=True).values.cumsum(dim=-1)
    before = torch.cat((torch.zeros(1), likely))
    return [float(before[size - 1] + before[size]) / 2 for size in sizes]


def many(lm, logits, seed, rows=ROWS, **options):
    """What so many rows draw that are all like the only row of the logits."""
    if "seen_ids" in options:
        options["seen_ids"] = options["seen_ids"].repeat(rows, 1)
    generator = torch.Generator().manual_seed(seed)
    return lm.sample(logits.repeat(rows, 1), generator=generator, **options)


def ever(drawn):
    """The tokens that were drawn at all, in order."""
    return drawn.unique().tolist() if isinstance(drawn, torch.Tensor) else drawn


def some(lm, logits, seed, **options):
    """The tokens that FEW_ROWS rows draw at all."""
    return ever(many(lm, logits, seed, FEW_ROWS, **options))


def tenths(drawn, vocabulary):
    """The share of each token in tenths, rounded; what is no vector of tokens as it is."""
    if not isinstance(drawn, torch.Tensor) or drawn.shape != (ROWS,) or drawn.is_floating_point():
        return drawn
    inside = drawn.clamp(0, vocabulary - 1)
    counts = torch.bincount(inside, minlength=vocabulary)
    return [round(10 * count / ROWS) for count in counts.tolist()]


def test_temperature_divides_logits(check, rng):
    """apply_temperature divides all logits by the temperature."""

    def divided(lm, logits, hot, cold):
        return {
            f"temperature={hot}": lm.apply_temperature(logits, hot),
            f"temperature={cold}": lm.apply_temperature(logits, cold),
        }

    hot, cold = (round(float(rng.uniform(1, low=a, high=b)), 2) for a, b in ((1.5, 3), (0.2, 0.7)))
    logits = rng.normal(3, 7, scale=3.0)
    logits[1, 4] = -torch.inf
    check(divided, logits, hot, cold, half=("logits",))

    def slopes(lm, logits, hot):
        return lm.apply_temperature(logits, hot)

    check(slopes, rng.normal(3, 7, scale=3.0), hot, grad=("logits",))


def penalty_for(rng):
    return round(float(rng.uniform(1, low=1.3, high=2.5)), 2)


@pytest.mark.weight(2)
def test_penalty_makes_seen_tokens_less_likely(check, rng):
    """Seen tokens' logits are divided by the penalty if positive and multiplied if negative."""

    def penalised(lm, logits, seen_ids, penalty):
        return lm.apply_repetition_penalty(logits, seen_ids, penalty)

    logits = rng.normal(3, 9, scale=3.0) + 0.3
    seen_ids = torch.stack([rng.permutation(9)[:5] for _ in range(3)])
    places = seen_ids[:, :2]  # of each row's seen tokens one is positive and one negative
    logits.scatter_(1, places, logits.gather(1, places).abs() * torch.tensor([1.0, -1.0]))
    check(penalised, logits, seen_ids, penalty_for(rng), grad=("logits",), half=("logits",))


def test_penalty_counts_a_token_once_in_its_row(check, rng):
    """A token that a row has seen often is penalised once, and in that row alone."""

    def penalised(lm, logits, seen_ids, penalty):
        return {
            "some seen several times": lm.apply_repetition_penalty(logits, seen_ids, penalty),
            "nothing seen": lm.apply_repetition_penalty(logits, seen_ids[:, :0], penalty),
            "penalty=1": lm.apply_repetition_penalty(logits, seen_ids, 1.0),
            "penalty=0.5": lm.apply_repetition_penalty(logits, seen_ids, 0.5),
        }

    often = torch.stack([rng.permutation(11)[:3] for _ in range(4)])
    places = torch.stack([rng.permutation(7) for _ in range(4)])
    seen_ids = often[:, [0, 0, 1, 2, 0, 1, 1]].gather(1, places)
    logits = rng.normal(4, 11, scale=3.0)
    logits[:, 3] = -torch.inf
    check(penalised, logits, seen_ids, penalty_for(rng))


@pytest.mark.weight(2)
def test_top_k_keeps_the_k_largest(check, rng):
    """top_k_filter keeps each row's k largest logits as they are; the others become -inf."""

    def filtered(lm, logits):
        return {f"k={k}": lm.top_k_filter(logits, k) for k in (1, 2, 5, 8)}

    # Rows far apart: none could lend another its threshold.
    check(filtered, apart(rng, 4, 9) + 3.0 * rng.permutation(4)[:, None], grad=("logits",))


def test_top_k_keeps_ties(check, rng):
    """All tokens as likely as the k-th stay, in half precision, too."""

    def filtered(lm, logits):
        return {f"k={k}": lm.top_k_filter(logits, k) for k in (1, 2, 4)}

    rows = [[3.0, 3.0, 2.0, 2.0, 2.0, 1.0, -1.0, -4.0], [5.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 0.0]]
    logits = torch.stack([torch.tensor(row)[rng.permutation(8)] for row in rows])
    check(filtered, logits, half=("logits",))


def test_top_k_of_any_size(check, rng):
    """A k of 0, a negative one and one larger than the vocabulary keep all; -inf stays -inf."""

    def filtered(lm, logits):
        found = {f"k={k}": lm.top_k_filter(logits, k) for k in (0, -1, -3, 7, 8, 50)}
        return found | {"k=5, two tokens left": lm.top_k_filter(logits[:, :4], 3)}

    logits = apart(rng, 3, 7)
    logits[:, 1] = logits[:, 3] = -torch.inf
    check(filtered, logits)


@pytest.mark.weight(3)
def test_top_p_keeps_the_smallest_set(check, rng):
    """top_p_filter keeps the fewest tokens whose mass reaches p, each at its place in its row."""

    def filtered(lm, logits, masses):
        return {f"p={p:.3f}": lm.top_p_filter(logits, p) for p in masses}

    first = shuffled(rng, [[0.34, 0.26, 0.17, 0.11, 0.07, 0.05]])
    other = shuffled(rng, [[0.6, 0.18, 0.09, 0.06, 0.04, 0.03], [0.22, 0.2, 0.18, 0.16, 0.14, 0.1]])
    logits = torch.cat((first, other)) + rng.normal(3, 1)
    masses = [p + round(float(rng.uniform(1, low=-0.004, high=0.004)), 4) for p in (0.3, 0.56, 0.8)]
    check(filtered, logits, masses, grad=("logits",))


def kept(logits, filtered):
    """How many tokens stay in each row, and whether what stays is as it was."""
    if not isinstance(filtered, torch.Tensor) or filtered.shape != logits.shape:
        return {"filtered logits": filtered}
    stays = filtered > -torch.inf
    same = torch.equal(filtered[stays], logits[stays])
    return {"tokens kept": stays.sum(dim=-1).tolist(), "what stays is as it was": same}


def test_a_mass_of_exactly_p_is_enough(check, rng):
    """Of 8 equally likely tokens, p = n / 8 keeps n; which of them is free."""

    def counts(lm, logits, eighths):
        found = {}
        for n in eighths:
            for name, value in kept(logits, lm.top_p_filter(logits, n / 8)).items():
                found[f"{name}, p={n / 8}"] = value
        return found

    # A row of its own beside them: a forbidden token has no share.
    logits = torch.zeros(2, 9)
    logits[0, int(rng.integers(0, 9))] = logits[1, int(rng.integers(0, 9))] = -torch.inf
    eighths = (1 + rng.permutation(7)[:4]).tolist()
    check(counts, logits, eighths)


def test_one_token_stays_at_least(check, rng):
    """However small p is, 0 and less included, each row keeps its most likely token."""

    def filtered(lm, logits):
        return {f"p={p}": lm.top_p_filter(logits, p) for p in (0.05, 1e-4, 1e-9, 0.0, -0.5)}

    check(filtered, apart(rng, 4, 7))


def test_p_of_1_keeps_all(check, rng):
    """A p of 1 or more keeps all tokens, also those whose probability is lost in rounding."""

    def filtered(lm, logits):
        return {f"p={p}": lm.top_p_filter(logits, p) for p in (1.0, 1.5)}

    logits = apart(rng, 3, 7, step=9.0)
    logits[2, 4] = -torch.inf
    check(filtered, logits)


def test_masses_are_added_up_in_float32(check, rng):
    """In half precision the masses of many unlikely tokens are added up in float32."""

    def counts(lm, logits, masses):
        found = {}
        for p in masses:
            for name, value in kept(logits, lm.top_p_filter(logits, p)).items():
                found[f"{name}, p={p:.3f}"] = value
        return found | {"filtered": lm.top_p_filter(logits, 0.0).amax(dim=-1)}

    # Numbers that half precision has, so that the law is the same in every dtype.
    logits = rng.integers(0, 9, 1, 400) / 8
    masses = between(logits, (int(rng.integers(90, 140)), int(rng.integers(250, 300)), 370))
    check(counts, logits, masses, half=("logits",))


@pytest.mark.weight(2)
def test_temperature_0_takes_the_most_likely(check, rng):
    """A temperature of 0 takes each row's largest logit; the penalty still applies, filters too."""

    def greedy(lm, logits, seen_ids):
        options = {"temperature": 0.0, "seen_ids": seen_ids}
        return {
            "temperature=0": lm.sample(logits, temperature=0),
            "with a penalty": lm.sample(logits, repetition_penalty=4.0, **options),
            "with a penalty of 1": lm.sample(logits, **options),
            "with filters": lm.sample(logits, temperature=0.0, top_k=3, top_p=0.2),
            "below 0, with a penalty": lm.sample(logits - 9, repetition_penalty=1.5, **options),
        }

    logits = apart(rng, 6, 11) + 1.0
    best = logits.topk(2).indices
    seen_ids = torch.stack((best[:, 0], logits.argmin(dim=-1)), dim=1)
    seen_ids[4:] = logits[4:].argmin(dim=-1, keepdim=True)  # these rows may keep their best
    check(greedy, logits, seen_ids)


@pytest.mark.weight(2)
def test_rows_are_chosen_by_themselves(check, rng):
    """Where one token is left in each row, that is the one: its number in the vocabulary."""

    def single(lm, logits, peaked, hidden, best, seed):
        def generator():
            return torch.Generator().manual_seed(seed)

        return {
            "top_k=1": lm.sample(logits, top_k=1, generator=generator()),
            "top_p=0.01": lm.sample(logits, top_p=0.01, generator=generator()),
            "a low temperature": lm.sample(logits, temperature=1e-4, generator=generator()),
            "one token far ahead": lm.sample(peaked, generator=generator()),
            "all others -inf": lm.sample(hidden, temperature=3.0, generator=generator()),
            "best one seen, no penalty": lm.sample(
                logits, top_k=1, seen_ids=best[:, :1], generator=generator()
            ),
            "second one seen, no penalty": lm.sample(
                logits, top_k=1, seen_ids=best[:, 1:], generator=generator()
            ),
        }

    logits = apart(rng, 5, 12) + 2.0
    best = logits.topk(2).indices
    peaked = apart(rng, 5, 12, step=100.0)
    hidden = apart(rng, 5, 12).topk(1)
    hidden = torch.full((5, 12), -torch.inf).scatter(1, hidden.indices, hidden.values)
    seed = int(rng.integers(0, 2**31))
    check(single, logits, peaked, hidden, best, seed, half=("logits", "peaked", "hidden"))


@pytest.mark.weight(2)
def test_tokens_are_drawn_by_their_probabilities(check, rng):
    """Tokens come with their probabilities: the softmax of logits over temperature, of all left."""

    def shares(lm, logits, cold, hot, five, seed):
        plain = many(lm, logits, seed)
        left = many(lm, five, seed + 3, top_k=3)
        unseen = many(lm, logits, seed + 4, repetition_penalty=3.0)
        return {
            "dtype": str(plain.dtype),
            "shares in tenths": tenths(plain, 3),
            "shares with temperature=0.4": tenths(many(lm, cold, seed + 1, temperature=0.4), 3),
            "shares with temperature=3": tenths(many(lm, hot, seed + 2, temperature=3.0), 3),
            "shares with top_k=3": tenths(left, 5),
            "shares with a penalty and no seen_ids": tenths(unseen, 3),
        }

    # Laws whose shares are whole tenths, after the temperature or the filter.
    logits = shuffled(rng, [[0.6, 0.3, 0.1]]) + float(rng.normal(1))
    cold, hot = 0.4 * shuffled(rng, [[0.6, 0.3, 0.1]]), 3.0 * shuffled(rng, [[0.5, 0.3, 0.2]])
    five = shuffled(rng, [[0.5, 0.3, 0.2, 0.15, 0.15]])
    check(shares, logits, cold, hot, five, int(rng.integers(0, 2**31)))


@pytest.mark.weight(3)
def test_steps_come_in_their_order(check, rng):
    """Penalty, temperature, top-k, top-p: each sees what the one before it has left."""

    def orders(lm, narrow, even, positive, best, seed):
        both = {"repetition_penalty": 3.0, "seen_ids": best}
        return {
            "temperature before top-p, hot": some(lm, narrow, seed, temperature=2.0, top_p=0.72),
            "temperature before top-p, cold": some(
                lm, narrow, seed + 1, temperature=0.5, top_p=0.72
            ),
            "top-k before top-p": some(lm, even, seed + 2, top_k=2, top_p=0.5),
            "penalty before top-k": some(lm, positive, seed + 3, top_k=2, **both),
            "penalty before top-p": some(lm, positive, seed + 4, top_p=0.6, **both),
            "all of them": some(
                lm, positive, seed + 5, temperature=0.7, top_k=3, top_p=0.75, **both
            ),
            "top-k and top-p": some(lm, narrow, seed + 6, top_k=3, top_p=0.5),
        }

    narrow = shuffled(rng, [[0.55, 0.2, 0.1, 0.08, 0.07]])
    even = shuffled(rng, [[0.4, 0.3, 0.2, 0.1]])
    positive = shuffled(rng, [[0.5, 0.2, 0.15, 0.1, 0.05]]) + 4.0
    best = positive.argmax(dim=-1, keepdim=True)
    check(orders, narrow, even, positive, best, int(rng.integers(0, 2**31)))


def test_random_numbers_come_from_the_generator(check, rng):
    """Draws come from the generator, or from torch's own; each call draws anew."""

    def repeats(lm, logits, seed):
        def drawn(generator=None):
            return lm.sample(logits.repeat(200, 1), generator=generator)

        def alike(one, other):
            return isinstance(one, torch.Tensor) and torch.equal(one, other)

        given = torch.Generator().manual_seed(seed)
        first, second = drawn(given), drawn(given)
        again = drawn(torch.Generator().manual_seed(seed))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            own, next_own = drawn(), drawn()
            torch.manual_seed(seed)
            own_again = drawn()
        return {
            "one seed, one draw": alike(first, again),
            "a second call draws the same": alike(first, second),
            "one seed of torch's own, one draw": alike(own, own_again),
            "a second call without a generator draws the same": alike(own, next_own),
            "tokens that come": ever(torch.cat((first, second))),
        }

    logits = shuffled(rng, [[0.3, 0.3, 0.2, 0.2, 1e-30, 1e-30, 1e-30]])
    check(repeats, logits, int(rng.integers(0, 2**31)))
