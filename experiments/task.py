"""The task of the experiments, "say the token three back", and the one loop that trains on it.

Every token is drawn at random, so guessing costs ln 16 = 2.773, and no less is possible without
looking three tokens back. A model of two layers learns that in a few seconds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from minimind_ref.config import MiniMindConfig
from minimind_ref.model import MiniMindForCausalLM
from minimind_ref.optimizer import AdamW, decay_groups
from minimind_ref.train_step import train_step

TOKENS = 16
BACK = 3
GUESSING = math.log(TOKENS)
"""The loss of whoever guesses among all tokens."""

_NOT_COUNTED = -100
_LAST = 10
"""Steps whose mean is the loss at the end: one batch more or less says little."""

Batch = tuple[Tensor, Tensor]
"""``(input_ids, labels)``, both ``[B, S]`` int64; labels are not shifted."""


def batches(seed: int, count: int, rows: int = 16, length: int = 24) -> Iterator[Batch]:
    """Random tokens and, as labels, the token three before the one that predicts.

    Args:
        seed: decides all tokens.
        count: batches.
        rows: B, sequences in a batch.
        length: S, tokens in a sequence.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        ids = torch.randint(TOKENS, (rows, length), generator=generator)
        labels = torch.full_like(ids, _NOT_COUNTED)
        # The label at t is predicted at t - 1, three tokens before which is t - 4.
        labels[:, BACK + 1 :] = ids[:, : -BACK - 1]
        yield ids, labels


def small_config(**changes: Any) -> MiniMindConfig:
    """Sizes of a model that learns the task within seconds; keyword arguments replace fields."""
    settings: dict[str, Any] = {
        "vocab_size": TOKENS,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "max_position_embeddings": 256,
        "rope_theta": 1e4,
    }
    return MiniMindConfig(**(settings | changes))


def small_model(seed: int, **changes: Any) -> MiniMindForCausalLM:
    """A model of the reference whose weights at the start depend on the seed alone."""
    torch.manual_seed(seed)
    return MiniMindForCausalLM(small_config(**changes))


def train(
    model: MiniMindForCausalLM,
    data: Iterable[Batch],
    lr: float | Callable[[int], float] = 3e-3,
    *,
    weight_decay: float = 0.0,
    autocast_dtype: torch.dtype | None = None,
) -> tuple[float, ...]:
    """One update for each batch, by the reference's own step.

    Args:
        model: trained in place.
        data: one batch a step.
        lr: the learning rate, or what gives that of each step, counted from 0.
        weight_decay: of the matrices.
        autocast_dtype: run the model under autocast to it; None runs without.

    Returns:
        The loss of each step.
    """
    optimizer = AdamW(decay_groups(model, weight_decay))
    rate = lr if callable(lr) else lambda step: lr
    return tuple(
        train_step(model, [batch], optimizer, lr=rate(step), autocast_dtype=autocast_dtype).loss
        for step, batch in enumerate(data)
    )


def at_the_end(curve: tuple[float, ...]) -> float:
    """The mean loss of the last ten steps."""
    return statistics.fmean(curve[-_LAST:])
