"""What a training shows while it runs: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
)

_RECENT = 0.1
"""What a new step weighs in the running means of speed."""


class Shown:
    """The progress of one training.

    Args:
        step: where it begins.
        total: steps there will be.
        every: steps between two lines where there is no terminal; 0 for silence.
    """

    def __init__(self, step: int, total: int, every: int) -> None:
        self._total = total
        self._every = every
        self._before = time.monotonic()
        self._seconds: float | None = None
        self._tokens = 0.0
        self._bar: Progress | None = None
        self._task = TaskID(0)
        console = Console(stderr=True)
        if console.is_terminal and every:
            self._bar = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                console=console,
            )
            self._task = self._bar.add_task("", total=total, completed=step)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int, loss: float, tokens: int) -> float:
        """A step is made: its number, its loss, and how many tokens it read.

        Returns:
            The seconds that it took.
        """
        now = time.monotonic()
        seconds = now - self._before
        self._average(seconds, tokens)
        self._before = now
        line = f"loss {loss:.4f} · {self._speed()} tokens/s · {self._left(step)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=line)
        elif self._every and (step % self._every == 0 or step == self._total):
            click.echo(f"step {step}/{self._total} · {line}")
        return seconds

    def paused(self) -> None:
        """What took time since the last step, such as saving, is no part of the next."""
        self._before = time.monotonic()

    def _average(self, seconds: float, tokens: int) -> None:
        if self._seconds is None:
            self._seconds, self._tokens = seconds, tokens
        self._seconds += _RECENT * (seconds - self._seconds)
        self._tokens += _RECENT * (tokens - self._tokens)

    def _speed(self) -> str:
        return f"{self._tokens / max(self._seconds or 0.0, 1e-9):,.0f}"

    def _left(self, step: int) -> str:
        return _duration((self._total - step) * (self._seconds or 0.0))


def _duration(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
