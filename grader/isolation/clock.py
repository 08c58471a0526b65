"""What a worker has used of the processor, read from the system: nothing an answer says counts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from grader.observation.deadline import BACKSTOP, BUSY, seconds_without_a_processor

_LONGEST_WAIT = 1.0
_SHORTEST_WAIT = 0.01


_T = TypeVar("_T")


class UsedUp(Exception):
    """The worker has had all the seconds that it may; `how` as in `Interruption`."""

    def __init__(self, how: str = "") -> None:
        super().__init__(how)
        self.how = how


class MachineTooBusy(Exception):
    """The worker had no answer in ten times its seconds, and wanted to work all that time."""


class WorkerClock:
    """The processor's seconds of one process, and of its first child where that does the work.

    Elsewhere than on Linux nothing can be read: `used` is 0 and only the wall clock ends a wait.
    """

    def __init__(self, pid: int, *, in_namespace: bool) -> None:
        self._pid = pid
        self._in_namespace = in_namespace
        self._used = 0.0

    def used(self) -> float:
        """Seconds of the processor since it began; the last that were known where it has ended."""
        if sys.platform == "linux":
            try:
                # The clock of another process, numbered as clock_getcpuclockid(3) does.
                self._used = time.clock_gettime(~self._worker() << 3 | 2)
            except OSError:
                pass
        return self._used

    def wait(self, receive: Callable[[float], _T], seconds: float) -> _T:
        """What `receive` gives; it takes a number of seconds and raises TimeoutError after them.

        Raises UsedUp once the process has used as many seconds of the processor from now on, or
        sleeps for ten times as long, and MachineTooBusy where it was kept from working.
        """
        before, kept_before = self.used(), self._kept_from_work()
        processors = os.cpu_count() or 1
        passed = 0.0
        while True:
            left = seconds - (self.used() - before)
            if left <= 0:
                raise UsedUp
            step = max(_SHORTEST_WAIT, min(left / processors, _LONGEST_WAIT))
            began = time.monotonic()
            try:
                return receive(step)
            except TimeoutError:
                # Whoever was stopped for an hour, as a laptop is, did not wait for an hour.
                passed += min(time.monotonic() - began, 2 * step)
            if passed > seconds * BACKSTOP:
                wanted = self.used() - before + self._kept_from_work() - kept_before
                if wanted > BUSY * passed or self._is_stopped():
                    raise MachineTooBusy
                raise UsedUp("waiting")

    def _worker(self) -> int:
        if self._in_namespace:  # the process that was forked waits for the one that works
            try:
                children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text()
                self._pid, self._in_namespace = int(children.split()[0]), False
            except (OSError, IndexError):
                pass
        return self._pid

    def _kept_from_work(self) -> float:
        return seconds_without_a_processor(str(self._worker()))

    def _is_stopped(self) -> bool:
        """Whether somebody has stopped the process: it cannot do that by itself."""
        try:
            state = Path(f"/proc/{self._worker()}/stat").read_text().rpartition(") ")[2]
        except OSError:
            return False
        return state.startswith(("T", "t"))
