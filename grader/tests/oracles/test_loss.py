"""Independent oracles for ex15: sums in Python floats, finite differences, and transformers."""

import math

import pytest
import torch

import minimind_ref.loss as reference
from grader.observation.cost import CostMeter
from solutions import ex15_loss as solution

BOTH = pytest.mark.parametrize("lm", [reference, solution], ids=["reference", "solution"])
SEEDS = range(3)


def by_hand(logits, labels, ignore_index=-100):
    """The mean loss of lists of lists, token by token; 0 where nothing counts."""
    losses = []
    for row, wanted in zip(logits, labels, strict=True):
        for scores, token in zip(row, wanted[1:], strict=False):
            if token != ignore_index:
                top = max(scores)
                total = math.fsum(math.exp(score - top) for score in scores)
                losses.append(math.log(total) + top - scores[token])
    return math.fsum(losses) / len(losses) if losses else 0.0


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_for(seed, batch, positions, vocabulary, ignored=-100):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, vocabulary, (batch, positions), generator=generator)
    hidden = (
        torch.rand(batch, positions, generator=generator) < torch.linspace(0.1, 0.9, batch)[:, None]
    )
    return labels.masked_fill(hidden, ignored)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ignored", [-100, 3, 0])
def test_losses_are_those_of_sums_by_hand(lm, seed, ignored):
    hidden, weight = drawn(seed, 3, 9, 4), drawn(seed + 9, 7, 4)
    labels = labels_for(seed, 3, 9, 7, ignored)
    logits = hidden @ weight.T
    want = by_hand(logits.tolist(), labels.tolist(), ignored)
    assert lm.causal_lm_loss(logits, labels, ignored).item() == pytest.approx(want, rel=1e-12)
    for chunk_size in range(1, 11):
        loss = lm.chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignored)
        assert loss.item() == pytest.approx(want, rel=1e-12)


@BOTH
def test_gradients_are_those_of_finite_differences(lm):
    hidden, weight = drawn(1, 2, 5, 3).requires_grad_(), drawn(2, 6, 3).requires_grad_()
    labels = labels_for(4, 2, 5, 6)

    def whole(hidden, weight):
        return 1.7 * lm.causal_lm_loss(hidden @ weight.T, labels)

    assert torch.autograd.gradcheck(whole, (hidden, weight))
    for chunk_size in (1, 2, 3, 4, 9):

        def chunked(hidden, weight, chunk_size=chunk_size):
            return 1.7 * lm.chunked_causal_lm_loss(hidden, weight, labels, chunk_size)

        assert torch.autograd.gradcheck(chunked, (hidden, weight))


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_has_the_same_loss(lm, seed):
    losses = pytest.importorskip("transformers.loss.loss_utils")
    logits, labels = 3 * drawn(seed, 4, 8, 11).float(), labels_for(seed, 4, 8, 11)
    want = losses.ForCausalLMLoss(logits, labels, vocab_size=11)
    torch.testing.assert_close(lm.causal_lm_loss(logits, labels), want)


@BOTH
def test_nothing_that_counts_is_0_and_can_be_trained(lm):
    hidden, weight = drawn(1, 2, 5, 3).requires_grad_(), drawn(2, 6, 3).requires_grad_()
    nothing = torch.full((2, 5), -100)
    for loss in (
        lm.causal_lm_loss(hidden @ weight.T, nothing),
        lm.chunked_causal_lm_loss(hidden, weight, nothing, 2),
        lm.chunked_causal_lm_loss(hidden[:, :1], weight, torch.zeros(2, 1, dtype=torch.long), 2),
    ):
        assert loss.item() == 0.0
        of_hidden, of_weight = torch.autograd.grad(loss, (hidden, weight))
        assert not of_hidden.any() and not of_weight.any()


@BOTH
def test_memory_grows_with_the_chunk_and_not_with_the_text(lm):
    weight = drawn(2, 300, 4).float()

    def peak(positions, chunk_size):
        hidden = drawn(3, 1, positions, 4).float().requires_grad_()
        labels = labels_for(5, 1, positions, 300)
        with CostMeter() as meter:
            lm.chunked_causal_lm_loss(
                hidden, weight.clone().requires_grad_(), labels, chunk_size
            ).backward()
        return meter.cost().peak_elements

    short, long, coarse = peak(200, 10), peak(400, 10), peak(400, 40)
    assert long - short < 200 * 300 / 10  # of the logits of 200 positions more, hardly anything
    assert coarse > 3 * short
