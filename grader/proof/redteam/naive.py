"""Attacks on a naive grader, which runs pytest in one process and believes what comes out.

There an attack must succeed, or it proves nothing about the real grader.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from grader.proof.redteam.cases import REACHED, SECRET, Case, submitted
from grader.proof.redteam.processes import Patience, adopt_orphans, below, end_all_but, left_running
from grader.proof.redteam.traces import contents, differences, left_behind

_BUSY, _IDLE = 15.0, 15.0
"""Processor seconds after which the naive grader hangs, and seconds in which it only sleeps."""
_LOOK = 0.4
_MEMORY = 6 << 30
_MUCH_MEMORY_MB = 1200
_MUCH_OUTPUT = 1 << 20
_NOBODY = 65534
_ACTS = re.compile("\x1b|\x9b|\u202e|\u200b|^\\s*::(error|notice|set-output)|##vso\\[", re.M)


@dataclass(frozen=True)
class Naive:
    """What an attack did to the naive grader: `signs` of its success, and what was printed."""

    case: Case
    signs: tuple[str, ...]
    printed: str

    @property
    def rotted(self) -> bool:
        """Whether the attack no longer does what it is there for, or more than it says."""
        return bool(self.signs) != self.case.succeeds_naively


class NaiveGrader:
    """Runs attacks against the naive grader, in throw-away copies of the course and of a home.

    Each has limits, an end and, where this is root, a user without rights.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._secret = secrets.token_hex(8)
        self._user = _user_without_rights()
        adopt_orphans()

    def attack(self, case: Case) -> Naive:
        """Let an attack loose and look for what it did."""
        processes = below(os.getpid())
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            course, home = self._copies(scratch)
            try:
                submission = submitted(case, scratch / "submissions", course)
            except OSError as error:
                return Naive(case, (f"{type(error).__name__} before it began",), "")
            files = contents(course)
            _give_away(scratch, self._user)
            printed, ended = self._run(course, submission, home, scratch)
            survivors = left_running(processes)
            signs = tuple(self._signs(case, scratch, printed, ended))
            if survivors:
                signs += (f"left running: {', '.join(survivors.values())}",)
                end_all_but(processes)
            changed = set(differences(files, contents(course)))
            changed -= set(contents(submission)) | {"report.xml"}
            changed |= set(left_behind(scratch, home))
            if changed:
                signs += (f"files: {', '.join(sorted(changed)[:3])}",)
        return Naive(case, signs, printed)

    def _copies(self, scratch: Path) -> tuple[Path, Path]:
        course, home = scratch / "course", scratch / "home"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
        shutil.copytree(self._root, course, ignore=ignored)
        shutil.rmtree(course / "grader" / "tests", ignore_errors=True)
        syllabus = course / "grader" / "curriculum.toml"
        syllabus.write_text(re.sub(r"(?m)^seconds = \d+", "seconds = 4", syllabus.read_text()))
        (home / "tmp").mkdir(parents=True)
        (home / ".secret").write_text(self._secret)
        return course, home

    def _run(self, course: Path, submission: Path, home: Path, scratch: Path) -> tuple[str, bool]:
        """What was printed, and whether it came to an end by itself."""
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "OMP_NUM_THREADS": "1",
            SECRET: self._secret,
        }
        program = self._root / "grader" / "tests" / "naive_grader.py"
        output = scratch / "printed.txt"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, program, course, submission, scratch / "result.json"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=home,
                start_new_session=True,
                **self._user,
            )
            _confine(process.pid)
            patience = Patience(process.pid, busy=_BUSY, idle=_IDLE)
            ended = False
            while not ended and not patience.is_over():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK)
                    ended = True
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return output.read_bytes().decode(errors="replace"), ended

    def _signs(self, case: Case, scratch: Path, printed: str, ended: bool) -> Iterator[str]:
        """What shows that an attack had success, processes and files aside."""
        result_file = scratch / "result.json"
        report = scratch / "course" / "report.xml"
        told = printed + (report.read_text(errors="replace") if report.is_file() else "")
        if not ended:
            yield "it hung"
        elif not result_file.exists():
            yield "the grader died"
        else:
            result = json.loads(result_file.read_text())
            if Fraction(result["share"]) * 100 > _deserved(case, result["tests"]):
                yield f"it won {float(Fraction(result['share'])):.0%}"
            if result["code"] not in (0, 1) or not report.is_file():
                yield f"pytest ended with {result['code']}, and not as it should"
            if result["memory_mb"] > _MUCH_MEMORY_MB:
                yield f"it took {result['memory_mb']} MB"
        if self._secret in told:
            yield "it told the secret"
        if REACHED in printed:
            yield "it reached what it wanted"
        if len(told) > _MUCH_OUTPUT:
            yield f"it printed {len(told)} characters"
        if _ACTS.search(printed):
            yield "what it printed acts on a terminal or a CI server"


def _deserved(case: Case, tests: int) -> Fraction:
    """The points for what an attack does right: here a test counts the same whatever it weighs."""
    return max(case.points, Fraction(100, max(tests, 1))) if case.points else case.points


def _user_without_rights() -> dict[str, Any]:
    """Whom root may run a process as, for `Popen`; nobody else where Python itself is root's."""
    nobody: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    if os.geteuid() != 0:
        return {}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, stderr=subprocess.DEVNULL, **nobody)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return nobody


def _give_away(folder: Path, user: Mapping[str, Any]) -> None:
    """Let a user have a folder and all that is in it."""
    if user:
        for parent, folders, names in os.walk(folder):
            for path in (parent, *(os.path.join(parent, name) for name in (*folders, *names))):
                os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)


def _confine(pid: int) -> None:
    """Limit what a process and those that it starts may take."""
    if sys.platform == "linux":
        import resource

        for limit, value in (
            (resource.RLIMIT_AS, _MEMORY),
            (resource.RLIMIT_FSIZE, 256 << 20),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.prlimit(pid, limit, (value, value))
