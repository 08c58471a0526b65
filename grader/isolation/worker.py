"""The process that runs learner code: it gets bytes, answers with observations, decides nothing.

Forked from the zygote, or started by itself where there is no fork, as `python -I` with a clean
environment. It imports torch and the few modules below, then takes the project's folder off its
path, so that neither the reference nor a solution can be imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, BinaryIO

# One thread and no collector while importing: see the plugin, which does the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch  # noqa: E402

from grader.isolation import frames, library, sandbox  # noqa: E402
from grader.observation import answer as loading  # noqa: E402
from grader.observation import eager  # noqa: E402
from grader.observation.codec import pack_observation  # noqa: E402
from grader.observation.deadline import Deadline  # noqa: E402
from grader.observation.kind import Kind  # noqa: E402
from grader.observation.observe import load, observe  # noqa: E402
from grader.observation.printed import Printed  # noqa: E402
from grader.observation.record import Interruption, Observation, Request  # noqa: E402
from grader.observation.trouble import timed_out  # noqa: E402

NO_MEMORY = 117
"""How a worker exits that has not even enough memory to say so."""
TOKEN_BYTES = 16
"""A request begins with a random token and so does its reply: one is no answer to another."""


@dataclass(frozen=True)
class Assignment:
    """The first thing a worker is told: what it will run, and how long importing it may take."""

    answer: loading.Answer
    config: loading.Source
    threads: int = 1
    seconds: float = 10.0


@dataclass(frozen=True)
class Task:
    """One scenario to run and the seconds of the processor that it may take."""

    request: Request
    seconds: float


def tensor_of(data: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor from the bytes that it was sent as."""
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def code_of(file: str, arguments: tuple[Any, ...]) -> CodeType:
    """Code of a scenario, in a file of the name that it has in the judge's process."""
    return CodeType(*arguments).replace(co_filename=file)


def main(root: str) -> None:
    """Serve one judge on standard input and output until it closes the stream."""
    to_judge = os.fdopen(os.dup(1), "wb")
    from_judge = os.fdopen(os.dup(0), "rb")
    importlib.import_module("cloudpickle")  # scenarios come by it, and it is not in the library
    enter(root)
    serve(from_judge, to_judge, sandbox.Sandbox())


def enter(root: str) -> None:
    """Cut the process off from the terminal and from the project's folder."""
    _silence_standard_streams()
    sys.path[:] = [path for path in sys.path if not _leads_to(path, root)]
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _is_editable(finder)]
    eager.compile_nothing_more()


def serve(
    from_judge: BinaryIO,
    to_judge: BinaryIO,
    locked: sandbox.Sandbox,
    folder: Path | None = None,
) -> None:
    """Lock this process in, say so, load the assigned answer and run one scenario after another.

    `folder` is where it may write files in `light`, if it may.
    The answer is imported before the first scenario comes: the judge still prepares that.
    """
    try:
        sandbox.lock_in(locked, folder=folder)
    except sandbox.CannotLock as error:
        frames.write_frame(to_judge, frames.pack_greeting(str(error)))
        return
    if locked.profile != "process":  # it has nowhere to keep what it might compile
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.sep
    frames.write_frame(to_judge, frames.pack_greeting(""))
    first = frames.read_frame(from_judge, frames.MAX_REQUEST)
    if first is None:
        return
    library.LibraryAlone.install()
    assignment: Assignment = pickle.loads(first)
    torch.set_num_threads(assignment.threads)
    loading.install_config(assignment.config)
    files = assignment.answer.learner_files
    with Printed() as printed, Deadline(assignment.seconds, files) as deadline:
        module, interruption, _ = load(assignment.answer)
    unloaded = timed_out(Observation(interruption=interruption), deadline)
    said = printed.text()
    while (received := frames.read_frame(from_judge, frames.MAX_REQUEST)) is not None:
        token, pickled = received[:TOKEN_BYTES], received[TOKEN_BYTES:]
        try:
            task: Task = pickle.loads(pickled)
        except Exception as error:  # a scenario that needs what a locked worker has not
            what = f"the test's scenario cannot be read in its process: {error}"
            unread = Interruption(Kind.UNUSABLE, type(error).__name__, what)
            observation = Observation(interruption=unread)
            frames.write_frame(to_judge, token + pack_observation(observation))
            continue
        observation = unloaded
        with Printed() as printed, Deadline(task.seconds, files) as deadline:
            if module is not None:
                observation, _ = observe(module, task.request, files)
        if module is not None:
            observation = timed_out(observation, deadline)
        observation = dataclasses.replace(observation, printed=said + printed.text())
        said = ""
        frames.write_frame(to_judge, token + _packed(observation))


def _packed(observation: Observation) -> bytes:
    try:
        return pack_observation(observation)
    except Exception as error:
        kind = Kind.OUT_OF_MEMORY if isinstance(error, MemoryError) else Kind.UNUSABLE
        what = f"the outputs cannot be sent: {error}"
        interruption = Interruption(kind, type(error).__name__, what)
        return pack_observation(Observation(interruption=interruption))


def _silence_standard_streams() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _is_editable(finder: object) -> bool:
    """Whether a finder is the one that an editable install uses to map our packages."""
    return "editable" in getattr(finder, "__name__", type(finder).__name__).lower()


def _leads_to(path: str, root: str) -> bool:
    return not path or os.path.realpath(path) == os.path.realpath(root)
