"""Other processes on Linux: who is there, what they have used, and how long to wait for them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SETTLING = 0.3
"""Processor seconds of our own: meanwhile a killed process has as many turns as we do to end."""
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


def adopt_orphans() -> None:
    """Become the parent of every process below this one that loses its own (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def left_running(before: Container[int]) -> dict[int, str]:
    """The names of processes that were not there `before` and do not end by themselves soon."""
    end = time.process_time() + _SETTLING
    while True:
        now = below(os.getpid())
        found = {pid: process.name for pid, process in now.items() if pid not in before}
        if not found or time.process_time() > end:
            return found
        time.sleep(0.02)


def end_all_but(before: Container[int]) -> None:
    """Kill every process below this one that was not there `before`."""
    for _ in range(100):
        remaining = [pid for pid in below(os.getpid()) if pid not in before]
        for pid in remaining:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
        if not remaining:
            return


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
