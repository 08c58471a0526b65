"""Filters on logits and the choice of the next token: the reference for ex19.

The repetition penalty is that of CTRL (Keskar et al., arXiv 1909.05858, section 4.1) in the form of
``transformers``, which multiplies negative logits; top-k is from Fan et al. (arXiv 1805.04833),
top-p from Holtzman et al. (arXiv 1904.09751, section 3.1).

A token is drawn by an exponential race: if each token i waits for an exponential time of rate p_i,
the first one to come is token i with probability p_i.
"""

from __future__ import annotations

import torch
from torch import Tensor


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits over the temperature, ``[B, V]``."""
    return logits / temperature


def apply_repetition_penalty(logits: Tensor, seen_ids: Tensor, penalty: float) -> Tensor:
    """Seen tokens' logits divided by `penalty` where positive, multiplied where negative.

    Args:
        logits: ``[B, V]``.
        seen_ids: ``[B, S]``; that a token occurs twice makes no difference.
        penalty: above 0.
    """
    old = logits.gather(1, seen_ids)
    # A token that occurs twice is written twice, with the same number.
    return logits.scatter(1, seen_ids, torch.where(old < 0, old * penalty, old / penalty))


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """-inf below the k-th largest logit of a row; ties with it stay, and all stay for odd k."""
    vocabulary = logits.shape[1]
    if not 0 < k <= vocabulary:
        return logits.clone()
    threshold = logits.kthvalue(vocabulary - k + 1, dim=1, keepdim=True).values
    return torch.where(logits < threshold, -torch.inf, logits)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """-inf outside the smallest set of tokens whose probabilities add up to `p`, in each row."""
    if p >= 1:
        return logits.clone()
    wide = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
    order = wide.argsort(dim=1, descending=True)
    mass = torch.softmax(wide.gather(1, order), dim=1).cumsum(dim=1)
    size = 1 + (mass[:, :-1] < p).sum(dim=1, keepdim=True)  # the one that reaches p is the last
    rank = order.argsort(dim=1)
    return torch.where(rank < size, logits, -torch.inf)


def sample(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seen_ids: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A token for each row: penalty, temperature, top-k, top-p, then a draw.

    Args:
        logits: ``[B, V]``.
        temperature: 0 takes the likeliest token after the penalty.
        top_k, top_p: see the filters.
        repetition_penalty: for the tokens in `seen_ids` ``[B, S]``, if there are any.
        generator: of the random numbers.

    Returns:
        ``[B]`` long.
    """
    if seen_ids is not None:
        logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
    if temperature == 0:
        return logits.max(dim=1).indices
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    left = top_p_filter(top_k_filter(apply_temperature(wide, temperature), top_k), top_p)
    rates = torch.softmax(left, dim=1)
    waiting = torch.empty_like(rates).exponential_(generator=generator)
    return (rates / waiting).argmax(dim=1)
