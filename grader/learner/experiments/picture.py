"""The chart of an experiment as an SVG file, by matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from grader.course.syllabus import Experiment
from grader.learner.experiments.chart import median_curve
from grader.learner.experiments.words import WORDS, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.table import Table

_COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed")
_LOGARITHMIC = 1000


def svg(experiment: Experiment, table: Table) -> str:
    """An SVG file with every seed as a thin line or a point, and their median beside them.

    Its words are English in every language: matplotlib writes with fonts of this machine, of which
    none may know Chinese.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    headline = WORDS[experiment.id].headline
    style = {"svg.fonttype": "none", "svg.hashsalt": experiment.id}
    text = io.StringIO()
    with matplotlib.style.context([style], after_reset=True):
        figure = Figure(figsize=(6.5, 4), layout="constrained")
        axes = figure.subplots()
        axes.set_title(experiment.title)
        if headline == "loss" and all(trial.curve for trial in table.trials):
            _draw_curves(axes, table)
        else:
            _draw_points(axes, table, headline)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator"), None))
    return text.getvalue()


def _draw_curves(axes: Axes, table: Table) -> None:
    for colour, arm in zip(_COLOURS, table.arms, strict=False):
        for trial in table.of(arm):
            axes.plot(trial.curve, color=colour, linewidth=0.8, alpha=0.35)
        axes.plot(median_curve(table, arm), color=colour, linewidth=2, label=_plain(arm))
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    axes.legend(frameon=False)


def _draw_points(axes: Axes, table: Table, measure: str) -> None:
    for place, (colour, arm) in enumerate(zip(_COLOURS, table.arms, strict=False)):
        values = table.values(arm, measure)
        axes.bar(place, table.median(arm, measure), color=colour, alpha=0.35)
        axes.plot([place] * len(values), values, "o", color=colour)
        median = table.median(arm, measure)
        axes.annotate(
            written(measure, median),
            (place, median),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
        )
    axes.set_xticks(range(len(table.arms)), [_plain(arm) for arm in table.arms])
    axes.set_ylabel(_plain(measure))
    positive = [v for arm in table.arms for v in table.values(arm, measure) if v > 0]
    if positive and max(positive) / min(positive) > _LOGARITHMIC:
        axes.set_yscale("log")


def _plain(name: str) -> str:
    return name.replace("_", " ")
