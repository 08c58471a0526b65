"""The figures of the capstone: how long it takes, how good it is, and what mistakes do to it.

Each training is a process of its own with two threads. Its seconds are processor time over two, as
if nobody else used the machine, and the limits grow where the machine is slow.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from grader.course.course import Course
from grader.course.variants import read_variants
from grader.learner.capstone.threads import wait_asleep
from grader.proof.figures.figure import Figure, Measured, stages
from grader.proof.figures.timing import slowness

_THREADS = 2
_SECONDS, _SECONDS_OF_OTHERS = 180.0, 360.0
_WRONG = 10.0
"""Per cent of the score that the generated text may lack."""
MISTAKES = {
    "RoPE": ("ex02_rope", "neighbouring_pairs"),
    "mask": ("ex05_kv_cache", "no_causal_mask_anywhere"),
    "loss shift": ("ex15_loss", "not_shifted"),
    "schedule": ("ex16_optimizer", "upwards"),
    "cache": ("ex05_kv_cache", "cached_before_rope"),
}
"""One mistake in each of five parts, by what it is in."""
_SOLUTIONS = ("", "")
_WHOLE = 3
"""How many alternatives are trained with to the end."""
_STEPS, _FIRST = 40, 5


@dataclass(frozen=True)
class Came:
    """What a training came to: processor seconds, steps, and the last loss and score.

    `step` are those of one step. `found` names the part that the checks before a training would
    have refused; with that they would have saved all of it.
    """

    seconds: float
    step: float
    steps: int
    loss: float
    reached: bool
    score: float
    found: str = ""

    def seconds_for(self, steps: int) -> float:
        """How long it would have taken with so many steps."""
        if not self.steps:
            return math.inf
        return self.seconds + (steps - self.steps) * self.step


def figures(root: Path, quick: bool) -> Measured:
    """The training with the solutions, with other right answers, and with planted mistakes."""
    course = Course.load(root)
    slower = slowness(root, quick)
    yield Figure("capstone.this machine is slower by", slower, "x")
    known = list(alternatives(course))
    if quick:
        yield from _paced(root, [random.choice([_SOLUTIONS, *known])], slower)
        return
    for stage, _ in stages("training with the solutions", [0]):
        yield stage
        came = trained(root)
    yield Figure("capstone.seconds to the target, 2 cores", came.seconds, "s", _SECONDS * slower)
    yield Figure("capstone.steps", came.steps, "steps")
    yield Figure("capstone.target not reached", float(not came.reached), "", 0)
    yield Figure("capstone.score lacking in what it writes", 100 * (1 - came.score), "%", _WRONG)
    # To the end with some, and with each so far that one can tell how long all takes.
    yield from _paced(root, known, slower)
    whole = random.sample(known, _WHOLE)
    for stage, (exercise, name) in stages("trainings with an alternative", whole):
        yield stage
        came = trained(root, exercise, name)
        what = f"capstone.{exercise} {name}"
        yield Figure(f"{what}: seconds", came.seconds, "s", _SECONDS_OF_OTHERS * slower)
        yield Figure(f"{what}: score lacking", 100 * (1 - came.score), "%", _WRONG)
    planted = list(MISTAKES.items())
    for stage, (where, (exercise, name)) in stages("trainings with a mistake", planted):
        yield stage
        came = trained(root, exercise, name)
        what = f"capstone.mistake in {where}"
        yield Figure(f"{what}: loss", came.loss, "")
        yield Figure(f"{what}: loss says so", float(not came.reached), "")
        yield Figure(f"{what}: score lacking", 100 * (1 - came.score), "%")
        yield Figure(f"{what}: not found before the training", float(not came.found), "", 0)


def _paced(root: Path, chosen: Sequence[tuple[str, str]], slower: float) -> Measured:
    """How long all steps would take, by some of them."""
    from grader.learner.capstone.recipe import USUAL

    for stage, (exercise, name) in stages("trainings of some steps", chosen):
        yield stage
        seconds = trained(root, exercise, name, _STEPS).seconds_for(USUAL.steps)
        what = f"capstone.{exercise} {name}" if exercise else "capstone.solutions"
        limit = (_SECONDS_OF_OTHERS if exercise else _SECONDS) * slower
        yield Figure(f"{what}: seconds to come", seconds, "s", limit)


def alternatives(course: Course) -> Iterator[tuple[str, str]]:
    """The alternatives of all parts that the capstone needs."""
    assert course.syllabus.capstone is not None
    for name in course.syllabus.capstone.prerequisites:
        for variant in read_variants(course.paths(course.syllabus.find(name)).alternatives):
            yield name, variant.id


def trained(root: Path, exercise: str = "", variant: str = "", steps: int | None = None) -> Came:
    """Train in a process of its own, with a variant of one exercise's solution.

    With `steps` it makes so many, whatever the loss.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = f"{folder!r}, {exercise!r}, {variant!r}, {steps!r}"
        call = f"from {__name__} import train; train({arguments})"
        environment = os.environ | {"OMP_NUM_THREADS": str(_THREADS)}
        done = subprocess.run(
            [sys.executable, "-c", call],
            cwd=root,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return Came(**json.loads(done.stdout.splitlines()[-1]))


def train(folder: str, exercise: str, variant: str, steps: int | None) -> None:
    """What that process does: train with the solutions, and say what came of it as JSON."""
    wait_asleep()
    from grader.course.answers import choose, read_source
    from grader.learner.capstone.assemble import Unfit, load_parts, reference_parts
    from grader.learner.capstone.checks import checked
    from grader.learner.capstone.data import own_corpus
    from grader.learner.capstone.recipe import USUAL
    from grader.learner.capstone.record import Record, recent
    from grader.learner.capstone.train import Training

    course = Course.load()
    changed = {}
    if exercise:
        paths = course.paths(course.syllabus.find(exercise))
        known = (*read_variants(paths.mistakes), *read_variants(paths.alternatives))
        (meant,) = (one for one in known if one.id == variant)
        changed[exercise] = meant.applied_to(read_source(paths.solution))
    parts = load_parts(choose("solutions", course, own=True), course, changed)
    found = ""
    try:
        list(checked(parts, reference_parts(course), course))
    except Unfit as unfit:
        found = unfit.exercise.id
    recipe = USUAL if steps is None else replace(USUAL, steps=steps, target=None)
    record, clock = Record(Path(folder)), _Clock()
    training = Training(parts, own_corpus(recipe), recipe, record, course, "solutions")
    # A part that fails on the way has neither reached the target nor written anything.
    with contextlib.suppress(Unfit):
        training.go_on(clock)
    run, made = training.run, record.steps()
    came = {
        "seconds": clock.seconds(),
        "step": clock.seconds_of_a_step(),
        "steps": len(made),
        "loss": recent(made, recipe.window) if made else -1.0,
        "reached": run.reached,
        "score": run.after.score or 0.0,
        "found": found,
    }
    print(json.dumps(came))


class _Clock:
    """Shows nothing, and notes the processor time, all threads together, after each step."""

    def __init__(self) -> None:
        self._began = self._spent()
        self._after: list[float] = []

    def preparing(self, what: str) -> None: ...
    def before(self, written: object) -> None: ...
    def stopping(self) -> None: ...

    def stepped(self, steps: object, recipe: object) -> None:
        self._after.append(self._spent())

    def seconds(self) -> float:
        return (self._spent() - self._began) / _THREADS

    def seconds_of_a_step(self) -> float:
        """On average, without the first steps, in which everything happens for the first time."""
        counted = self._after[_FIRST:]
        return (counted[-1] - counted[0]) / (len(counted) - 1) / _THREADS if counted[1:] else 0.0

    def _spent(self) -> float:
        used = os.times()
        return used.user + used.system
