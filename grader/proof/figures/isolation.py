"""The figures of isolation: what it costs, and whether a right answer ever loses points by it."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.course.variants import read_variants
from grader.isolation.launch import start_zygote
from grader.isolation.machine import is_offered
from grader.proof.figures.figure import Figure, Measured, stages
from grader.proof.figures.timing import interleaved, rounds, slowness

_ROUNDS = 6
Choices = dict[str, Any]
"""Fields of `RunOptions` by their names."""

MODES: dict[str, Choices] = {
    "open": {},
    "process": {"isolate": True, "profile": "process"},
    "light": {"isolate": True, "profile": "light"},
    "full": {"isolate": True, "profile": "full"},
}
_FLAKE_RUNS, _QUICK_FLAKE_RUNS = 200, 3
_ANSWERS, _QUICK_ANSWERS = 24, 1
"""Right answers that are drawn, of the many that there are; the course check tries them all."""
_EXERCISES = 6
"""As many of theirs are timed."""


def right_answers(course: Course) -> list[tuple[Exercise, Choices]]:
    """Every answer that deserves full marks, as the choices that lead to it."""
    found = []
    for exercise in course.exercises:
        alternatives = read_variants(course.paths(exercise).alternatives)
        answers: list[Choices] = [{"impl": "solutions"}]
        answers += [{"impl": "solutions", "variant": v.id} for v in alternatives]
        found += [(exercise, answer) for answer in answers]
    return found


def figures(root: Path, quick: bool) -> Measured:
    """Right answers in all modes, the same answer with many seeds, and times side by side."""
    zygote = start_zygote(root)  # it imports torch while this process does, below
    from grader.judging.options import RunOptions
    from grader.judging.run import run_tests

    course = Course.load(root)
    usual = RunOptions(course=course, zygote=zygote)

    def run(exercise: Exercise, choices: Choices) -> float:
        return float(run_tests([exercise], replace(usual, **choices))[0].share)

    answers = right_answers(course)
    answers += [(exercise, {"impl": "minimind_ref"}) for exercise in course.exercises]
    answers = random.sample(answers, _QUICK_ANSWERS if quick else _ANSWERS)
    lost = 0
    tries = [(exercise, {**answer, **mode}) for exercise, answer in answers for mode in _offered()]
    for stage, (exercise, choices) in stages("right answers in all modes", tries):
        yield stage
        lost += run(exercise, choices) < 1
    yield Figure(f"isolation.losing points in {len(tries)} runs of right answers", lost, "", 0)
    slower = slowness(root, quick)
    yield Figure("isolation.this machine is slower by", slower, "x")
    tried = list(dict.fromkeys(exercise for exercise, _ in answers))  # they are warm by now
    timed = random.sample(tried, min(_EXERCISES, len(tried)))
    yield from _costs(timed, run, slower, quick)
    rope = course.syllabus.find("ex02")
    flakes, runs = 0, _QUICK_FLAKE_RUNS if quick else _FLAKE_RUNS
    for stage, seed in stages("runs with another seed", range(runs)):
        yield stage
        flakes += run(rope, {"impl": "solutions", "seed": seed, **MODES["light"]}) < 1
    yield Figure(f"isolation.flakes in {runs} runs", flakes, "runs", 0)
    if zygote is not None:
        zygote.close()
    yield from _cold_start(root, quick)


def _offered() -> list[Choices]:
    """The modes that this machine has."""
    return [options for mode, options in MODES.items() if mode == "open" or is_offered(mode)]


def _costs(
    exercises: Sequence[Exercise], run: Callable[..., float], slower: float, quick: bool
) -> Measured:
    """Median milliseconds that an exercise takes more than in process, warm, all modes in turn."""
    added: dict[str, list[float]] = {mode: [] for mode in MODES if mode != "open"}
    for stage, counts in stages("rounds in all modes", rounds(_ROUNDS, quick)):
        yield stage
        for exercise in exercises:
            times = {}
            for mode, choices in MODES.items():
                started = time.perf_counter()
                run(exercise, {"impl": "solutions", **choices})
                times[mode] = (time.perf_counter() - started) * 1000
            if counts:
                for mode, values in added.items():
                    values.append(times[mode] - times["open"])
    for mode, limit in (("process", None), ("light", 15.0 * slower), ("full", 30.0 * slower)):
        yield Figure(f"isolation.{mode} costs", statistics.median(added[mode]), "ms", limit)


def _cold_start(root: Path, quick: bool) -> Measured:
    test_file = str(root / "tests" / "test_02_rope.py")
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--impl=solutions"]
    commands = {"open": [*python, test_file], "isolated": [*python, "--isolate", test_file]}
    times = yield from interleaved(commands, dict.fromkeys(commands, root), quick)
    ratios = [i / o for i, o in zip(times["isolated"], times["open"], strict=True)]
    yield Figure("isolation.cold start over in process", statistics.median(ratios), "x", 1.3)
