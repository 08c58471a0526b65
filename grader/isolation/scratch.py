"""The one folder that an answer may write to, where its exercise is about files.

A worker in `full` has a file system of its own for it, of a fixed size, which ends with it. One in
`light` gets a folder of the machine's: a process beside the worker watches how much is in it, ends
the worker if that is too much, and removes the folder once the worker has ended, however it did.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import stat
import tempfile
from pathlib import Path

IN_FULL = Path("/scratch")
"""Where it is in `full`, whose worker sees no other folder that it could write to."""
MOST_FILES = 500
"""The files and folders that may be in it at once."""

_NOBODY = 65534
_EVERY_MS = 20
_LAST_WORDS_MS = 1_000
_BLOCK = 512


def make() -> Path:
    """A new folder that only a worker of this process can use."""
    folder = Path(tempfile.mkdtemp(prefix="grader-"))
    if os.geteuid() == 0:  # then workers are nobody's
        os.chown(folder, _NOBODY, _NOBODY)
    return folder


def watch(worker_id: int, folder: Path, megabytes: int) -> None:
    """Start the process that watches a child's folder. Nobody has to wait for it."""
    worker = os.pidfd_open(worker_id)  # by its number, another process could be meant later
    between = os.fork()
    if between:
        os.close(worker)
        os.waitpid(between, 0)
        return
    try:
        if os.fork() == 0:
            _close_all_but(worker)
            _watch(worker, folder, megabytes * 2**20)
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    """Let go of the streams: who waits for the end of one must not wait for this process."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _watch(worker: int, folder: Path, most_bytes: int) -> None:
    try:
        while not _has_ended(worker, _EVERY_MS):
            if _holds_more(folder, most_bytes):
                _send(worker, signal.SIGXFSZ)  # it says why; an answer may have chosen to ignore it
                if not _has_ended(worker, _LAST_WORDS_MS):
                    _send(worker, signal.SIGKILL)
    finally:
        _send(worker, signal.SIGKILL)
        _has_ended(worker, None)
        remove(folder)


def _has_ended(process: int, milliseconds: int | None) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _send(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, number)


def _holds_more(folder: Path, most_bytes: int) -> bool:
    """Whether a folder holds too much; what is so deep that it has no path is too much."""
    ahead, files, used = [os.fspath(folder)], 0, 0
    while ahead:
        try:
            with os.scandir(ahead.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    files, used = files + 1, used + found.st_blocks * _BLOCK
                    if files > MOST_FILES or used > most_bytes:
                        return True
                    if stat.S_ISDIR(found.st_mode):
                        ahead.append(entry.path)
        except FileNotFoundError:  # it was there a moment ago
            continue
        except OSError:
            return True
    return False


def remove(folder: Path) -> None:
    """Remove a folder and all that is in it, which nobody uses any more."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # too deep for one walk: the deepest folders go first, a few at a time
        os.execv("/bin/rm", ["rm", "-rf", "--", os.fspath(folder)])
