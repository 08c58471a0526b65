"""The judge of `grader watch`: a process with torch imported that runs one exercise at a time.

It reads requests, a JSON object a line with an exercise and a number, and writes a verdict a line.
A newer request ends the run under way, whose verdict is then never written.

Where forking is safe, a runner is forked for an exercise. After every run it collects the tests for
the next one and then waits, so that a save costs the tests alone; and where a newer save comes too
soon it is simply killed, and its worker with it. Elsewhere the tests run here, to their end.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.course import Course
from grader.isolation.launch import Zygote, start_zygote
from grader.learner.watch.verdict import Verdict
from grader.messages.catalog import say

if TYPE_CHECKING:  # the zygote is started before torch is imported here
    from grader.learner.watch.runs import Runs

_CHUNK = 1 << 16


def main(root: str) -> None:
    """Serve one `grader watch` on standard input and output until it closes the first."""
    requests, verdicts = os.dup(0), os.dup(1)
    _silence_standard_streams()
    zygote = start_zygote(Path(root))
    from grader.learner.watch.runs import Runs

    runs = Runs(Course.load(Path(root)))
    if zygote is None:
        _serve_here(runs, requests, verdicts)
    else:
        _Supervisor(runs, zygote, requests, verdicts).serve()
        zygote.close()


def _silence_standard_streams() -> None:
    """What a test prints must not get among the verdicts."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


@dataclass(frozen=True)
class _Request:
    exercise: str
    number: int


class _Lines:
    """Puts lines together from the pieces in which they are read."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: bytes) -> list[bytes]:
        """The lines that a piece completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return lines


def _request(line: bytes) -> _Request:
    return _Request(**json.loads(line))


class _Runner:
    """A forked process that runs one exercise whenever it is told to.

    `number` is that of the request that it is at, None while it waits.
    """

    def __init__(self, runs: Runs, zygote: Zygote, exercise: str) -> None:
        self.exercise = exercise
        self.number: int | None = None
        branch = zygote.branch(runs.imports(exercise))
        their_go, self._go = os.pipe()
        self.verdicts, their_verdicts = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._go)
            try:
                while True:
                    told = runs.run(exercise, branch, lambda: _waited(their_go))
                    _write(their_verdicts, told.packed())
            finally:
                os._exit(1)
        os.close(their_go)
        os.close(their_verdicts)
        branch.close()

    def go(self, number: int) -> None:
        """Let it run its tests for a request."""
        self.number = number
        with contextlib.suppress(BrokenPipeError):  # it has ended, and so has its other pipe
            os.write(self._go, b"%d\n" % number)

    def end(self) -> None:
        """End it, whatever it is doing; its branch of the zygote then ends the worker."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._go)
        os.close(self.verdicts)


def _waited(descriptor: int) -> int:
    told = os.read(descriptor, _CHUNK)
    if not told:  # whoever could ask is gone
        os._exit(0)
    return int(told)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


class _Supervisor:
    """Keeps one runner waiting or running, and never a run that is out of date."""

    def __init__(self, runs: Runs, zygote: Zygote, requests: int, verdicts: int) -> None:
        self._runs = runs
        self._zygote = zygote
        self._requests = requests
        self._verdicts = verdicts
        self._asked = _Lines()
        self._said = _Lines()
        self._runner: _Runner | None = None

    def serve(self) -> None:
        """Answer requests until there can be no more."""
        while True:
            sources = [self._requests, *([self._runner.verdicts] if self._runner else [])]
            ready, _, _ = select.select(sources, [], [])
            if self._requests in ready:
                piece = os.read(self._requests, _CHUNK)
                if not piece:
                    break
                if lines := self._asked.of(piece):
                    self._start(_request(lines[-1]))
            elif self._runner is not None:
                self._hear(self._runner)
        if self._runner is not None:
            self._runner.end()

    def _start(self, request: _Request) -> None:
        self._runs.warm(request.exercise)
        runner = self._runner
        if runner and (runner.number is not None or runner.exercise != request.exercise):
            runner.end()
            runner = None
        if runner is None:
            self._said = _Lines()
            runner = _Runner(self._runs, self._zygote, request.exercise)
        self._runner = runner
        runner.go(request.number)

    def _hear(self, runner: _Runner) -> None:
        piece = os.read(runner.verdicts, _CHUNK)
        for line in self._said.of(piece):
            runner.number = None
            _write(self._verdicts, line + b"\n")
        if not piece:
            self._runner = None
            runner.end()
            if runner.number is not None:
                what = say("watch.runner_ended")
                _write(self._verdicts, Verdict(runner.number, runner.exercise, what).packed())


def _serve_here(runs: Runs, requests: int, verdicts: int) -> None:
    waiting: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests, waiting), daemon=True).start()
    while (request := waiting.get()) is not None:
        if not waiting.empty():
            continue
        runs.warm(request.exercise)
        verdict = runs.run(request.exercise, None, partial(int, request.number))
        if waiting.empty():  # else it is out of date
            _write(verdicts, verdict.packed())


def _read_requests(descriptor: int, waiting: queue.SimpleQueue[_Request | None]) -> None:
    lines = _Lines()
    while piece := os.read(descriptor, _CHUNK):
        for line in lines.of(piece):
            waiting.put(_request(line))
    waiting.put(None)
