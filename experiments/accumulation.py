"""What if a large batch is cut into parts whose gradients are added up?

Four parts of four rows each give the gradient of the batch of sixteen, to rounding, because each
part has as many counted tokens as the others. Where the parts have different numbers of tokens, the
mean of their means is not the mean of all: then something else is learned.

Seeds 11 to 15 (`python -m experiments accumulation 11 12 13 14 15`):
distance 4e-7 to 4e-5 for equal parts, 0.21 to 0.23 for uneven ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from experiments.table import Claim, Table, Trial
from experiments.task import Batch, at_the_end, batches, small_model
from minimind_ref.optimizer import AdamW
from minimind_ref.train_step import train_step

STEPS, PARTS, LR = 40, 4, 3e-3


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """All arms under one seed."""
    arms: dict[str, Callable[[Batch], list[Batch]]] = {
        "whole": lambda batch: [batch],
        "parts": _parts,
        "ragged_whole": lambda batch: [_ragged(batch)],
        "ragged_parts": lambda batch: _parts(_ragged(batch)),
    }
    curves, ends = {}, {}
    for arm, cut in arms.items():
        model = small_model(seed)
        optimizer = AdamW(model.parameters(), weight_decay=0.0)
        curve = []
        for batch in batches(seed, steps):
            curve.append(train_step(model, cut(batch), optimizer, lr=LR).loss)
        curves[arm] = tuple(curve)
        ends[arm] = torch.cat([p.detach().flatten() for p in model.parameters()])
    yield from [
        Trial(
            arm,
            seed,
            {"loss": at_the_end(curves[arm]), "apart": _apart(ends[arm], ends[base])},
            curves[arm],
        )
        for arm in arms
        for base in ["ragged_whole" if arm.startswith("ragged") else "whole"]
    ]


def claims(table: Table) -> list[Claim]:
    return [
        Claim("equal parts end at the same weights", table.high("parts", "apart") < 1e-2),
        Claim(
            "parts of different sizes end at others, ten times as far away",
            table.low("ragged_parts", "apart") > 10 * table.high("parts", "apart"),
        ),
    ]


def _parts(batch: Batch) -> list[Batch]:
    ids, labels = batch
    return list(zip(ids.chunk(PARTS), labels.chunk(PARTS), strict=True))


def _ragged(batch: Batch) -> Batch:
    """The same batch, of whose later rows ever fewer tokens are counted."""
    ids, labels = batch
    labels = labels.clone()
    rows, length = labels.shape
    for row in range(rows):
        labels[row, length - row * (length - 6) // rows :] = -100
    return ids, labels


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far two models are apart, relative to the length of all weights."""
    return float((one - other).norm() / other.norm())
