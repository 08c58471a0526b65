"""Start the processes that run answers, without importing torch here.

The zygote is started before the judge imports torch itself, so that both do it at the same time.
"""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.syllabus import ROOT
from grader.messages.catalog import say

if TYPE_CHECKING:
    from grader.isolation.sandbox import Sandbox

FORKS = sys.platform == "linux"
"""Elsewhere forking a process that has run torch is not safe, so each worker starts afresh."""

_LONGEST_ANSWER = 100


class NotGraded(Exception):
    """The worker could not be had: our failure, or this machine's, never the answer's."""


Reply = Callable[[], int]
"""What the zygote was asked for: calling it waits until it is there, or raises NotGraded."""


class ZygoteClient:
    """A conversation with a process that forks workers: it ends when the process that holds it
    does, however that may end, and the workers with it."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sent = self._received = 0
        self._answers: dict[int, int] = {}

    def fork(self, stream: socket.socket, locked: Sandbox, imports: Sequence[str]) -> Reply:
        """Fork a worker that serves the other end of `stream`; its process id."""
        request = {"fork": dataclasses.asdict(locked), "imports": imports}
        return self._asked(request, [stream.fileno()])

    def reap(self, pid: int) -> Reply:
        """How a worker ended, once it has."""
        return self._asked({"reap": pid}, [])

    def _asked(self, request: Mapping[str, object], descriptors: list[int]) -> Reply:
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
        except OSError as error:
            raise NotGraded(say("workers.no_zygote")) from error
        self._sent += 1
        number = self._sent
        return lambda: self._answer(number)

    def _answer(self, number: int) -> int:
        """The answer to a request; those to earlier ones come first and are kept."""
        while number not in self._answers:
            try:
                answer = self._control.recv(_LONGEST_ANSWER)
            except OSError as error:
                raise NotGraded(say("workers.no_zygote")) from error
            if not answer:
                raise NotGraded(say("workers.no_zygote"))
            self._received += 1
            self._answers[self._received] = int(answer)
        return self._answers[number]

    def close(self) -> None:
        """End the conversation, the workers and the process that was forked for it."""
        self._control.close()


class Zygote(ZygoteClient):
    """The process that forks workers; one serves a whole run."""

    def __init__(self, root: Path) -> None:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(control)
        self._popen = subprocess.Popen(
            command("isolation.zygote", "main(*sys.argv[1:])", root, theirs.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            cwd=os.path.abspath(os.sep),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def branch(self, imports: Sequence[str] = ()) -> ZygoteClient:
        """A process forked from this one to fork workers, for one run that may be cut off.

        What it `imports` is imported here, so that the next one has it too.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asked({"branch": imports}, [theirs.fileno()])()
        theirs.close()
        return ZygoteClient(ours)

    def close(self) -> None:
        """End the process and all that it holds."""
        super().close()
        self._popen.kill()
        self._popen.wait()


def start_zygote(root: Path) -> Zygote | None:
    """The process that forks workers, where forking is safe; None elsewhere."""
    return Zygote(root) if FORKS else None


_started: list[Zygote | None] = []


def start() -> None:
    """Start a zygote for the run to come, unless one is waiting: it imports torch meanwhile."""
    if not _started:
        zygote = start_zygote(ROOT)
        _started.append(zygote)
        if zygote is not None:
            atexit.register(zygote.close)


def take() -> Zygote | None:
    """The zygote that was started early, or one started now; the caller closes it."""
    start()
    return _started.pop()


def command(module: str, call: str, *args: object) -> list[str]:
    """A Python without site folders of the user, environment or current directory."""
    program = (
        "import gc, sys; gc.disable(); sys.path.insert(0, sys.argv[1]); "
        f"from grader.{module} import main; gc.freeze(); gc.enable(); {call}"
    )
    return [sys.executable, "-I", "-c", program, *map(str, args)]


def clean_environment() -> dict[str, str]:
    """What torch needs to start and nothing else: secrets live in environments."""
    kept = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return environment | one_thread | {"OMP_WAIT_POLICY": "PASSIVE"}
