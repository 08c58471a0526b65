"""Run an experiment of the package `experiments`, and draw its chart into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.files import write_output
from grader.course.syllabus import Experiment
from grader.messages.catalog import say

if TYPE_CHECKING:  # torch comes with these, and a wrong name must not wait for it
    from experiments.table import Table, Trial

_INSTALL = "pip install -c constraints.txt -e '.[report]'"


class ExperimentError(Exception):
    """An experiment cannot be run or drawn here; the message says what to do."""


def trials(experiment: Experiment, seeds: int) -> Iterator[Trial]:
    """The trials under the first seeds, each as soon as it is done."""
    from experiments import registry

    return registry.trials(experiment.id, range(1, seeds + 1))


def draw_later(file: Path) -> Callable[[Experiment, Table], None]:
    """What draws a table into an SVG file. Raises ExperimentError without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ExperimentError(say("experiments.not_installed", install=_INSTALL)) from None

    def draw(experiment: Experiment, table: Table) -> None:
        from grader.learner.experiments.picture import svg

        try:
            write_output(file, svg(experiment, table).encode("utf-8"))
        except OSError as error:
            sentence = say("reporting.not_written", file=file, why=error.strerror or error)
            raise ExperimentError(sentence) from None

    return draw
