"""Other processes on Linux: who is there, what they have used, and how long to wait for them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK = 0.5
"""The longest that one look may count as time slept: between two looks much may have happened."""


@dataclass(frozen=True)
class Process:
    """One that has not ended; `seconds` are its processor's, with those of its waited-for ones."""

    name: str
    state: str
    parent: int
    session: int
    seconds: float


def processes() -> dict[int, Process]:
    """All processes of this machine by their ids; none where there is no /proc."""
    return dict(_read())


def _read() -> Iterator[tuple[int, Process]]:
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 1
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(") ")
        except OSError:
            continue  # it has ended meanwhile
        fields = rest.split()
        if fields[0] != "Z":
            seconds = sum(map(int, fields[11:15])) / tick
            yield int(entry.name), Process(name, fields[0], int(fields[1]), int(fields[3]), seconds)


def below(pid: int) -> dict[int, Process]:
    """The processes started by one and by its children, as far down as it goes."""
    return _below(pid, processes())


def _below(pid: int, everybody: Mapping[int, Process]) -> dict[int, Process]:
    family, found = {pid}, dict[int, Process]()
    while more := {p: s for p, s in everybody.items() if s.parent in family and p not in found}:
        found |= more
        family = set(more)
    return found


class Patience:
    """How long to wait for a process and those below it, however busy the machine is.

    It ends when they have used so many processor seconds, or when for so long none of them wanted
    to run: whoever waits for a processor is not late.
    """

    def __init__(self, pid: int, *, busy: float, idle: float) -> None:
        self._pid = pid
        self._busy, self._idle = busy, idle
        self._began = sum(process.seconds for process in self._family())
        self._slept, self._looked = 0.0, time.monotonic()

    def is_over(self) -> bool:
        """Look again, a few times a second: a look takes milliseconds."""
        family, now = self._family(), time.monotonic()
        if not any(process.state in "RD" for process in family):
            self._slept += min(now - self._looked, _TICK)
        self._looked = now
        used = sum(process.seconds for process in family) - self._began
        return self._slept > self._idle or used > self._busy

    def _family(self) -> list[Process]:
        everybody = processes()
        itself = [everybody[self._pid]] if self._pid in everybody else []
        return [*itself, *_below(self._pid, everybody).values()]
