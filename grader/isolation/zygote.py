"""A process with torch already imported that forks a worker on request, in milliseconds.

It holds nothing secret: neither the reference nor a solution nor a test is ever imported here. It
answers three requests, each a JSON object in one packet on a Unix socket: `fork`, with a sandbox
and the descriptor of a socket, forks a worker that serves that socket and returns its process id;
`reap`, with a process id, returns how that worker ended; `branch`, with modules to import first and
the descriptor of a socket, forks a process that answers such requests there, so that a judge that
is killed leaves no worker.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import signal
import socket
import tempfile
import time
from types import ModuleType
from typing import BinaryIO

import torch
from torch.func import functional_call

from grader.isolation import frames, sandbox, scratch, worker
from grader.observation.codec import pack_observation, unpack_observation
from grader.observation.late import import_now
from grader.observation.observe import observe
from grader.observation.printed import Printed
from grader.observation.record import SINGLE, Request

_LONGEST_REQUEST = 10_000

# What answers import, besides what torch has imported itself. A locked worker can read the library,
# but not the system's own that some of these rest on; the others are here to be there at once.
_WARM = (
    *("abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum", "functools"),
    *("heapq", "io", "itertools", "json", "math", "numbers", "operator", "os", "pathlib", "pickle"),
    *("random", "re", "regex", "statistics", "string", "tempfile", "textwrap", "time", "types"),
    *("typing", "unicodedata", "warnings", "cloudpickle", "numpy", "torch.func"),
    *("bz2", "ctypes", "decimal", "hashlib", "lzma", "pyexpat", "sqlite3", "ssl", "uuid", "zlib"),
    *(
        "torch.utils.data",
        "torch.utils.checkpoint",
        "torch.nn.utils.parametrize",
        "torch.utils._python_dispatch",
    ),
)


def main(root: str, descriptor: str) -> None:
    """Serve one judge until it closes its end of the socket."""
    control = socket.socket(fileno=int(descriptor))
    worker.enter(root)
    _warm()
    _answer_requests(control)


def _answer_requests(control: socket.socket) -> None:
    workers: set[int] = set()
    try:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, _LONGEST_REQUEST, 1)
            if not message:
                return
            request = json.loads(message)
            if "reap" in request:
                answer = _reap(request["reap"])
                workers.discard(request["reap"])
            elif "branch" in request:
                import_now(request["branch"])
                answer = _branch(descriptors[0], control)
                os.close(descriptors[0])
            else:
                import_now(request["imports"])
                answer = _fork(descriptors[0], control, sandbox.Sandbox(**request["fork"]))
                os.close(descriptors[0])
                workers.add(answer)
            control.send(json.dumps(answer).encode())
    finally:
        for worker_id in workers:  # whoever asked for them may have been killed
            _kill(worker_id)


def _branch(descriptor: int, control: socket.socket) -> int:
    # Nobody waits for a branch, so a process in between makes it an orphan.
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return 0
    try:
        control.close()
        if os.fork() == 0:
            _answer_requests(socket.socket(fileno=descriptor))
    finally:
        os._exit(0)


def _fork(descriptor: int, control: socket.socket, locked: sandbox.Sandbox) -> int:
    folder = scratch.make() if locked.files_mb and locked.profile == "light" else None
    pid = os.fork()
    if pid:
        if folder is not None:
            scratch.watch(pid, folder, locked.files_mb)
        return pid
    code = 1
    try:
        control.close()
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stream = socket.socket(fileno=descriptor)
        to_judge = stream.makefile("wb")
        if locked.profile == "full":
            _enter_namespaces(to_judge, locked)
        worker.serve(stream.makefile("rb"), to_judge, locked, folder)
        code = 0
    except MemoryError:
        code = worker.NO_MEMORY
    finally:
        os._exit(code)


def _enter_namespaces(to_judge: BinaryIO, locked: sandbox.Sandbox) -> None:
    """Go on as the first process of new namespaces; this one stays outside and ends as that does.

    Killing the outer one kills the inner one, which has asked to die with its parent.
    """
    try:
        sandbox.separate(files_mb=locked.files_mb)
    except sandbox.CannotLock as error:
        frames.write_frame(to_judge, frames.pack_greeting(str(error)))
        os._exit(1)
    inner = os.fork()
    if inner == 0:
        return
    _, status = os.waitpid(inner, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        os.kill(os.getpid(), -code)  # handlers were never set, so this ends the same way
    os._exit(code if code >= 0 else 1)


def _kill(pid: int) -> None:
    """End a worker and what it has started; it leads a group of its own."""
    for end in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)


def _reap(pid: int) -> int:
    """A negative signal or an exit code; the process is dead or about to be."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status)


def _warm() -> None:
    """Do once what every worker does first, with one thread, or forked children would hang."""
    sandbox.prepare()
    torch.set_num_threads(1)
    import_now(_WARM)
    pickle.loads(pickle.dumps(torch.ones(1)))
    request = Request(
        lambda module, x: functional_call(torch.nn.Linear(2, 2), {}, (x,)),
        {"x": torch.ones(1, 2)},
        cotangents={SINGLE: torch.ones(1, 2)},
        differentiate=("x",),
        draws=True,
    )
    str(torch.ones(1))
    time.localtime()
    tempfile.gettempdir()  # it looks for a folder that can be written to, which a worker has not
    with Printed():
        seen, _ = observe(ModuleType("warm"), request, frozenset())
    unpack_observation(pack_observation(seen))
    gc.collect()
    gc.freeze()  # a collection in a worker would copy every page that it shares with this process
