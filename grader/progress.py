"""How far a learner has come: run what has been started, and score it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from grader import early
from grader.curriculum import Curriculum, Exercise
from grader.stubs import is_untouched


@dataclass(frozen=True)
class Standing:
    """Where a learner stands in one exercise; `missing` is how many tests do not pass yet."""

    exercise: Exercise
    started: bool
    passed: int = 0
    tests: int = 0
    share: Fraction = Fraction(0)

    @property
    def done(self) -> bool:
        return self.share == 1

    @property
    def points(self) -> Fraction:
        """The points earned, exactly."""
        return self.exercise.points * self.share


@dataclass(frozen=True)
class Progress:
    """The standing in every exercise, in the order of the course."""

    standings: tuple[Standing, ...]
    seed: int

    @property
    def points(self) -> Fraction:
        return sum((standing.points for standing in self.standings), Fraction(0))

    @property
    def possible(self) -> int:
        return sum(standing.exercise.points for standing in self.standings)

    @property
    def next(self) -> Standing | None:
        """The first exercise that is not done; None at the end of the course."""
        return next((standing for standing in self.standings if not standing.done), None)


def measure(curriculum: Curriculum, root: Path, exercises: Sequence[Exercise]) -> Progress:
    """Grade the learner's answers in isolated workers, on inputs that nobody has seen.

    An untouched stub is worth nothing and is not run.
    """
    seed = secrets.randbelow(2**31)
    started = [e for e in exercises if e.paths(root).stub.exists() and not is_untouched(e, root)]
    graded = {standing.exercise.id: standing for standing in _graded(started, root, seed)}
    return Progress(tuple(graded.get(e.id, Standing(e, started=False)) for e in exercises), seed)


def _graded(started: Sequence[Exercise], root: Path, seed: int) -> Iterator[Standing]:
    if not started:
        return  # and torch is not imported
    early.start()  # before torch is imported here
    from grader.pytest_runs import Observer, run_tests

    for outcome in run_tests(root, started, ["--isolate", f"--seed={seed}"], Observer()):
        passed = sum(run.passed for run in outcome.runs)
        yield Standing(outcome.exercise, True, passed, len(outcome.runs), outcome.share)
