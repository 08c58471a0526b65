"""The judge's side of a worker: start it, ask it, and end it when its time is over."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol, cast

import cloudpickle

from grader import frames
from grader.launching import Branch, NotGraded, clean_environment, command
from grader.loading import Answer, Source
from grader.observing import Observation, Request, Trouble
from grader.sandbox import Sandbox
from grader.worker import NO_MEMORY, SOFT_DEADLINE, TOKEN_BYTES, Assignment, Task

_STARTING_SECONDS = 60.0
"""How long a worker may take to import torch on a busy machine before that is our failure."""
_GRACE_SECONDS = 0.5
"""The judge's deadline lies this much after the worker's own, which can tell the line."""

_UNREAD = 2
"""Frames that may wait to be read: the reply, and one too many, which gives the answer away."""
_MOST_RECEIVED = 1 << 28
"""What one worker may send in all: the judge keeps every reply for the diagnosis."""

# cloudpickle searches all modules for what a function may mean by `package.module`: a millisecond
# for each function. A worker has imported the whole of torch, so nothing needs to be found.
cloudpickle.cloudpickle._find_imported_submodules = lambda code, dependencies: []

_Replies = queue.Queue[bytes | None | Exception]
_Requests = queue.Queue[bytes | None]

Pending = Callable[[], Observation]
"""A request that has been sent; calling it waits for the reply."""


class _Process(Protocol):
    """A running worker: two streams, and an end that can be waited for and forced.

    The threads that read and write close the streams: whoever else did would wait for them.
    """

    reader: BinaryIO
    writer: BinaryIO

    def wait(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None if it is still running after all."""

    def kill(self) -> None:
        """End it at once and free what it holds."""


class _Spawned:
    """A worker started as a Python process of its own: about as slow as importing torch."""

    def __init__(self, root: Path) -> None:
        self._popen = subprocess.Popen(
            command("worker", "main(sys.argv[1])", root),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            cwd=os.path.abspath(os.sep),
            start_new_session=True,
        )
        self.reader = cast(BinaryIO, self._popen.stdout)
        self.writer = cast(BinaryIO, self._popen.stdin)

    def wait(self, seconds: float) -> int | None:
        try:
            code = self._popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        _kill_group(self._popen.pid)
        return code

    def kill(self) -> None:
        self._popen.kill()
        _kill_group(self._popen.pid)
        self._popen.wait()


class _Forked:
    """A worker forked from the zygote; its pid stays taken until the zygote reaps it."""

    def __init__(self, zygote: Branch, locked: Sandbox, imports: Sequence[str]) -> None:
        self._zygote = zygote
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._forked = zygote.fork(theirs, locked, imports)
        theirs.close()
        self.reader: BinaryIO = ours.makefile("rb")
        self.writer: BinaryIO = ours.makefile("wb")
        self._socket = ours

    def wait(self, seconds: float) -> int | None:
        pid = self._forked()
        if not _ended(pid, seconds):
            return None
        _kill_group(pid)
        self._free()
        return self._zygote.reap(pid)()

    def kill(self) -> None:
        with contextlib.suppress(NotGraded):  # without a zygote it is an orphan, and gone
            pid = self._forked()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _kill_group(pid)
            self._zygote.reap(pid)  # it is as good as dead: nobody waits for that
        self._free()

    def _free(self) -> None:
        # Whoever else holds the other end, the threads at this one now come to an end.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Worker:
    """One worker for one answer, started when it is first needed and again when it has died."""

    def __init__(
        self,
        answer: Answer,
        config: Source,
        *,
        root: Path,
        threads: int = 1,
        seconds: float = 10.0,
        locked: Sandbox | None = None,
        imports: Sequence[str] = (),
        zygote: Branch | None = None,
    ) -> None:
        self._assignment = Assignment(answer, config, threads, seconds)
        self._root = root
        self._locked = locked or Sandbox()
        self._imports = imports
        self._zygote = zygote
        self._process: _Process | None = None
        self._greeted = False
        self._replies: _Replies = queue.Queue()
        self._requests: _Requests = queue.Queue()
        self._received = 0

    def launch(self) -> None:
        """Begin to start the process, if none is running: it gets ready while the judge works.

        Raises NotGraded where it cannot.
        """
        if self._process is not None:
            return
        process = self._launched()
        self._process = process
        self._greeted = False
        self._replies = queue.Queue(_UNREAD)
        self._requests = queue.Queue()
        self._requests.put(cloudpickle.dumps(self._assignment))
        self._received = 0
        for work, stream, line in (
            (_read_replies, process.reader, self._replies),
            (_write_requests, process.writer, self._requests),
        ):
            threading.Thread(target=work, args=(stream, line), daemon=True).start()

    def start(self) -> None:
        """Launch the process if none is running, and wait until it has locked itself in.

        Raises NotGraded where it cannot.
        """
        self.launch()
        if self._greeted:
            return
        try:
            greeting = self._replies.get(timeout=_STARTING_SECONDS)
        except queue.Empty:
            greeting = None
        refusal = "it did not start"
        if isinstance(greeting, bytes):
            refusal = frames.unpack_greeting(greeting)
        if refusal:
            self.stop()
            raise NotGraded(f"no worker could be had: {refusal}")
        self._greeted = True

    def _launched(self) -> _Process:
        if self._zygote:
            return _Forked(self._zygote, self._locked, self._imports)
        if self._locked.profile != "process":
            raise NotGraded(f"the profile {self._locked.profile} needs Linux")
        return _Spawned(self._root)

    def ask(self, request: Request, seconds: float) -> Pending:
        """Send a request; the worker runs it while the judge goes on with its own work."""
        self.start()
        while not self._replies.empty():  # a reply to nothing: the answer writes to the stream
            early = self._replies.get_nowait()
            if isinstance(early, bytes):
                self.stop()
                return lambda: _protocol("a reply came before its request")
            self._replies.put(early)
            break
        token = secrets.token_bytes(TOKEN_BYTES)
        self._requests.put(token + cloudpickle.dumps(Task(request, seconds)))
        deadline = time.monotonic() + seconds + _GRACE_SECONDS * SOFT_DEADLINE
        return lambda: self._reply(token, deadline)

    def _reply(self, token: bytes, deadline: float) -> Observation:
        """What the worker saw, or why it could not say: a trouble of a kind of the judge's."""
        try:
            reply = self._replies.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self.stop()
            return Observation(trouble=Trouble("timed out"))
        if isinstance(reply, bytes):
            try:
                return frames.unpack_observation(self._checked(reply, token))
            except frames.ProtocolError as error:
                reply = error
        if reply is None:
            return Observation(trouble=self._how_it_ended())
        self.stop()
        return _protocol(str(reply))

    def _checked(self, reply: bytes, token: bytes) -> bytes:
        """The observation in a reply that is for this request and no other."""
        if not reply.startswith(token):
            raise frames.ProtocolError("a reply to another request, or to none")
        self._received += len(reply)
        if self._received > _MOST_RECEIVED:
            raise frames.ProtocolError(f"replies of more than {_MOST_RECEIVED} bytes in all")
        return reply[TOKEN_BYTES:]

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None:
            self._requests.put(None)
            process.kill()

    def _how_it_ended(self) -> Trouble:
        assert self._process is not None
        code = self._process.wait(_GRACE_SECONDS)
        if code is None:
            self.stop()
            return Trouble("protocol", message="the answer closed the worker's stream")
        self._requests.put(None)
        self._process = None
        if code < 0:
            return Trouble("crashed", type_name=_signal_name(-code))
        if code == NO_MEMORY:
            return Trouble("out of memory")
        return Trouble("exited", message=str(code))


def _protocol(what: str) -> Observation:
    return Observation(trouble=Trouble("protocol", message=what))


def register_by_value(module: ModuleType) -> None:
    """Ship a test module's functions with the scenario instead of naming the module."""
    cloudpickle.register_pickle_by_value(module)


def _read_replies(stream: BinaryIO, replies: _Replies) -> None:
    """Read until the end; a worker that sends more than it was asked for is read no further."""
    last: Exception | None = None
    with contextlib.suppress(queue.Full, OSError), stream:
        try:
            while (payload := frames.read_frame(stream)) is not None:
                replies.put_nowait(payload)
        except frames.ProtocolError as error:
            last = error
        except (OSError, ValueError):
            pass  # it was ended by us
        replies.put_nowait(last)


def _write_requests(stream: BinaryIO, requests: _Requests) -> None:
    """Write in a thread of its own: a worker that does not read must not stop the judge."""
    with contextlib.suppress(OSError, ValueError), stream:  # its death is told by the reply
        while (payload := requests.get()) is not None:
            frames.write_frame(stream, payload)


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
