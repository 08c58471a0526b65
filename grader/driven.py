"""A command of the grader in a real terminal, driven by keys and read from the screen.

For the grader's own tests and figures: needs the extra `verify`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

_LEFT_OUT = (".*", "__pycache__", "*.egg-info", "build", "dist", "docs", "shared")
_ENVIRONMENT = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "GRADER_LANG": "en"}
_CHUNK = 1 << 16
_PATIENCE = 30.0


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
        end = time.monotonic() + _PATIENCE
        while self.process.isalive() and time.monotonic() < end:
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

    def wait_for(self, *texts: str, seconds: float = _PATIENCE) -> float:
        """Wait until the screen shows all of some texts; when what completed it was received.

        A text may be broken into lines.

        Raises AssertionError with the screen where it does not in time.
        """
        seen = time.perf_counter()
        for seen in self._read_until(time.perf_counter() + seconds):
            unbroken = " ".join(self.text.split())
            if all(text in self.text or text in unbroken for text in texts):
                return seen
        raise AssertionError(f"the screen does not show {texts!r}:\n{self.text}")

    def read_for(self, seconds: float) -> None:
        """Let the command draw for a while."""
        for _ in self._read_until(time.perf_counter() + seconds):
            pass

    def ended(self, seconds: float = _PATIENCE) -> int:
        """Wait for the command to end; its exit code."""
        self.read_for(seconds)
        self.close()
        return int(self.process.exitstatus if self.process.exitstatus is not None else -1)

    def processes(self) -> dict[int, float]:
        """Every process that the command has started, itself too: seconds of the CPU by id.

        Those that have lost their parent are known by the session of one that has not; Linux alone.
        """
        stats = dict(_stats())
        family = {self.process.pid}
        while more := {pid for pid, stat in stats.items() if stat.parent in family} - family:
            family |= more
        sessions = {stats[pid].session for pid in family if pid in stats}
        return {pid: stat.seconds for pid, stat in stats.items() if stat.session in sessions}

    def _read_until(self, end: float) -> Iterator[float]:
        """Read what comes, with the time of each piece; the first piece is what is there."""
        yield time.perf_counter()
        while (left := end - time.perf_counter()) > 0:
            try:
                piece = self.process.read_nonblocking(_CHUNK, timeout=left)
            except pexpect.TIMEOUT:
                return
            except pexpect.EOF:
                return
            received = time.perf_counter()
            self.received += piece
            self._stream.feed(piece)
            yield received


@dataclass(frozen=True)
class _Stat:
    parent: int
    session: int
    seconds: float


def _stats() -> Iterator[tuple[int, _Stat]]:
    """All processes of this machine but those that have ended; with the time of waited-for ones."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            seconds = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            yield int(entry.name), _Stat(int(fields[1]), int(fields[3]), seconds)
