"""What a measurement came to."""

from __future__ import annotations

from dataclasses import dataclass


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
