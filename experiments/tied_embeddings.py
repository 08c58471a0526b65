"""What if the embedding and the head have separate matrices?

Tied, one matrix reads tokens and writes them. The parameters are counted for MiniMind-3 as it is,
on no memory, and a small model learns the task both ways.

Seeds 11 to 15 (`python -m experiments tied_embeddings 11 12 13 14 15`):
63.9 against 68.8 million parameters; loss 0.03 to 0.07 tied, 0.01 to 0.12 separate, of which
nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from experiments.table import Claim, Table, Trial
from experiments.task import at_the_end, batches, small_model, train
from minimind_ref.config import MiniMindConfig
from minimind_ref.model import MiniMindForCausalLM, count_parameters

STEPS = 120


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """Both arms under one seed."""
    for arm, tied in (("tied", True), ("separate", False)):
        curve = train(small_model(seed, tie_word_embeddings=tied), batches(seed, steps))
        measures = {"millions": _millions(tied), "loss": at_the_end(curve)}
        yield Trial(arm, seed, measures, curve)


def claims(table: Table) -> list[Claim]:
    return [
        Claim(
            "tying saves 4.9 million of 68.8",
            round(table.low("separate", "millions") - table.low("tied", "millions"), 1) == 4.9,
        ),
        Claim(
            "the task is learned both ways",
            max(table.high(arm, "loss") for arm in table.arms) < 0.3,
        ),
    ]


def _millions(tied: bool) -> float:
    config = MiniMindConfig(tie_word_embeddings=tied)
    with torch.device("meta"):
        model = MiniMindForCausalLM(config)
    return count_parameters(model, config)[0] / 1e6
