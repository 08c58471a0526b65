"""What an experiment measures: one trial for each arm and seed, and what is claimed of them all."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """One arm under one seed.

    Attributes:
        arm: which way it was done, such as "with" or "without".
        seed: decides the weights at the start and the data, the same for every arm.
        measures: each number by its name, such as "loss".
        curve: the loss of each step, for a chart; empty where nothing was trained.
    """

    arm: str
    seed: int
    measures: Mapping[str, float]
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A statement about all trials, and whether it holds."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Table:
    """All trials of an experiment."""

    trials: tuple[Trial, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, in the order in which they were tried."""
        return tuple(dict.fromkeys(trial.arm for trial in self.trials))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the order in which they were tried."""
        return tuple(dict.fromkeys(trial.seed for trial in self.trials))

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of what was measured."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in trial.measures))

    def of(self, arm: str) -> tuple[Trial, ...]:
        """The trials of an arm, one a seed."""
        return tuple(trial for trial in self.trials if trial.arm == arm)

    def values(self, arm: str, measure: str) -> tuple[float, ...]:
        """One number of an arm, seed by seed."""
        return tuple(trial.measures[measure] for trial in self.of(arm))

    def low(self, arm: str, measure: str) -> float:
        """The least of an arm's numbers."""
        return min(self.values(arm, measure))

    def high(self, arm: str, measure: str) -> float:
        """The greatest of an arm's numbers."""
        return max(self.values(arm, measure))

    def median(self, arm: str, measure: str) -> float:
        """The middle of an arm's numbers."""
        return statistics.median(self.values(arm, measure))
