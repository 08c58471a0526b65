"""What a learner's own benchmarks measured: pytest-benchmark's JSON, kept in `.grader/timings/`.

Running the benchmarks of one exercise, for example by `pytest tests/test_06_flash_attention.py
--benchmark-only`, replaces what they measured before. The report draws it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.course.syllabus import Exercise


@dataclass(frozen=True)
class Timing:
    """How long one kind of answer took.

    Attributes:
        kind: of the contestants in a benchmark, for example "manual" or "yours".
        direction: "forward" or "forward + backward".
        dtype: of the tensors, without "torch.".
        tokens: the length of the text.
        seconds: the median of some rounds.
    """

    kind: str
    direction: str
    dtype: str
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Timings:
    """One run of benchmarks: the processor or other device it ran on, its day, what it measured."""

    machine: str
    day: str
    all: tuple[Timing, ...]


def timings_file(exercise: Exercise, root: Path) -> Path:
    return root / ".grader" / "timings" / f"{exercise.id}.json"


def read_timings(file: Path) -> Timings | None:
    """What a file of pytest-benchmark's says; None if there is none, or nothing of that kind."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        timings = tuple(_timing(each) for each in content["benchmarks"])
        machine = _machine(content, content["benchmarks"][0]["extra_info"]["device"])
        return Timings(machine, str(content["datetime"])[:10], timings)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None


def _timing(benchmark: Mapping[str, Any]) -> Timing:
    noted, seconds = benchmark["extra_info"], float(benchmark["stats"]["median"])
    if not 0 < seconds < float("inf"):
        raise ValueError(f"median: got {seconds}, want seconds")
    return Timing(
        str(noted["kind"]),
        str(noted["direction"]),
        str(noted["dtype"]),
        int(noted["tokens"]),
        seconds,
    )


def _machine(content: Mapping[str, Any], device: str) -> str:
    if device != "cpu":
        return device
    return str(content["machine_info"]["cpu"].get("brand_raw") or "CPU")
