"""The figures of the whole suite: the tests of all exercises on the worked answers."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from grader.course.course import Course
from grader.proof.figures.figure import Figure, Measured, Stage
from grader.proof.figures.timing import interleaved, slowness

_SECONDS, _GRADED_SECONDS = 25.0, 8.0
_ROUNDS = 3
_QUICK_EXERCISES = 2


def figures(root: Path, quick: bool) -> Measured:
    """Seconds that `pytest --impl=solutions` takes, and that a full-marks submission is graded in.

    The submission's seconds are processor time of all processes together, so that a busy machine
    does not count. A quick run takes few exercises, and then has no limits.
    """
    course = Course.load(root)
    exercises = course.exercises
    if quick:
        exercises = tuple(random.sample(exercises, _QUICK_EXERCISES))
    slower = slowness(root)
    yield Figure("suite.this machine is slower by", slower, "x")
    yield Figure("suite.exercises", len(exercises), "exercises")
    tests = [str(course.paths(exercise).test_file) for exercise in exercises]
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "suite": [sys.executable, "-m", "pytest", "-q", "--impl=solutions", *tests],
    }
    times = yield from interleaved(commands, dict.fromkeys(commands, root), quick, _ROUNDS)
    limit = None if quick else _SECONDS * slower
    yield Figure("suite.seconds", statistics.median(times["suite"]), "s", limit)
    ratios = [s / i for s, i in zip(times["suite"], times["import torch"], strict=True)]
    yield Figure("suite/import torch", statistics.median(ratios), "x")
    with tempfile.TemporaryDirectory() as folder:
        for exercise in exercises:
            solution = course.paths(exercise).solution
            (Path(folder) / solution.name).write_bytes(solution.read_bytes())
        yield Stage("submissions graded", 0, 1)
        before = _spent_by_children()
        command = [sys.executable, "-m", "grader", "grade", folder]
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        spent = _spent_by_children() - before
    limit = None if quick else _GRADED_SECONDS * slower
    yield Figure("suite.grading a full-marks submission", spent, "cpu s", limit)


def _spent_by_children() -> float:
    """Processor seconds of all processes that have ended and were waited for; 0 on Windows."""
    used = os.times()
    return used.children_user + used.children_system
