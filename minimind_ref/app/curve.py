"""The loss over the steps, as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .folders import replace_file
from .metrics import Metrics

CURVE = "loss.svg"

_POINTS = 500
"""More would make the file large and show nothing."""


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw_curve(path: Path, lines: Sequence[Metrics], title: str) -> None:
    """Draw the metrics of a training.

    Args:
        path: an SVG file, replaced in one step.
        lines: as ``metrics.jsonl`` holds them; at least one.
        title: above the picture.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = _averaged(lines)
    axes.plot(steps, losses, label="training", linewidth=1)
    valid = [(line["step"], line["valid_loss"]) for line in lines if "valid_loss" in line]
    if valid:
        axes.plot(*zip(*valid, strict=True), label="validation", marker="o", markersize=3)
        axes.legend()
    axes.set(title=title, xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    drawn = io.BytesIO()
    # Without a date and with names that follow from the content, the same metrics give the same
    # file.
    with matplotlib.rc_context({"svg.hashsalt": "minimind"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    replace_file(path, drawn.getvalue())


def _averaged(lines: Sequence[Metrics]) -> tuple[list[float], list[float]]:
    """Steps and losses, a mean over neighbouring steps where there are very many."""
    width = -(-len(lines) // _POINTS)
    groups = [lines[at : at + width] for at in range(0, len(lines), width)]
    return (
        [sum(line["step"] for line in group) / len(group) for group in groups],
        [sum(line["loss"] for line in group) / len(group) for group in groups],
    )
