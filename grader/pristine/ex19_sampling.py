"""ex19: from logits to the next token.

A model gives a logit for every token of the vocabulary. Which token comes next is then a choice:

    penalty       tokens that were there already become less likely
    temperature   below 1 the likely tokens become likelier still, above 1 all come closer
    top-k         only the k most likely tokens stay
    top-p         only the fewest tokens stay that have a share of p between them
    softmax       what is left shares the probability, and a token is drawn

Always in this order, for each step sees what the one before has left. At temperature 0 there is no
draw: the most likely token is taken, after the penalty.

Each step takes logits and returns new ones; a token that must not be drawn gets -inf, whose softmax
is 0. Rows are independent of each other. The functions on logits keep the dtype of their logits;
probabilities are computed in float32 at least. The logits that stay have their gradients: training
by reinforcement needs them.

Axes: B rows, V vocabulary, S tokens seen. No function here modifies an argument. Inputs need not be
contiguous. Logits may be -inf already, for tokens that are forbidden; there is always one that is
not.
"""

import torch


def apply_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits divided by the temperature.

    Args:
        logits: ``[B, V]``.
        temperature: above 0.

    Returns:
        ``[B, V]`` in the dtype of the logits.
    """
    # your code here
    raise NotImplementedError


def apply_repetition_penalty(
    logits: torch.Tensor, seen_ids: torch.Tensor, penalty: float
) -> torch.Tensor:
    """Make the tokens that a row has seen less likely: the penalty of CTRL.

    The logit of a seen token is divided by the penalty where it is positive and multiplied by it
    where it is negative; with a penalty above 1, both are a step down. How often a token was seen
    makes no difference. Each row has seen its own tokens; it may have seen none (S = 0).

    Args:
        logits: ``[B, V]``.
        seen_ids: ``[B, S]``, integers in 0 .. V - 1.
        penalty: above 0; 1 changes nothing.

    Returns:
        ``[B, V]`` in the dtype of the logits.
    """
    # your code here
    raise NotImplementedError


def top_k_filter(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep each row's k largest logits; the others become -inf.

    Where several tokens are as likely as the k-th, all of them stay. All tokens stay where k is 0
    or negative, or larger than V.

    Args:
        logits: ``[B, V]``.
        k: how many tokens stay at least.

    Returns:
        ``[B, V]`` in the dtype of the logits; what stays is unchanged.
    """
    # your code here
    raise NotImplementedError


def top_p_filter(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep each row's nucleus, the smallest set of tokens with a mass of p; others become -inf.

    The mass of a set is the sum of its tokens' probabilities. Take tokens from the most likely on
    until their mass *reaches* p: the token that crosses p still belongs to them, and a mass of
    exactly p is enough. One token at least stays, so also where p is 0 or negative. Where p is 1 or
    more, all stay, however unlikely. Of equally likely tokens at the edge, any may be kept.

    Probabilities and their sums are computed in float32 at least.

    Args:
        logits: ``[B, V]``.
        p: the mass.

    Returns:
        ``[B, V]`` in the dtype of the logits; what stays is unchanged, at its place.
    """
    # your code here
    raise NotImplementedError


def sample(
    logits: torch.Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seen_ids: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Choose a token for each row.

    In this order: repetition penalty, temperature, top-k, top-p; then draw from the softmax of what
    is left, for each row by itself. With a temperature of 0 nothing is drawn: the penalty applies,
    and the largest logit wins.

    Args:
        logits: ``[B, V]``.
        temperature: 0 or more.
        top_k: as in ``top_k_filter``.
        top_p: as in ``top_p_filter``.
        repetition_penalty: as in ``apply_repetition_penalty``.
        seen_ids: ``[B, S]``, or None: then there is no penalty.
        generator: what random numbers are drawn from; None stands for torch's own generator. With a
            generator, torch's own must not move.

    Returns:
        ``[B]``, torch.long: the tokens' numbers in the vocabulary.
    """
    # your code here
    raise NotImplementedError
