"""Contestants timed in turn, so that a busy machine is slow for all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

_LONG_S = 10.0
"""What takes longer than this is timed once: a product in bfloat16 where nothing multiplies it."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        value: what came out.
        unit: of the value.
        limit: what the value should reach; None where it is for information.
        at_most: whether the limit is the most that the value may be, and not the least.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_most: bool = False

    @property
    def ok(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit


def medians(
    contestants: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, float]:
    """Seconds of each, the median of some rounds; in a round each runs once.

    The first round warms up and does not count, except for contestants that take so long that
    warming up is nothing to them: those run no more.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            if turn and seconds[name] and seconds[name][0] > _LONG_S:
                continue
            wait_for(device)
            began = time.perf_counter()
            run()
            wait_for(device)
            took = time.perf_counter() - began
            if turn or took > _LONG_S:
                seconds[name].append(took)
    return {name: statistics.median(each) for name, each in seconds.items()}


def wait_for(device: torch.device) -> None:
    """Until everything asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
