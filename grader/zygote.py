"""A process with torch already imported that forks a worker on request, in milliseconds.

It holds nothing secret: neither the reference nor a solution nor a test is ever imported here. It
answers two requests on a Unix socket, each one byte: `F` with a socket's descriptor forks a worker
that serves that socket, and returns its process id; `R` with a process id returns how it ended.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from types import ModuleType

import torch
from torch.func import functional_call

from grader import frames, observing, worker

FORK, REAP = b"F", b"R"
NUMBER = struct.Struct("<q")


def main(root: str, descriptor: int) -> None:
    """Serve one judge until it closes its end of the socket."""
    control = socket.socket(fileno=descriptor)
    worker.enter(root)
    _warm()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 + NUMBER.size, 1)
        if not message:
            return
        if message[:1] == FORK:
            pid = _fork(descriptors[0], control)
            os.close(descriptors[0])
            control.sendall(NUMBER.pack(pid))
        else:
            (pid,) = NUMBER.unpack(message[1:])
            control.sendall(NUMBER.pack(_reap(pid)))


def _fork(descriptor: int, control: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        control.close()
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stream = socket.socket(fileno=descriptor)
        worker.serve(stream.makefile("rb"), stream.makefile("wb"))
        code = 0
    finally:
        os._exit(code)


def _reap(pid: int) -> int:
    """A negative signal or an exit code; the process is dead or about to be."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status)


def _warm() -> None:
    """Do once what every worker does first, with one thread, or forked children would hang."""
    torch.set_num_threads(1)
    torch.nn.functional.silu(torch.nn.Linear(2, 2)(torch.ones(1, 2)))
    request = observing.Request(
        lambda module, x: functional_call(torch.nn.Linear(2, 2), {}, (x,)),
        {"x": torch.ones(1, 2)},
        cotangents={observing.SINGLE: torch.ones(1, 2)},
        differentiate=("x",),
        draws=True,
    )
    seen, _ = observing.observe(ModuleType("warm"), request, frozenset(), keep_printed=True)
    frames.unpack_observation(frames.pack_observation(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
