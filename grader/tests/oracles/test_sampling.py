"""Independent oracles for ex19: search over all subsets, laws by enumeration, transformers."""

import itertools
import math

import pytest
import torch

import minimind_ref.sampling as reference
from solutions import ex19_sampling as solution

BOTH = pytest.mark.parametrize("lm", [reference, solution], ids=["reference", "solution"])
SEEDS = range(4)
DRAWS = 40_000


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(logits):
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def smallest_set(logits, p):
    """The smallest set of tokens with a mass of p, the heaviest of its size: all are tried."""
    likely = softmax(logits)
    for size in range(1, len(likely) + 1):
        sets = itertools.combinations(range(len(likely)), size)
        best = max(sets, key=lambda tokens: math.fsum(likely[token] for token in tokens))
        if math.fsum(likely[token] for token in best) >= p:
            return set(best)
    return set(range(len(likely)))


def k_largest(logits, k):
    """The tokens that fewer than k others exceed."""
    if k <= 0 or k > len(logits):
        return set(range(len(logits)))
    return {t for t, x in enumerate(logits) if sum(y > x for y in logits) < k}


def kept(row):
    return {token for token, logit in enumerate(row.tolist()) if logit > -math.inf}


def law(logits, seen, *, temperature, top_k, top_p, penalty):
    """The probability of every token, step by step in Python numbers."""
    logits = [
        (x / penalty if x > 0 else x * penalty) if token in seen else x
        for token, x in enumerate(logits)
    ]
    logits = [x / temperature for x in logits]
    left = k_largest(logits, top_k)
    logits = [x if token in left else -math.inf for token, x in enumerate(logits)]
    left = smallest_set(logits, top_p) if top_p < 1 else left
    return softmax([x if token in left else -math.inf for token, x in enumerate(logits)])


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("vocabulary", [1, 2, 5, 9])
def test_nucleus_is_the_smallest_of_all_subsets(lm, seed, vocabulary):
    logits = 1.5 * drawn(seed, 3, vocabulary)
    for p in (-1.0, 0.0, 1e-9, 0.1, 0.37, 0.5, 0.73, 0.9, 0.99, 1.0, 2.0):
        filtered = lm.top_p_filter(logits, p)
        for row, before in zip(filtered, logits, strict=True):
            everything = set(range(vocabulary))
            want = everything if p >= 1 else smallest_set(before.tolist(), p)
            assert kept(row) == want
            assert all(row[token] == before[token] for token in want)


@BOTH
@pytest.mark.parametrize("n", range(1, 8))
def test_nucleus_of_equals_has_n_of_8(lm, n):
    for level in (0.0, 1.5, 12.1):
        filtered = lm.top_p_filter(torch.full((2, 8), level), n / 8)
        assert [len(kept(row)) for row in filtered] == [n, n]


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_top_k_keeps_what_fewer_than_k_exceed(lm, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-3, 4, (4, 9), generator=generator).double()  # ties
    for k in range(-1, 12):
        for row, before in zip(lm.top_k_filter(logits, k), logits, strict=True):
            assert kept(row) == k_largest(before.tolist(), k)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_penalty_is_that_of_a_loop(lm, seed):
    logits = 2 * drawn(seed, 3, 7)
    seen = torch.randint(0, 7, (3, 5), generator=torch.Generator().manual_seed(seed))
    want = logits.clone()
    for row, tokens in enumerate(seen.tolist()):
        for token in set(tokens):
            x = logits[row, token]
            want[row, token] = x / 1.3 if x > 0 else x * 1.3
    torch.testing.assert_close(lm.apply_repetition_penalty(logits, seen, 1.3), want)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_law_of_sample_is_that_of_an_enumeration(lm, monkeypatch, seed, temperature):
    """Observed is the law that is drawn from, not what comes of it: a draw is caught on its way."""
    logits = drawn(seed, 1, 8)
    seen = torch.randint(0, 8, (1, 4), generator=torch.Generator().manual_seed(seed))
    found = []
    multinomial = torch.multinomial

    def of_multinomial(probabilities, *args, **kwargs):
        found.append(probabilities / probabilities.sum(dim=-1, keepdim=True))
        return multinomial(probabilities, *args, **kwargs)

    monkeypatch.setattr(torch, "multinomial", of_multinomial)
    for top_k, top_p, penalty in itertools.product((0, 3, 5), (0.0, 0.6, 0.9, 1.0), (1.0, 1.7)):
        found.clear()
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        want = law(logits[0].tolist(), set(seen[0].tolist()), penalty=penalty, **options)
        rows = logits.repeat(DRAWS, 1) if lm is reference else logits
        generator = torch.Generator().manual_seed(seed)
        tokens = lm.sample(
            rows,
            repetition_penalty=penalty,
            seen_ids=seen.repeat(len(rows), 1),
            generator=generator,
            **options,
        )
        assert all(want[token] > 0 for token in tokens.unique().tolist())
        if lm is solution:
            assert found[0][0].tolist() == pytest.approx(want)
            continue
        # The reference races exponential times: by Hoeffding, shares of so many draws are off by
        # 0.02 with a probability below 2 exp(-32).
        shares = torch.bincount(tokens, minlength=8) / DRAWS
        assert shares.tolist() == pytest.approx(want, abs=0.02)


@BOTH
def test_temperature_0_is_the_argmax_after_the_penalty(lm):
    logits = drawn(3, 6, 9)
    seen = logits.argmax(dim=1, keepdim=True)
    assert lm.sample(logits, temperature=0).tolist() == logits.argmax(dim=1).tolist()
    penalised = lm.apply_repetition_penalty(logits, seen, 3.0).argmax(dim=1)
    drawn_tokens = lm.sample(logits, temperature=0, repetition_penalty=3.0, seen_ids=seen)
    assert drawn_tokens.tolist() == penalised.tolist() != seen[:, 0].tolist()


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_filters_alike(lm, seed):
    process = pytest.importorskip("transformers.generation.logits_process")
    logits = 2 * drawn(seed, 4, 30).float()
    seen = torch.randint(0, 30, (4, 11), generator=torch.Generator().manual_seed(seed))
    for k in (1, 4, 30, 50):
        want = process.TopKLogitsWarper(k)(seen, logits.clone())
        torch.testing.assert_close(lm.top_k_filter(logits, k), want, rtol=0, atol=0)
    for p in (0.05, 0.33, 0.71, 0.92):
        want = process.TopPLogitsWarper(p)(seen, logits.clone())
        torch.testing.assert_close(lm.top_p_filter(logits, p), want, rtol=0, atol=0)
    for penalty in (0.7, 1.2, 2.0):
        want = process.RepetitionPenaltyLogitsProcessor(penalty)(seen, logits.clone())
        torch.testing.assert_close(lm.apply_repetition_penalty(logits, seen, penalty), want)
    for temperature in (0.3, 1.9):
        want = process.TemperatureLogitsWarper(temperature)(seen, logits.clone())
        torch.testing.assert_close(lm.apply_temperature(logits, temperature), want)
