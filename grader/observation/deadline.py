"""A limit on what an answer's code may take of the processor, which interrupts it where it is.

The processor's seconds are counted, as judges of programming contests do it: on a busy machine a
right answer takes longer on the wall clock and not by this one. Runs beside learner code: standard
library only.
"""

from __future__ import annotations

import ast
import ctypes
import linecache
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Self

BACKSTOP = 10
"""Times as many seconds may pass on the wall clock, for answers that sleep or wait."""

_SAMPLED_FROM = 0.5
_SAMPLES = 8
BUSY = 0.5
"""The part of the time that a process must have wanted a processor for, if its wait was not its
own doing."""


class OutOfTime(BaseException):
    """Raised in the learner's frame when its time is over; no `except Exception` catches it."""


@dataclass(frozen=True)
class _Place:
    """Where one of the learner's frames was at one moment, and what its numbers were."""

    path: str
    function: str
    first_line: int
    line: int
    numbers: dict[str, float]


class Deadline:
    """Raises OutOfTime in the learner's frame once so many seconds of the processor are used.

    What torch computes cannot be interrupted: then the frame that called it is, right after.
    `was_stopped` says whether the process was stopped meanwhile and went on later, as by Ctrl-Z.
    """

    def __init__(self, seconds: float, learner_files: frozenset[str]) -> None:
        self._seconds = seconds
        self._files = learner_files
        self._samples: list[list[_Place]] = []
        self.spent = 0.0
        self.was_stopped = False
        self._ticks: _SignalTicks | _ThreadTicks | None = None

    def __enter__(self) -> Self:
        self._began = time.process_time()
        self._began_on_the_wall = time.monotonic()
        self._began_waiting = seconds_without_a_processor()
        first, then = self._seconds * _SAMPLED_FROM, self._seconds / 2 / _SAMPLES
        if threading.current_thread() is threading.main_thread():
            kind = _SignalTicks if hasattr(signal, "setitimer") else _ThreadTicks
            self._ticks = kind(first, then, self._tick)
            if hasattr(signal, "SIGCONT"):
                self._continued_before = signal.signal(signal.SIGCONT, self._note_stop)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ticks is not None:
            self._ticks.stop()
            if hasattr(signal, "SIGCONT"):
                signal.signal(signal.SIGCONT, self._continued_before)
        self.spent = time.process_time() - self._began

    @property
    def is_over(self) -> bool:
        """Whether more was used than allowed, be it that nothing could be interrupted."""
        return self.spent > self._seconds

    @property
    def how(self) -> str:
        """How the time went: the answer "waits", makes progress but is "too slow", or neither."""
        if self.spent < self._seconds:
            return "waiting"
        return "too slow" if _makes_progress(self._samples) else ""

    @property
    def machine_was_busy(self) -> bool:
        """Whether the answer wanted to work for most of the time that passed and could not."""
        passed = time.monotonic() - self._began_on_the_wall
        waited = seconds_without_a_processor() - self._began_waiting
        return self.spent < self._seconds and self.spent + waited > BUSY * passed

    def _note_stop(self, *_: object) -> None:
        self.was_stopped = True

    def _tick(self, frame: FrameType | None) -> bool:
        """Note where the learner's code is; whether it is to be interrupted."""
        if not _may_be_interrupted(frame, self._files):
            return False
        places = list(_places(frame, self._files))
        self._samples.append(places)
        return time.process_time() - self._began >= self._seconds


def seconds_without_a_processor(process: str = "self") -> float:
    """How long the threads of a process have been ready to run and had to wait for a processor.

    Linux alone tells; elsewhere it is 0.
    """
    waited = 0
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/schedstat", encoding="ascii") as file:
                waited += int(file.read().split()[1])
    except (OSError, ValueError, IndexError):  # it has ended, or the kernel does not count
        pass
    return waited / 1e9


_Tick = Callable[[FrameType | None], bool]


class _SignalTicks:
    """Calls `tick` at seconds of the processor, by a signal."""

    def __init__(self, first: float, then: float, tick: _Tick) -> None:
        self._tick = tick
        self._before = signal.signal(signal.SIGPROF, self._on_signal)
        signal.setitimer(signal.ITIMER_PROF, first, then)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._tick(frame):
            raise OutOfTime

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)


class _ThreadTicks:
    """Calls `tick` at seconds of the processor, from a thread: where there are no such signals."""

    def __init__(self, first: float, then: float, tick: _Tick) -> None:
        self._tick = tick
        self._thread_id = threading.get_ident()
        self._stopped = threading.Event()
        thread = threading.Thread(target=self._run, args=(first, then), daemon=True)
        thread.start()

    def _run(self, first: float, then: float) -> None:
        due = time.process_time() + first
        while not self._stopped.wait(max(0.01, due - time.process_time())):
            if time.process_time() < due:
                continue
            due = time.process_time() + then
            if self._tick(sys._current_frames().get(self._thread_id)):
                thread = ctypes.c_ulong(self._thread_id)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OutOfTime))

    def stop(self) -> None:
        self._stopped.set()


def _may_be_interrupted(frame: FrameType | None, files: frozenset[str]) -> bool:
    """Whether what runs is the learner's code, or a library's that it has called.

    The harness must not be interrupted. Nor must what the collector calls amid the learner's code:
    an exception gets lost there.
    """
    while frame is not None:
        if frame.f_code.co_filename in files:
            return True
        _, installed, name = frame.f_code.co_filename.partition("site-packages")
        if frame.f_code.co_name == "__del__" or (installed and name[1:6] not in ("torch", "numpy")):
            return False
        frame = frame.f_back
    return False


def _places(frame: FrameType | None, files: frozenset[str]) -> Iterator[_Place]:
    """Where the learner's frames are, innermost first."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename in files:
            numbers = {n: v for n, v in frame.f_locals.items() if type(v) in (int, float)}
            place = code.co_filename, code.co_qualname, code.co_firstlineno, frame.f_lineno or 0
            yield _Place(*place, numbers)
        frame = frame.f_back


def _makes_progress(samples: list[list[_Place]]) -> bool:
    """Whether code is in loops that come to an end, as far as samples of it show.

    A `for` loop goes on by itself. A `while` loop that all samples lie in does if a number that its
    condition asks for is another from sample to sample.
    """
    if len(samples) < 2:
        return False
    is_in_loop = False
    depth = min(map(len, samples))
    for level in range(1, depth + 1):  # from the outermost frame on, which all samples share
        places = [sample[-level] for sample in samples]
        if len({(place.path, place.first_line) for place in places}) > 1:
            return True  # it has gone on to another function
        loops = list(_loops_around(places))
        if any(isinstance(loop, ast.While) and not _goes_on(loop, places) for loop in loops):
            return False
        is_in_loop |= bool(loops)
    return is_in_loop or len({sample[0].line for sample in samples}) > 1


_Loop = ast.For | ast.While | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def _loops_around(places: list[_Place]) -> Iterator[_Loop]:
    """The loops of a function that contain every line it was at."""
    first, last = min(p.line for p in places), max(p.line for p in places)
    try:
        tree = ast.parse("".join(linecache.getlines(places[0].path)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, _Loop):
            end = node.end_lineno or node.lineno
            if places[0].first_line <= node.lineno <= first and last <= end:
                yield node


def _goes_on(loop: ast.While, places: list[_Place]) -> bool:
    asked = {node.id for node in ast.walk(loop.test) if isinstance(node, ast.Name)}
    values = [tuple(place.numbers.get(name) for name in sorted(asked)) for place in places]
    return len(set(values)) > 1
