"""What if the weights are kept in bfloat16?

bfloat16 has 8 binary digits, so a step that is smaller than about a 500th of a weight is rounded
away. Autocast computes in bfloat16 too, but keeps the weights in float32, where small steps add up.
Weights start at a standard deviation of 1/sqrt(32): in a model this narrow, the usual 0.02 would
grow by so much in the first steps that few steps would be small beside it.

Seeds 11 to 15 (`python -m experiments bfloat16_weights 11 12 13 14 15`):
loss 0.51 to 1.73 in float32, the same to 0.01 with autocast, 1.30 to 2.25 in bfloat16, where 55 to
59 % of the weights are unchanged by a step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from experiments.table import Claim, Table, Trial
from experiments.task import Batch, at_the_end, batches, small_model, train
from minimind_ref.model import MiniMindForCausalLM

STEPS, LR = 150, 1e-3
_USUAL = 0.02
_START = 32**-0.5
_WATCHED = 10
"""One step in so many is looked at for the weights that it leaves as they are."""


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """All three arms under one seed."""
    for arm in ("float32", "autocast", "bfloat16"):
        model = _start(seed)
        if arm == "bfloat16":
            model.to(torch.bfloat16)
        autocast = torch.bfloat16 if arm == "autocast" else None
        watched = _Watched(model, list(batches(seed, steps)))
        curve = train(model, watched.data(), LR, autocast_dtype=autocast)
        measures = {"loss": at_the_end(curve), "unchanged": watched.share()}
        yield Trial(arm, seed, measures, curve)


def claims(table: Table) -> list[Claim]:
    pairs = [table.values(arm, "loss") for arm in ("float32", "autocast", "bfloat16")]
    return [
        Claim(
            "in bfloat16 a step leaves more than 40 % of the weights as they are",
            table.low("bfloat16", "unchanged") > 0.4,
        ),
        Claim(
            "in float32 it leaves less than 1 %",
            max(table.high(arm, "unchanged") for arm in ("float32", "autocast")) < 0.01,
        ),
        Claim(
            "bfloat16 is behind float32 under every seed",
            all(narrow > wide + 0.05 for wide, _, narrow in zip(*pairs, strict=True)),
        ),
        Claim(
            "autocast is within 0.03 of float32",
            all(abs(auto - wide) < 0.03 for wide, auto, _ in zip(*pairs, strict=True)),
        ),
    ]


def _start(seed: int) -> MiniMindForCausalLM:
    model = small_model(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(_START / _USUAL)
    return model


class _Watched:
    """Batches that count, on the way, how many weights the step before left unchanged."""

    def __init__(self, model: MiniMindForCausalLM, data: list[Batch]) -> None:
        self._model, self._data = model, data
        self._shares: list[float] = []

    def data(self) -> Iterator[Batch]:
        before: list[torch.Tensor] | None = None
        for step, batch in enumerate(self._data):
            if before is not None:
                self._count(before)
            looks = step % _WATCHED == 0
            before = [p.detach().clone() for p in self._model.parameters()] if looks else None
            yield batch
        if before is not None:
            self._count(before)

    def share(self) -> float:
        """The mean share of the weights that a step left as they were."""
        return sum(self._shares) / max(1, len(self._shares))

    def _count(self, before: list[torch.Tensor]) -> None:
        now = list(self._model.parameters())
        same = sum(int((a == b).sum()) for a, b in zip(before, now, strict=True))
        self._shares.append(same / sum(p.numel() for p in now))
