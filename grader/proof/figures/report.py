"""The figures of the learner's report: how large the page is, and how long it takes to make."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from grader.course.syllabus_file import load
from grader.course.variants import read_variants
from grader.learner.history import History, RunRecord
from grader.proof.figures.figure import Figure, Measured, stages
from grader.proof.figures.history import drawn, solved_course

_LARGEST_MB = 2.0
_ATTEMPTS = 200


def figures(root: Path, quick: bool) -> Measured:
    """The report of a learner who solved everything, or few, in many attempts at everything."""
    with tempfile.TemporaryDirectory() as folder:
        solved = drawn(root, quick)
        course = solved_course(root, Path(folder), solved)
        _remember(course)
        page = course / "report.html"
        for stage, name in stages("reports", ("tests run", "nothing changed")):
            yield stage
            started = time.perf_counter()
            command = [sys.executable, "-m", "grader", "report", "--html", str(page)]
            subprocess.run(command, cwd=course, check=True, stdout=subprocess.DEVNULL)
            yield Figure(f"report.{name}", time.perf_counter() - started, "s")
        text = page.read_text(encoding="utf-8")
    yield Figure("report.page", len(text.encode()) / 1e6, "MB", _LARGEST_MB)
    missing = len(solved) - text.count('role="img" aria-labelledby="ex')
    yield Figure("report.finished exercises without a picture", missing, "exercises", 0)


def _remember(course: Path) -> None:
    """Give the learner many attempts at every exercise, and every mistake that there is."""
    when = time.time() - 1e6
    with closing(History.open(course)) as history:
        for exercise in load(course).exercises:
            known = tuple(v.id for v in read_variants(exercise.paths(course).mistakes))
            for number in range(_ATTEMPTS):
                when += 60
                history.record_run(
                    RunRecord(
                        exercise=exercise.id,
                        command="watch",
                        when=when,
                        seconds=1.0,
                        passed=number % 10,
                        tests=12,
                        points="0",
                        verdicts=(("test_one", "value"),),
                        mistakes=known,
                        file_hash="0" * 64,
                    )
                )
