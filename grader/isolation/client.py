"""The judge's side of a worker: start it, ask it, and end it when its time is over."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import cloudpickle

from grader.isolation import frames
from grader.isolation.clock import MachineTooBusy, UsedUp, WorkerClock
from grader.isolation.launch import NotGraded, ZygoteClient, clean_environment, command
from grader.isolation.pickling import pickled
from grader.isolation.sandbox import Sandbox
from grader.isolation.streams import PipeStream, SocketStream, Stream
from grader.isolation.worker import (
    NO_MEMORY,
    TOKEN_BYTES,
    Assignment,
    Task,
)
from grader.messages.catalog import say
from grader.observation.answer import Answer, Source
from grader.observation.codec import ProtocolError, unpack_observation
from grader.observation.kind import Kind
from grader.observation.record import Interruption, Observation, Request

_STARTING_SECONDS = 600.0
"""How long a worker may take to import torch on a busy machine before that is our failure."""
_GRACE_SECONDS = 0.5
"""The judge's limit lies this much above the worker's own, which can tell the line."""
_FROM_OUTSIDE = {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"}
"""Signals that a worker cannot send to itself, and that no error in it brings about."""

_MOST_RECEIVED = 1 << 25
"""The bytes that the workers of one answer may send in all: the judge keeps every reply."""

# cloudpickle searches all modules for what a function may mean by `package.module`: a millisecond
# for each function. A worker has imported the whole of torch, so nothing needs to be found.
cloudpickle.cloudpickle._find_imported_submodules = lambda code, dependencies: []

Pending = Callable[[], Observation]
"""A request that has been sent; calling it waits for the reply."""


class _Process(Protocol):
    """A running worker: a stream, and an end that can be waited for and forced."""

    stream: Stream

    @property
    def clock(self) -> WorkerClock:
        """What it has used of the processor."""

    def wait(self, seconds: float) -> int:
        """The exit code, negative for a signal.

        Raises TimeoutError if it is still running after so many seconds.
        """

    def kill(self) -> None:
        """End it at once and free what it holds."""


class _Spawned:
    """A worker started as a Python process of its own: about as slow as importing torch."""

    def __init__(self, root: Path) -> None:
        self._popen = subprocess.Popen(
            command("isolation.worker", "main(sys.argv[1])", root),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            cwd=os.path.abspath(os.sep),
            start_new_session=True,
        )
        reader, writer = cast(BinaryIO, self._popen.stdout), cast(BinaryIO, self._popen.stdin)
        self.stream: Stream = PipeStream(reader, writer)
        self.clock = WorkerClock(self._popen.pid, in_namespace=False)

    def wait(self, seconds: float) -> int:
        try:
            code = self._popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        _kill_group(self._popen.pid)
        self.stream.close()
        return code

    def kill(self) -> None:
        self._popen.kill()
        _kill_group(self._popen.pid)
        self.stream.close()
        self._popen.wait()


class _Forked:
    """A worker forked from the zygote; its pid stays taken until the zygote reaps it."""

    def __init__(self, zygote: ZygoteClient, locked: Sandbox, imports: Sequence[str]) -> None:
        self._zygote = zygote
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._forked = zygote.fork(theirs, locked, imports)
        theirs.close()
        self.stream: Stream = SocketStream(ours)
        self._in_namespace = locked.profile == "full"

    @cached_property
    def clock(self) -> WorkerClock:
        return WorkerClock(self._forked(), in_namespace=self._in_namespace)

    def wait(self, seconds: float) -> int:
        pid = self._forked()
        if not _ended(pid, seconds):
            raise TimeoutError
        self.clock.used()  # while it can still be read
        _kill_group(pid)
        self.stream.close()
        return self._zygote.reap(pid)()

    def kill(self) -> None:
        with contextlib.suppress(NotGraded):  # without a zygote it is an orphan, and gone
            pid = self._forked()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _kill_group(pid)
            self._zygote.reap(pid)  # it is as good as dead: nobody waits for that
        self.stream.close()


class Worker:
    """One worker for one answer, started when it is first needed and again when it has died.

    Importing the answer may take `seconds` of the processor, and everything `seconds_in_all`.
    """

    def __init__(
        self,
        answer: Answer,
        config: Source,
        *,
        root: Path,
        threads: int = 1,
        seconds: float = 10.0,
        seconds_in_all: float = math.inf,
        locked: Sandbox | None = None,
        imports: Sequence[str] = (),
        zygote: ZygoteClient | None = None,
    ) -> None:
        self._assignment = Assignment(answer, config, threads, seconds)
        self._seconds_in_all = seconds_in_all
        self._root = root
        self._locked = locked or Sandbox()
        self._imports = imports
        self._zygote = zygote
        self._process: _Process | None = None
        self._greeted = False
        self._received = 0
        self._ended_used = 0.0
        self._has_loaded = False

    @property
    def spent(self) -> float:
        """Seconds of the processor that all processes for this answer have used."""
        running = self._process.clock.used() if self._process and self._greeted else 0.0
        return self._ended_used + running

    def launch(self) -> None:
        """Begin to start the process, if none is running: it gets ready while the judge works.

        Raises NotGraded where it cannot.
        """
        if self._process is not None:
            return
        self._process = self._launched()
        self._greeted = self._has_loaded = False
        self._process.stream.send(pickled(self._assignment))

    def start(self) -> None:
        """Launch the process if none is running, and wait until it has locked itself in.

        Raises NotGraded where it cannot.
        """
        self.launch()
        if self._greeted:
            return
        refusal = self._refusal()
        if refusal:  # it may have been killed before it said a word
            self.launch()
            refusal = self._refusal()
        if refusal:
            raise NotGraded(say("workers.none", why=refusal))
        self._greeted = True

    def _refusal(self) -> str:
        """Why the process is not locked in, and then it is ended; empty if it is."""
        refusal = say("workers.not_started")
        with contextlib.suppress(TimeoutError, ProtocolError):
            greeting = self._stream.receive(_STARTING_SECONDS)
            if greeting is not None:
                refusal = frames.unpack_greeting(greeting)
        if refusal:
            self.stop()
        return refusal

    def _launched(self) -> _Process:
        if self._zygote:
            return _Forked(self._zygote, self._locked, self._imports)
        if self._locked.profile != "process":
            raise NotGraded(say("workers.needs_linux", profile=self._locked.profile))
        return _Spawned(self._root)

    def ask(self, request: Request, seconds: float) -> Pending:
        """Send a request; the worker runs it while the judge goes on with its own work.

        A worker that was killed from outside is asked again, once, in a new process.
        """
        reply = self._asked(request, seconds)

        def answered() -> Observation:
            seen = reply()
            if _killed_by(seen):
                seen = self._asked(request, seconds)()
            if signal := _killed_by(seen):
                return _not_graded(say("workers.killed", how=signal))
            return seen

        return answered

    def _asked(self, request: Request, seconds: float) -> Pending:
        self.start()
        process = self._process
        assert process is not None
        token = secrets.token_bytes(TOKEN_BYTES)
        process.stream.send(token + pickled(Task(request, seconds)))
        # The first time, the answer may still be being imported.
        allowed = seconds + (0.0 if self._has_loaded else self._assignment.seconds)
        self._has_loaded = True
        allowed = min(allowed, self._seconds_in_all - self.spent)
        return lambda: self._reply(process, token, allowed + _GRACE_SECONDS)

    @property
    def _stream(self) -> Stream:
        assert self._process is not None
        return self._process.stream

    def _reply(self, process: _Process, token: bytes, seconds: float) -> Observation:
        """What the worker saw, or what became of it."""
        try:
            reply = process.clock.wait(process.stream.receive, seconds)
            if reply is None:
                return Observation(interruption=self._how_it_ended())
            return unpack_observation(self._checked(reply, token))
        except UsedUp as used_up:
            self.stop()
            return Observation(interruption=Interruption(Kind.TIMED_OUT, how=used_up.how))
        except MachineTooBusy:
            self.stop()
            return _not_graded(say("workers.busy"))
        except ProtocolError as error:
            self.stop()
            return _protocol(str(error))

    def _checked(self, reply: bytes, token: bytes) -> bytes:
        """The observation in a reply that is for this request and no other."""
        if not reply.startswith(token):
            raise ProtocolError("a reply to another request, or to none")
        self._received += len(reply)
        if self._received > _MOST_RECEIVED:
            raise ProtocolError(f"replies of more than {_MOST_RECEIVED} bytes in all")
        return reply[TOKEN_BYTES:]

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None:
            self._note_end(process)
            process.kill()

    def _note_end(self, process: _Process) -> None:
        if self._greeted:
            self._ended_used += process.clock.used()
        self._greeted = False

    def _how_it_ended(self) -> Interruption:
        assert self._process is not None
        try:
            code = self._process.clock.wait(self._process.wait, _GRACE_SECONDS)
        except (UsedUp, MachineTooBusy):
            self.stop()
            return Interruption(Kind.PROTOCOL, message="the answer closed the worker's stream")
        self._note_end(self._process)
        self._process = None
        if code < 0:
            return Interruption(Kind.CRASHED, type_name=_signal_name(-code))
        if code == NO_MEMORY:
            return Interruption(Kind.OUT_OF_MEMORY)
        return Interruption(Kind.EXITED, message=str(code))


def _killed_by(seen: Observation) -> str:
    """The signal that somebody has sent to a worker; empty where nobody has."""
    interruption = seen.interruption
    if interruption is None or interruption.kind is not Kind.CRASHED:
        return ""
    return interruption.type_name if interruption.type_name in _FROM_OUTSIDE else ""


def _not_graded(why: str) -> Observation:
    return Observation(interruption=Interruption(Kind.NOT_GRADED, message=why))


def _protocol(what: str) -> Observation:
    return Observation(interruption=Interruption(Kind.PROTOCOL, message=what))


def _kill_group(leader: int) -> None:
    """End what an answer has started; its group is there while any of it is."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def _ended(pid: int, seconds: float) -> bool:
    """Whether a process that is not our child ends in time; its zombie waits for the zygote."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
