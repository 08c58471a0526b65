"""The figures of a busy machine: right answers beside processes that take every processor.

Nobody may lose a point for what else a machine does, in process or isolated.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.course import Course
from grader.isolation.launch import start_zygote
from grader.isolation.machine import best_profile
from grader.observation.kind import Kind
from grader.proof.figures.figure import Figure, Measured, stages
from grader.proof.figures.isolation import MODES, right_answers

if TYPE_CHECKING:
    from grader.judging.comparison import Finding
    from grader.judging.outcome import Outcome

_BURNERS, _QUICK_BURNERS = 16, 4
_ANSWERS, _QUICK_ANSWERS = 24, 1
# It ends by itself when whoever started it has ended, however that may have been.
_BURNER = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"


def figures(root: Path, quick: bool) -> Measured:
    """Right answers, drawn, in both modes: who lost points, and who was not graded instead."""
    zygote = start_zygote(root)
    from grader.judging.options import RunOptions
    from grader.judging.run import run_tests

    course = Course.load(root)
    usual = RunOptions(course=course, zygote=zygote)
    answers = right_answers(course)
    answers = random.sample(answers, _QUICK_ANSWERS if quick else _ANSWERS)
    burners = _QUICK_BURNERS if quick else _BURNERS
    yield Figure("busy.burners", burners, "processes")
    with burning(burners):
        for name, mode in (("in process", {}), ("isolated", MODES[best_profile()])):
            lost = ungraded = 0
            for stage, (exercise, answer) in stages(f"answers {name}", answers):
                yield stage
                (outcome,) = run_tests([exercise], replace(usual, **answer, **mode))
                ungraded += was_too_busy(outcome)
                lost += loses(outcome)
            yield Figure(f"busy.{name}.runs", len(answers), "runs")
            yield Figure(f"busy.{name}.losing points", lost, "runs", 0)
            yield Figure(f"busy.{name}.not graded: too busy", ungraded, "runs")
    if zygote is not None:
        zygote.close()


def loses(outcome: Outcome) -> bool:
    """Whether a right answer has a test that failed, and not for want of a processor."""
    return not outcome.runs or any(
        not run.passed and not _is_ungraded(run.finding) for run in outcome.runs
    )


def was_too_busy(outcome: Outcome) -> bool:
    return any(not run.passed and _is_ungraded(run.finding) for run in outcome.runs)


def _is_ungraded(finding: Finding | None) -> bool:
    interruption = finding.interruption if finding is not None else None
    return interruption is not None and interruption.kind is Kind.NOT_GRADED


@contextmanager
def burning(number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that do nothing but work; none is left afterwards."""
    command = [sys.executable, "-I", "-S", "-c", _BURNER, str(os.getpid())]
    burners = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield burners
    finally:
        for burner in burners:
            burner.kill()
        for burner in burners:
            burner.wait()
