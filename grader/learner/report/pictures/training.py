"""The capstone's training: the loss of each step, and the target at which it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grader.learner.capstone.record import Run, Step, recent
from grader.learner.report.pictures.canvas import BLUE, MUTED, ORANGE, drawn
from grader.learner.report.pictures.picture import Picture
from grader.messages.catalog import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 210
_MOST_POINTS = 400
"""Of the steps' own losses; more would only make the page large."""


def training(run: Run, steps: Sequence[Step]) -> Picture | None:
    """A picture of the training, or None where there is too little to show."""
    if len(steps) < 2:
        return None
    svg, said = drawn("training", _HEIGHT, lambda figure: _draw(figure, run, steps))
    return Picture(say("pictures.training"), said, svg)


def _draw(figure: Figure, run: Run, steps: Sequence[Step]) -> str:
    losses, window = [step.loss for step in steps], int(run.recipe["window"])
    means = [recent(steps[:end], window) for end in range(1, len(steps) + 1)]
    every = -(-len(losses) // _MOST_POINTS)
    numbers = range(1, len(losses) + 1)
    axes = figure.subplots()
    axes.plot(numbers[::every], losses[::every], ".", color=BLUE, alpha=0.35, markersize=3)
    axes.plot(numbers[::every], means[::every], color=BLUE, label=f"mean of {window} steps")
    if (target := run.recipe["target"]) is not None:
        axes.axhline(target, color=ORANGE, linestyle=":", label="target")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, 1.05 * max(losses)))
    axes.tick_params(color=MUTED)
    axes.legend()
    return say(
        "pictures.training_caption",
        parameters=run.parameters,
        steps=len(steps),
        minutes=steps[-1].seconds / 60,
        first=losses[0],
        last=means[-1],
    )
