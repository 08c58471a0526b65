"""The figures of the experiments: do their claims hold with fresh seeds, and what do they cost?"""

from __future__ import annotations

import random
import time
from pathlib import Path

from grader.proof.figures.figure import Figure, Measured, stages

_SEEDS = 5
_QUICK_EXPERIMENTS = 2
_FIRST, _LAST = 1_000, 1_000_000
"""Among these no experiment was tuned."""
_SHOWN = 3
"""The seeds that a learner sees, whose seconds are limited; a claim is about no fewer."""


def figures(root: Path, quick: bool) -> Measured:
    """Every experiment, or few of them, under seeds that were never seen."""
    from experiments.registry import EXPERIMENTS, find, run

    names = list(EXPERIMENTS)
    if quick:
        names = random.sample(names, min(_QUICK_EXPERIMENTS, len(names)))
    seeds = random.sample(range(_FIRST, _LAST), _SHOWN if quick else _SEEDS)
    # They are numbers of the run, so that whoever reads of a failure can repeat it.
    for number, seed in enumerate(seeds, start=1):
        yield Figure(f"experiments.seed {number}", seed, "")
    for stage, name in stages("experiments", names):
        yield stage
        began = time.process_time()
        table = run(name, seeds)
        seconds = (time.process_time() - began) / len(seeds) * _SHOWN
        claims = find(name).claims(table)
        failed = sum(not claim.holds for claim in claims)
        yield Figure(f"experiments.{name}.claims", len(claims), "claims")
        yield Figure(f"experiments.{name}.claims that fail", failed, "claims", 0)
        yield Figure(f"experiments.{name}.three seeds", seconds, "s", 60)
