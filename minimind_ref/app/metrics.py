"""The metrics of a training: a JSON object a line, in ``metrics.jsonl``.

step        updates made so far
loss        of the step's rows, before the update, the router's balance loss included
lr          learning rate of the update
grad_norm   before clipping; null where float16 overflowed and the update was left out
tokens      read so far, padding left out
seconds     of training so far
valid_loss  of the rows held out, after the update; in steps that end with a planned save
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .folders import replace_file

METRICS = "metrics.jsonl"

Metrics = dict[str, Any]


class MetricsFile:
    """A file that grows by a line per step.

    Args:
        path: the file.
        step: the last step that counts; what a stopped training wrote about later ones is cut off.

    Attributes:
        lines: all that is in the file.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.lines = _lines_up_to(path, step)
        replace_file(path, "".join(map(_as_line, self.lines)).encode())
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def add(self, metrics: Metrics) -> None:
        self.lines.append(metrics)
        self._file.write(_as_line(metrics))
        self._file.flush()

    def keep(self) -> None:
        """Return when all lines are on the disk: what is saved next relies on them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _lines_up_to(path: Path, step: int) -> list[Metrics]:
    if not path.exists():
        return []
    found: list[Metrics] = []
    for line in path.read_text("utf-8").splitlines():
        try:
            metrics = json.loads(line)
        except ValueError:
            break  # the process was killed while it wrote this line
        if metrics["step"] > step:
            break
        found.append(metrics)
    return found


def _as_line(metrics: Metrics) -> str:
    return json.dumps(metrics) + "\n"
