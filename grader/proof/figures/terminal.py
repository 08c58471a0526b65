"""A command of the grader in a real terminal, driven by keys and read from the screen.

For the grader's own tests and figures: needs the extra `verify`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

from grader.proof.redteam.processes import Patience, below, processes

_LEFT_OUT = (".*", "__pycache__", "*.egg-info", "build", "dist", "docs", "shared")
_ENVIRONMENT = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "GRADER_LANG": "en"}
_CHUNK = 1 << 16
_BUSY, _IDLE = 120.0, 30.0
"""Processor seconds that a command may use, and seconds that it may sleep, before it is late."""
_PIECE = 0.1


def copied_course(root: Path, folder: Path) -> Path:
    """A copy of the course whose exercises may be written to; all of them are stubs in it."""
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for stub in (folder / "grader" / "pristine").glob("ex*.py"):
        shutil.copy(stub, folder / "exercises")
    return folder


class Terminal:
    """One `grader` command in a terminal of so many lines and columns.

    `program` is what Python is given before the command's words.
    """

    def __init__(
        self,
        course: Path,
        *words: str,
        size: tuple[int, int] = (24, 80),
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "grader"),
    ) -> None:
        rows, columns = size
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.received = b""
        self.process = pexpect.spawn(
            sys.executable,
            [*program, *words],
            cwd=str(course),
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
            dimensions=size,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, and end the command if it does not end by that."""
        self.hang_up()
        patience = self._patience()
        while self.process.isalive() and not patience.is_over():
            time.sleep(0.05)
        if self.process.isalive():
            self.process.kill(signal.SIGKILL)
            self.process.wait()
        self.process.close()

    def hang_up(self) -> None:
        """Lose the connection."""
        self.process.ptyproc.fileobj.close()

    @property
    def lines(self) -> list[str]:
        """What the screen shows, line by line."""
        # Pyte's own `display` raises amid a drawing, where half a wide character may be left.
        rows = (self._screen.buffer[row] for row in range(self._screen.lines))
        cells = ((row[column].data for column in range(self._screen.columns)) for row in rows)
        return ["".join(line).rstrip() for line in cells]

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self.lines)

    def press(self, *keys: str) -> None:
        """Type keys, each by itself as fingers do."""
        for key in keys:
            self.process.send(key)
            self.read_for(0.1)

    def resize(self, rows: int, columns: int) -> None:
        """Make the terminal another size, full of E's until the command draws on it."""
        self._screen.resize(rows, columns)
        self._screen.alignment_display()
        self.process.setwinsize(rows, columns)

    def wait_for(self, *texts: str, without: str = "") -> float:
        """Wait until the screen shows all of some texts; when what completed it was received.

        A text may be broken into lines. A screen may be received in two pieces, with lines of the
        one before still on it: what must no longer stand there is waited for as well.

        Raises AssertionError with the screen where it never does.
        """
        for seen in self._pieces(self._patience().is_over):
            unbroken = " ".join(self.text.split())
            shown = all(text in self.text or text in unbroken for text in texts)
            if shown and not (without and without in self.text):
                return seen
        unwanted = f" without {without!r}" if without else ""
        raise AssertionError(f"the screen does not show {texts!r}{unwanted}:\n{self.text}")

    def read_for(self, seconds: float) -> None:
        """Let the command draw for a while."""
        end = time.perf_counter() + seconds
        for _ in self._pieces(lambda: time.perf_counter() >= end):
            pass

    def ended(self) -> int:
        """Wait for the command to end; its exit code."""
        for _ in self._pieces(self._patience().is_over):
            pass
        self.close()
        return int(self.process.exitstatus if self.process.exitstatus is not None else -1)

    def processes(self) -> dict[int, float]:
        """Every process that the command has started, itself too: seconds of the CPU by id.

        Those that have lost their parent are known by the session of one that has not; Linux alone.
        """
        everybody = processes()
        family = {self.process.pid, *below(self.process.pid)}
        sessions = {everybody[pid].session for pid in family if pid in everybody}
        return {pid: p.seconds for pid, p in everybody.items() if p.session in sessions}

    def _patience(self) -> Patience:
        return Patience(self.process.pid, busy=_BUSY, idle=_IDLE)

    def _pieces(self, is_over: Callable[[], bool]) -> Iterator[float]:
        """Read what comes, with the time of each piece; the first piece is what is there."""
        looked = time.perf_counter()
        yield looked
        while True:
            if time.perf_counter() - looked >= _PIECE:  # a look takes milliseconds
                if is_over():
                    return
                looked = time.perf_counter()
            try:
                piece = self.process.read_nonblocking(_CHUNK, timeout=_PIECE)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                return
            received = time.perf_counter()
            self.received += piece
            self._stream.feed(piece)
            yield received
