"""What is to be known of other processes, on Linux."""

import time
from collections.abc import Callable
from pathlib import Path

BACKSTOP = 600.0
"""Seconds after which a test gives up what never comes; no test passes or fails by the clock."""


def eventually(happens: Callable[[], bool]) -> bool:
    """Wait until something happens; False where it does not, however slow the machine is."""
    end = time.monotonic() + BACKSTOP
    while not happens():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended, though nobody may have waited for it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def children(pid: int) -> list[int]:
    """The processes that one has started, whatever has become of them."""
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in told.split()]
