"""The figures of the whole suite: the tests of all exercises on the worked answers."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from grader.classroom.grade import grade
from grader.course.course import Course
from grader.isolation.launch import start_zygote
from grader.isolation.machine import best_profile
from grader.proof.figures.figure import Figure, Measured, Stage
from grader.proof.figures.timing import interleaved, slowness

_SECONDS, _GRADED_SECONDS = 25.0, 8.0
_ROUNDS = 3
_QUICK_EXERCISES = 1


def figures(root: Path, quick: bool) -> Measured:
    """Seconds that `pytest --impl=solutions` takes, and that a full-marks submission is graded in.

    The submission's seconds are processor time of all processes together, so that a busy machine
    does not count. A quick run takes few exercises, and then has no limits.
    """
    course = Course.load(root)
    exercises = course.exercises
    if quick:
        exercises = tuple(random.sample(exercises, _QUICK_EXERCISES))
    slower = slowness(root, quick)
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
        once = yield from _grading(root, folder, 1)
        twice = yield from _grading(root, folder, 2)
    yield Figure("suite.grading a full-marks submission", once, "cpu s")
    limit = None if quick else _GRADED_SECONDS * slower
    yield Figure("suite.grading another with the same seed", twice - once, "cpu s", limit)


def grade_often(folder: str, times: int) -> None:
    """Grade a folder so many times with one seed, each after the first knowing what to expect.

    Raises AssertionError where an answer that is in it does not win full marks.
    """
    course = Course.load()
    caches: dict[str, dict[Any, Any]] = {}
    zygote = start_zygote(course.root)
    with closing(zygote) if zygote else nullcontext():
        for _ in range(times):
            result = grade(
                Path(folder), course, profile=best_profile(), seed=0, zygote=zygote, caches=caches
            )
            handed_in = [r for r in result.results if Path(folder, f"{r.exercise}.py").exists()]
            lost = [r.exercise for r in handed_in if result.earned_in(r) != r.points]
            assert handed_in and not lost, f"not full marks: {', '.join(lost)}"


def _grading(root: Path, folder: str, times: int) -> Generator[Stage, None, float]:
    """Processor seconds of `grade_often` in a process of its own."""
    yield Stage("submissions graded", times - 1, 2)
    before = _spent_by_children()
    call = f"from {__name__} import grade_often; grade_often({folder!r}, {times})"
    subprocess.run([sys.executable, "-c", call], cwd=root, check=True, stdout=subprocess.DEVNULL)
    return _spent_by_children() - before


def _spent_by_children() -> float:
    """Processor seconds of all processes that have ended and were waited for; 0 on Windows."""
    used = os.times()
    return used.children_user + used.children_system
