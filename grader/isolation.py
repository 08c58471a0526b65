"""The judge's side of a worker: start it, ask it, and end it when its time is over."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol, cast

import cloudpickle

from grader import frames
from grader.loading import Answer, Source
from grader.observing import Observation, Request, Trouble
from grader.worker import SOFT_DEADLINE, Assignment
from grader.zygote import FORK, NUMBER, REAP

FORKS = sys.platform == "linux"
"""Elsewhere forking a process that has run torch is not safe, so each worker starts afresh."""

_STARTING_SECONDS = 60.0
"""How long a worker may take to import torch on a busy machine before that is our failure."""
_GRACE_SECONDS = 0.5
"""The judge's deadline lies this much after the worker's own, which can tell the line."""

_Replies = queue.Queue[bytes | None | Exception]


class _Process(Protocol):
    """A running worker: two streams, and an end that can be waited for and forced."""

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
            _command("worker", "main(sys.argv[1])", str(root)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_clean_environment(),
            cwd=os.path.abspath(os.sep),
            start_new_session=True,
        )
        self.reader = cast(BinaryIO, self._popen.stdout)
        self.writer = cast(BinaryIO, self._popen.stdin)

    def wait(self, seconds: float) -> int | None:
        try:
            return self._popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()
        _close(self.reader, self.writer)


class Zygote:
    """The process that forks workers; one serves a whole run."""

    def __init__(self, root: Path) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._popen = subprocess.Popen(
            _command(
                "zygote", "main(sys.argv[1], int(sys.argv[2]))", str(root), str(theirs.fileno())
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_clean_environment(),
            cwd=os.path.abspath(os.sep),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()

    def fork(self, stream: socket.socket) -> int:
        """Fork a worker that serves the other end of `stream`; its process id."""
        socket.send_fds(self._control, [FORK], [stream.fileno()])
        return self._answer()

    def reap(self, pid: int) -> int:
        """How a worker ended, once it has."""
        self._control.sendall(REAP + NUMBER.pack(pid))
        return self._answer()

    def _answer(self) -> int:
        data = b""
        while len(data) < NUMBER.size:
            part = self._control.recv(NUMBER.size - len(data))
            if not part:
                raise RuntimeError("the process that forks workers has ended; run again")
            data += part
        return int(NUMBER.unpack(data)[0])

    def close(self) -> None:
        """End the process and all that it holds."""
        self._control.close()
        self._popen.kill()
        self._popen.wait()


class _Forked:
    """A worker forked from the zygote; its pid stays taken until the zygote reaps it."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._pid = zygote.fork(theirs)
        theirs.close()
        self.reader: BinaryIO = ours.makefile("rb")
        self.writer: BinaryIO = ours.makefile("wb")
        self._socket = ours

    def wait(self, seconds: float) -> int | None:
        if not _ended(self._pid, seconds):
            return None
        self._free()
        return self._zygote.reap(self._pid)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._free()
        self._zygote.reap(self._pid)

    def _free(self) -> None:
        # Shut down first: closing alone would wait for the thread that reads.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        _close(self.writer, self._socket)


class Worker:
    """One worker for one answer, started when it is first needed and again when it has died."""

    def __init__(
        self,
        answer: Answer,
        config: Source,
        *,
        root: Path,
        seconds: float,
        threads: int = 1,
        zygote: Zygote | None = None,
    ) -> None:
        self._assignment = Assignment(answer, config, seconds, threads)
        self._root = root
        self._seconds = seconds
        self._zygote = zygote
        self._process: _Process | None = None
        self._replies: _Replies = queue.Queue()
        self._fresh = True

    def start(self) -> None:
        """Start the process if none is running; a spawned one goes on starting meanwhile."""
        if self._process is not None:
            return
        process = self._launch()
        self._process = process
        self._replies = queue.Queue()
        self._fresh = True
        threading.Thread(
            target=_read_replies, args=(process.reader, self._replies), daemon=True
        ).start()
        self._send(cloudpickle.dumps(self._assignment))

    def _launch(self) -> _Process:
        return _Forked(self._zygote) if self._zygote else _Spawned(self._root)

    def observe(self, request: Request) -> Observation:
        """What the worker saw, or why it could not say: a trouble of a kind of the judge's."""
        self.start()
        self._send(cloudpickle.dumps(request))
        allowed = self._seconds + _GRACE_SECONDS * SOFT_DEADLINE
        if self._fresh:  # the answer is imported first, and torch before it in a spawned process
            allowed += self._seconds + (0 if self._zygote else _STARTING_SECONDS)
        try:
            reply = self._replies.get(timeout=allowed)
        except queue.Empty:
            self.stop()
            return Observation(trouble=Trouble("timed out"))
        self._fresh = False
        if isinstance(reply, bytes):
            try:
                return frames.unpack_observation(reply)
            except frames.ProtocolError as error:
                reply = error
        if reply is None:
            return Observation(trouble=self._how_it_ended())
        self.stop()
        return Observation(trouble=Trouble("protocol", message=str(reply)))

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def _send(self, payload: bytes) -> None:
        assert self._process is not None
        with contextlib.suppress(OSError):  # it has died: reading the reply says how
            frames.write_frame(self._process.writer, payload)

    def _how_it_ended(self) -> Trouble:
        assert self._process is not None
        code = self._process.wait(_GRACE_SECONDS)
        if code is None:
            self.stop()
            return Trouble("protocol", message="the answer closed the worker's stream")
        self._process = None
        if code < 0:
            return Trouble("crashed", type_name=_signal_name(-code))
        return Trouble("exited", message=str(code))


def register_by_value(module: ModuleType) -> None:
    """Ship a test module's functions with the scenario instead of naming the module."""
    cloudpickle.register_pickle_by_value(module)


def _read_replies(stream: BinaryIO, replies: _Replies) -> None:
    try:
        while (payload := frames.read_frame(stream)) is not None:
            replies.put(payload)
        replies.put(None)
    except Exception as error:
        replies.put(error if isinstance(error, frames.ProtocolError) else None)


def _command(module: str, call: str, *args: str) -> list[str]:
    """A Python without site folders of the user, environment or current directory."""
    program = (
        "import gc, sys; gc.disable(); sys.path.insert(0, sys.argv[1]); "
        f"from grader.{module} import main; gc.freeze(); gc.enable(); {call}"
    )
    return [sys.executable, "-I", "-c", program, *args]


def _clean_environment() -> dict[str, str]:
    """What torch needs to start and nothing else: secrets live in environments."""
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _ended(pid: int, seconds: float) -> bool:
    """Whether a process that is not our child ends in time; its zombie waits for the zygote."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _close(*streams: BinaryIO | socket.socket) -> None:
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
