"""The terminal's side of the judge: start it, ask it, and hear from it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.course.syllabus import Exercise
from grader.isolation.launch import command
from grader.learner.watch.verdict import Verdict

_PATIENCE = 1.0
"""Seconds that the judge has to end by itself: it may be importing torch."""


@dataclass(frozen=True)
class JudgeEnded:
    """The judge has ended though nobody told it to; `said` are its last words."""

    said: str


class Judge:
    """The judge's process. What it says is handed to `heard`, in a thread of its own."""

    def __init__(self, root: Path, heard: Callable[[Verdict | JudgeEnded], None]) -> None:
        self._heard = heard
        self._closed = False
        self._errors = tempfile.TemporaryFile()
        self._popen = subprocess.Popen(
            command("learner.watch.judge", "main(sys.argv[1])", root),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            cwd=os.path.abspath(os.sep),
            start_new_session=True,  # a key that interrupts is for the terminal's process alone
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, exercise: Exercise, number: int) -> None:
        """Ask for a run; the one under way, if any, is abandoned."""
        assert self._popen.stdin is not None
        request = json.dumps({"exercise": exercise.id, "number": number})
        with contextlib.suppress(OSError):  # it has ended, which is heard
            self._popen.stdin.write(request.encode() + b"\n")
            self._popen.stdin.flush()

    def close(self) -> None:
        """End the process; nothing is heard of it from here on."""
        self._closed = True
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        try:
            self._popen.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._heard(Verdict.unpacked(line))
        self._popen.wait()
        if not self._closed:
            self._errors.seek(0)
            self._heard(JudgeEnded(self._errors.read().decode(errors="replace")))
