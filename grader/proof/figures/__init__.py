"""The project's own figures: measured, never guessed, each with a name of its own.

Times are ratios within one run, because machines differ and are shared. A measurement yields each
figure as soon as it is known, and in between how far it is.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Protocol

from grader.proof.figures.figure import Measured


class Bench(Protocol):
    """Measures figures of one kind; with `quick` in fewer rounds and with fewer samples."""

    def __call__(self, root: Path, quick: bool) -> Measured: ...


def _bench(name: str) -> Bench:
    """The `figures` of a module of this package, imported only when they are measured.

    Commands that it times keep compiled modules as they do for learners, even if the shell of a
    maintainer or of CI turns that off.
    """

    def measure(root: Path, quick: bool) -> Measured:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        module = importlib.import_module(f"{__name__}.{name}")
        yield from module.figures(root, quick)

    return measure


BENCHES = {
    name: _bench(name)
    for name in (
        "latency",
        "suite",
        "isolation",
        "redteam",
        "busy",
        "history",
        "report",
        "watch",
        "capstone",
        "experiments",
        "reference",
    )
}
