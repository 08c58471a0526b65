"""How long commands take, in rounds, so that what else a machine does hits all of them alike."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path

from grader.proof.figures.figure import Figure, Stage, stages

_ROUNDS = 15
_IMPORT_TORCH = 0.88
"""Seconds that `import torch` took on the machine for which limits in milliseconds were set."""


def interleaved(
    commands: Mapping[str, list[str]],
    folders: Mapping[str, Path],
    quick: bool,
    usual: int = _ROUNDS,
) -> Generator[Figure | Stage, None, dict[str, list[float]]]:
    """Seconds that each command took in its folder; every round runs all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for stage, counts in stages("rounds of commands", rounds(usual, quick)):
        yield stage
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, cwd=folders[name], check=True, stdout=subprocess.DEVNULL)
            if counts:
                times[name].append(time.perf_counter() - started)
    return times


def slowness(folder: Path, quick: bool) -> float:
    """How many times slower than that machine this one is now, at least 1.

    A limit in milliseconds is multiplied by it: a shared machine may be slowed down to a quarter.
    """
    seconds = []
    for _ in range(1 if quick else 3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], cwd=folder, check=True)
        seconds.append(time.perf_counter() - started)
    return max(1.0, statistics.median(seconds) / _IMPORT_TORCH)


def rounds(usual: int, quick: bool) -> list[bool]:
    """Whether each round counts: the first one only warms caches, unless it is the only one."""
    return [True] if quick else [False] + [True] * usual
