"""A chart of an experiment in plain characters: the loss step by step, or a bar for each arm."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grader.learner.experiments.words import arm_name, measure_name, written
from grader.messages.catalog import say

if TYPE_CHECKING:
    from experiments.table import Table

MARKS = "●○▲△"
_WIDTH, _HEIGHT, _BAR = 60, 9, 40
_LOGARITHMIC = 1000
"""Where values differ by more than this, bars show orders of magnitude."""


def chart(table: Table, headline: str) -> list[str]:
    """The chart, line by line: curves of the loss where it was about that, else bars."""
    drawn = headline == "loss" and all(trial.curve for trial in table.trials)
    return _curves(table) if drawn else _bars(table, headline)


def median_curve(table: Table, arm: str) -> list[float]:
    """The median over the seeds, step by step."""
    curves = (trial.curve for trial in table.of(arm))
    return [statistics.median(values) for values in zip(*curves, strict=True)]


def _curves(table: Table) -> list[str]:
    curves = {arm: median_curve(table, arm) for arm in table.arms}
    top = max(max(curve) for curve in curves.values()) or 1.0
    grid = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for mark, curve in zip(MARKS, curves.values(), strict=False):
        for column in range(_WIDTH):
            value = curve[column * (len(curve) - 1) // (_WIDTH - 1)]
            row = round((1 - max(0.0, value) / top) * (_HEIGHT - 1))
            grid[row][column] = mark
    steps = str(len(next(iter(curves.values()))))
    lines = [f"{measure_name('loss')}"]
    for line, marks in enumerate(grid):
        label = {0: f"{top:.1f}", _HEIGHT - 1: "0"}.get(line, "")
        lines.append(f"{label:>5} │{''.join(marks).rstrip()}")
    lines.append(f"{'':>5} └{'─' * _WIDTH}")
    last = say("experiments.step", count=steps)
    lines.append(f"{'':>7}{last:>{_WIDTH}}")
    named = (f"{mark} {arm_name(arm)}" for mark, arm in zip(MARKS, curves, strict=False))
    return [*lines, f"{'':>7}{'   '.join(named)}"]


def _bars(table: Table, measure: str) -> list[str]:
    values = {arm: table.median(arm, measure) for arm in table.arms}
    lengths = _lengths(list(values.values()))
    lines = [measure_name(measure)]
    for (arm, value), length in zip(values.items(), lengths, strict=True):
        lines.append(f"  {'█' * length:<{_BAR}} {written(measure, value)}  {arm_name(arm)}")
    return lines


def _lengths(values: Sequence[float]) -> list[int]:
    """How many blocks each bar has; the longest has all."""
    positive = [value for value in values if value > 0]
    most, least = max(positive, default=1.0), min(positive, default=1.0)
    if most / least <= _LOGARITHMIC:
        return [max(1 if v > 0 else 0, round(v / most * _BAR)) for v in values]
    decades = math.log10(most / least) + 1
    return [
        max(1, round((math.log10(v / least) + 1) / decades * _BAR)) if v > 0 else 0 for v in values
    ]
