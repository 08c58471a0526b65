"""ex15_loss: facts about the loss of a language model, whole and in chunks."""

import gc
import math

import pytest
import torch

from grader.observation.cost import CostMeter

IGNORED = -100


def labels_of(rng, vocabulary, positions, *counted, ignored=IGNORED):
    """Random labels: each row has so many that count after its first one, the rest is ignored.

    Every first label is a token, which no logits are about.
    """
    labels = torch.full((len(counted), positions), ignored)
    tokens = rng.integers(0, vocabulary - 1, *labels.shape)
    if ignored >= 0:
        tokens += tokens >= ignored  # any token but that one
    else:
        tokens += rng.integers(0, 2, *labels.shape)
    labels[:, 0] = tokens[:, 0]
    for row, count in enumerate(counted):
        places = 1 + rng.permutation(positions - 1)[:count]
        labels[row, places] = tokens[row, places]
    return labels


def of_whole(lm, logits, labels, **options):
    """The loss of given logits, and what a step of training does with it."""
    leaf = logits.detach().requires_grad_(torch.is_grad_enabled())
    return trained(lm.causal_lm_loss(leaf, labels, **options), {"logits": leaf})


def in_chunks(lm, hidden, weight, labels, chunk_size, scale=1.0, only=None, times=1, **options):
    """The loss in chunks, and what a step of training does with `scale` times it."""
    leaves = {"hidden": hidden.detach(), "weight": weight.detach()}
    for name, leaf in leaves.items():
        leaf.requires_grad_(torch.is_grad_enabled() and only in (None, name))
    loss = lm.chunked_causal_lm_loss(
        leaves["hidden"], leaves["weight"], labels, chunk_size, **options
    )
    return trained(loss, leaves, scale, times)


def trained(loss, leaves, scale=1.0, times=1):
    """The loss, and the gradients that `backward` leaves, called so often; without any, zeros."""
    if not isinstance(loss, torch.Tensor):
        return {"loss": loss}
    learns = loss.requires_grad
    for left in reversed(range(times if learns else 0)):
        (scale * loss).sum().backward(retain_graph=left > 0)
    found = {"loss": loss.detach(), "backward works": learns or not torch.is_grad_enabled()}
    for name, leaf in leaves.items():
        none = torch.zeros_like(leaf, requires_grad=False)
        found[f"gradient of {name}"] = none if leaf.grad is None else leaf.grad
        found[f"{name} has a gradient if it is trained"] = not leaf.requires_grad or (
            leaf.grad is not None
        )
    return found


def named(found, label):
    return {f"{name}, {label}": value for name, value in found.items()}


@pytest.mark.weight(2)
def test_each_position_is_about_the_next_token(check, rng):
    """The logits at position s are compared with the label at s + 1, row by row."""

    def loss(lm, logits, labels):
        return lm.causal_lm_loss(logits, labels)

    check(loss, 2 * rng.normal(3, 5, 11), labels_of(rng, 11, 5, 4, 4, 4), grad=("logits",))


@pytest.mark.weight(2)
def test_every_counted_token_of_the_batch_weighs_the_same(check, rng):
    """The loss is the mean over all tokens that count, however they are spread over the rows."""

    def loss(lm, logits, labels):
        return lm.causal_lm_loss(logits, labels)

    check(loss, 2 * rng.normal(4, 9, 13), labels_of(rng, 13, 9, 1, 6, 0, 3), grad=("logits",))


def test_ignore_index_says_which_labels_do_not_count(check, rng):
    """A label equal to ignore_index does not count, and every other one does: 0, too."""

    def losses(lm, logits, tokens):
        found = {
            f"loss with ignore_index={index}": lm.causal_lm_loss(logits, tokens, ignore_index=index)
            for index in (5, 0)
        }
        return found | {"loss where nothing is ignored": lm.causal_lm_loss(logits, tokens)}

    tokens = labels_of(rng, 9, 8, 2, 6, 4, ignored=5)
    tokens[:, 3:5] = torch.where(rng.uniform(3, 2) < 0.5, 0, tokens[:, 3:5])
    tokens[0, 6], tokens[1, 2] = 0, 0
    check(losses, 2 * rng.normal(3, 8, 9), tokens, grad=("logits",))


def test_where_nothing_counts_the_loss_is_0(check, rng):
    """A batch without a label that counts gives 0 and zero gradients, and training goes on."""

    def losses(lm, logits, nothing, something):
        return {
            **named(of_whole(lm, logits, nothing), "all labels ignored"),
            **named(of_whole(lm, logits[:, :1], something[:, :1]), "a single position"),
            **named(of_whole(lm, logits, something), "one label"),
        }

    nothing, something = labels_of(rng, 7, 5, 0, 0), labels_of(rng, 7, 5, 1, 0)
    check(losses, rng.normal(2, 5, 7), nothing, something)


def test_large_logits_give_finite_losses(check, rng):
    """Logits that exp cannot hold, all large or all far below 0, give the right loss."""

    def loss(lm, high, low, labels):
        return {"high": lm.causal_lm_loss(high, labels), "low": lm.causal_lm_loss(low, labels)}

    high, low = 150 * rng.normal(2, 6, 9), rng.normal(2, 6, 9, scale=3.0, offset=-300.0)
    check(loss, high, low, labels_of(rng, 9, 6, 5, 2), grad=("high", "low"))


def test_half_precision_logits_are_widened(check, rng):
    """Logits in half precision are widened before all else, and the loss stays in float32."""

    def beyond_chance(lm, logits, labels):
        losses = [lm.causal_lm_loss(each, labels) for each in logits]
        if not isinstance(losses[0], torch.Tensor):
            return {"loss - ln V": losses[0]}
        return {"loss - ln V": torch.stack(losses) - math.log(17)}

    # Almost equal logits: what rounding does to the loss is large beside its distance from ln V.
    logits = 0.01 * rng.normal(8, 3, 5, 17)
    check(beyond_chance, logits, labels_of(rng, 17, 5, 3, 1, 4), grad=("logits",), half=("logits",))

    def of_uneven(lm, logits, labels):
        return {"loss of uneven logits": lm.causal_lm_loss(logits.bfloat16(), labels)}

    # The differences of a large and of small numbers need more digits than bfloat16 has.
    uneven = rng.normal(3, 5, 17)
    uneven[..., int(rng.integers(0, 17, 1))] += 8.0
    check(of_uneven, uneven.bfloat16().to(uneven.dtype), labels_of(rng, 17, 5, 3, 1, 4))


@pytest.mark.weight(3)
def test_chunks_of_any_size_give_the_same_loss(check, rng):
    """chunked_causal_lm_loss has the value and the gradients of the whole, for any chunk_size."""

    def sizes(lm, hidden, weight, labels, scale):
        found = {}
        for chunk_size in (2, 4, 11, 64):
            of_size = in_chunks(lm, hidden, weight, labels, chunk_size, scale)
            found |= named(of_size, f"chunk_size={chunk_size}")
        again = in_chunks(lm, hidden, weight, labels, 4, scale, times=2)
        return found | named(again, "backward called twice")

    scale = round(float(rng.uniform(1, low=1.5, high=4.0)), 2)
    inputs = rng.normal(3, 12, 7), rng.normal(13, 7), labels_of(rng, 13, 12, 11, 11, 11)
    check(sizes, *inputs, scale)


@pytest.mark.weight(3)
def test_chunks_need_not_have_labels_that_count(check, rng):
    """Every counted token weighs the same, also beside chunks with few of them or none."""

    def ragged(lm, hidden, weight, labels, scale):
        found = {}
        for chunk_size in (3, 5):
            of_size = in_chunks(lm, hidden, weight, labels, chunk_size, scale)
            found |= named(of_size, f"chunk_size={chunk_size}")
        return found

    labels = labels_of(rng, 17, 14, 9, 2, 12)
    labels[:, 4:10] = IGNORED
    scale = round(float(rng.uniform(1, low=1.5, high=4.0)), 2)
    check(ragged, rng.normal(3, 14, 5), rng.normal(17, 5), labels, scale)


def test_chunks_obey_ignore_index(check, rng):
    """chunked_causal_lm_loss ignores what ignore_index says; where nothing counts it gives 0."""

    def losses(lm, hidden, weight, tokens, nothing):
        other = in_chunks(lm, hidden, weight, tokens, 3, ignore_index=4)
        of_nothing = in_chunks(lm, hidden, weight, nothing, 3)
        single = in_chunks(lm, hidden[:, :1], weight, tokens[:, :1], 2)
        return {
            **named(other, "ignore_index=4"),
            **named(of_nothing, "all labels ignored"),
            **named(single, "a single position"),
        }

    tokens = labels_of(rng, 9, 8, 2, 7, ignored=4)
    tokens[0, 3], tokens[1, 5] = 0, 0
    nothing = labels_of(rng, 9, 8, 0, 0)
    check(losses, rng.normal(2, 8, 6), rng.normal(9, 6), tokens, nothing)


def test_either_factor_may_be_trained_alone(check, rng):
    """The gradients are right where only hidden or only weight needs one; 0 if nothing counts."""

    def alone(lm, hidden, weight, labels, nothing, scale):
        found = {}
        for only in ("hidden", "weight"):
            of_one = in_chunks(lm, hidden, weight, labels, 4, scale, only=only)
            of_nothing = in_chunks(lm, hidden, weight, nothing, 3, only=only)
            found |= named(of_one, f"only {only} trained")
            found |= named(of_nothing, f"all labels ignored, only {only} trained")
        return found

    labels, nothing = labels_of(rng, 11, 10, 9, 4), labels_of(rng, 11, 10, 0, 0)
    scale = round(float(rng.uniform(1, low=1.5, high=4.0)), 2)
    check(alone, rng.normal(2, 10, 5), rng.normal(11, 5), labels, nothing, scale)


def test_chunks_in_half_precision(check, rng):
    """In half precision losses are computed in float32, and gradients keep their dtype."""

    def beyond_chance(lm, hidden, weight, labels):
        found = in_chunks(lm, hidden, weight, labels, 4)
        return found | {"loss": found["loss"] - math.log(19)}

    hidden, weight = 0.1 * rng.normal(2, 14, 8), 0.1 * rng.normal(19, 8)
    labels = labels_of(rng, 19, 14, 13, 5)
    # A loss near 3 is known to 2e-7 in float32, however it is summed up.
    casts = ("hidden", "weight")
    check(beyond_chance, hidden, weight, labels, half=casts, matmul=True, allowed={"loss": 1e-6})


BATCH, POSITIONS, CHUNK, VOCABULARY, HIDDEN = 2, 113, 5, 149, 3
"""Many chunks, and a vocabulary so large that nothing else is as large as the logits of one."""


@pytest.mark.weight(2)
def test_memory_is_that_of_a_chunk(check, rng):
    """Forward and backward, no tensor is larger than a chunk's logits; half of all never exist."""

    def step(lm, hidden, weight, labels, chunk_size):
        return in_chunks(lm, hidden, weight, labels, chunk_size)

    hidden, weight = rng.normal(BATCH, POSITIONS, HIDDEN), rng.normal(VOCABULARY, HIDDEN)
    labels = labels_of(rng, VOCABULARY, POSITIONS, 90, 50)
    two_chunks = BATCH * 60 * VOCABULARY
    check(step, hidden, weight, labels, 60, largest_elements=two_chunks)
    many_chunks = BATCH * CHUNK * VOCABULARY
    half = BATCH * POSITIONS * VOCABULARY // 2
    check(step, hidden, weight, labels, CHUNK, largest_elements=many_chunks, peak_elements=half)


@pytest.mark.weight(2)
def test_nothing_keeps_logits_for_the_backward_pass(check, rng):
    """Between the forward and the backward pass nothing holds the logits of a chunk."""

    def held(lm, hidden, weight, labels):
        found = {}
        for chunk_size in (CHUNK, 60):
            trains = torch.is_grad_enabled()
            leaves = [x.detach().requires_grad_(trains) for x in (hidden, weight)]
            with CostMeter() as meter:
                loss = lm.chunked_causal_lm_loss(*leaves, labels, chunk_size)
                gc.collect()
                largest = max(meter.alive(), default=0)
            found[f"loss, chunk_size={chunk_size}"] = loss
            case = f"held between forward and backward with chunk_size={chunk_size}"
            found[f"a chunk's logits are {case}"] = largest >= chunk_size * VOCABULARY
            whole = BATCH * (POSITIONS - 1) * VOCABULARY
            found[f"the logits of all positions are {case}"] = largest >= whole
        return found

    check(
        held,
        rng.normal(BATCH, POSITIONS, HIDDEN),
        rng.normal(VOCABULARY, HIDDEN),
        labels_of(rng, VOCABULARY, POSITIONS, 90, 50),
    )
