"""What a measurement came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Figure:
    """One number: `limit` is what it may be at most, None where it is for information."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def ok(self) -> bool | None:
        return None if self.limit is None else self.value <= self.limit


@dataclass(frozen=True)
class Stage:
    """How far a measurement is, for whoever waits for its next figure."""

    name: str
    done: int
    of: int


Measured = Iterator[Figure | Stage]
"""Figures as soon as each is known, and how far it is in between."""


def stages(name: str, items: Sequence[Item]) -> Iterator[tuple[Stage, Item]]:
    """Each item, and how many are done before it."""
    for number, item in enumerate(items):
        yield Stage(name, number, len(items)), item
