"""The learner's progress: points against time at work, and where exercises were finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grader.learner.report.pictures.canvas import BLUE, INK, drawn
from grader.learner.report.pictures.picture import Picture
from grader.learner.report.portfolio import Milestone
from grader.messages.catalog import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 190
_SHORTEST = 60.0
"""Seconds at work before there is any progress worth showing."""
_NEAREST_LABELS = 0.11
"""How much of the width a label needs before the next one."""


def journey(milestones: Sequence[Milestone], possible: int) -> Picture | None:
    """A picture of the progress, or None where there is too little to show."""
    if not milestones or milestones[-1].seconds < _SHORTEST:
        return None
    svg, said = drawn("journey", _HEIGHT, lambda figure: _draw(figure, milestones, possible))
    return Picture(say("pictures.journey"), said, svg)


def _draw(figure: Figure, milestones: Sequence[Milestone], possible: int) -> str:
    in_hours = milestones[-1].seconds > 2 * 3600
    unit = 3600 if in_hours else 60
    times = [0.0, *(milestone.seconds / unit for milestone in milestones)]
    points = [0.0, *(float(milestone.points) for milestone in milestones)]
    axes = figure.subplots()
    axes.fill_between(times, points, step="post", color=BLUE, alpha=0.12, linewidth=0)
    axes.step(times, points, where="post", color=BLUE)
    labelled = -1.0
    for time, height, milestone in zip(times[1:], points[1:], milestones, strict=True):
        if not milestone.finished:
            continue
        axes.plot([time], [height], "o", color=BLUE, markersize=5)
        if time - labelled > _NEAREST_LABELS * times[-1] or labelled < 0:
            labelled = time
            axes.annotate(
                milestone.finished,
                (time, height),
                xytext=(-5, 5),
                textcoords="offset points",
                color=INK,
                ha="right" if time > _NEAREST_LABELS * times[-1] else "left",
            )
    axes.set(xlim=(0, times[-1] * 1.02), ylim=(0, 1.12 * possible))
    axes.set(xlabel="hours at work" if in_hours else "minutes at work", ylabel="points")
    return say("pictures.journey_caption")
