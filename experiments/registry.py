"""All experiments by their ids, and how one is run under several seeds."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import torch

from experiments.table import Claim, Table, Trial

EXPERIMENTS = (
    "no_rope",
    "no_residual",
    "no_scale",
    "no_cache",
    "renormalised_router",
    "no_aux_loss",
    "tied_embeddings",
    "accumulation",
    "bfloat16_weights",
    "weight_decay",
    "no_warmup",
)
SEEDS = (1, 2, 3)
"""The seeds that a learner sees."""

THREADS = 1
"""Models this small are no faster with more, and each would count as processor time."""


class Experiment(Protocol):
    """A module of this package that answers a question."""

    STEPS: int

    def run(self, seed: int, steps: int) -> Iterator[Trial]:
        """The arms under one seed, one after the other; `steps` is the module's STEPS, or fewer."""

    def claims(self, table: Table) -> list[Claim]:
        """What is said of the experiment, and whether it is so."""


def find(name: str) -> Experiment:
    """The experiment of an id. Raises LookupError where there is none."""
    if name not in EXPERIMENTS:
        raise LookupError(f"no experiment is called {name!r}; known: {', '.join(EXPERIMENTS)}")
    return cast(Experiment, importlib.import_module(f"experiments.{name}"))


def trials(name: str, seeds: Sequence[int] = SEEDS, steps: int | None = None) -> Iterator[Trial]:
    """The trials of an experiment as they end: all arms of a seed, then those of the next."""
    experiment = find(name)
    torch.set_num_threads(THREADS)
    for seed in seeds:
        yield from experiment.run(seed, experiment.STEPS if steps is None else steps)


def run(name: str, seeds: Sequence[int] = SEEDS, steps: int | None = None) -> Table:
    """All trials of an experiment."""
    return Table(tuple(trials(name, seeds, steps)))
