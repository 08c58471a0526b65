"""How far a learner has come: run what has been started and has changed since, and score it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from grader.curriculum import Curriculum, Exercise
from grader.history import History
from grader.results import Result, Results, result_of
from grader.stubs import is_untouched


@dataclass(frozen=True)
class Standing:
    """Where a learner stands in one exercise; without a result it has not been started."""

    exercise: Exercise
    result: Result | None = None

    @property
    def started(self) -> bool:
        return self.result is not None

    @property
    def passed(self) -> int:
        return self.result.passed if self.result else 0

    @property
    def tests(self) -> int:
        return len(self.result.tests) if self.result else 0

    @property
    def share(self) -> Fraction:
        """The part of the exercise's points that was earned."""
        return self.result.share if self.result else Fraction(0)

    @property
    def done(self) -> bool:
        return self.share == 1

    @property
    def points(self) -> Fraction:
        """The points earned, exactly."""
        return self.exercise.points * self.share


@dataclass(frozen=True)
class Progress:
    """The standing in every exercise, in the order of the course.

    `seed` is that of the runs made now: the result of an earlier one has its own. Where they could
    not be kept in the history, `problem` says why.
    """

    standings: tuple[Standing, ...]
    seed: int
    problem: str = ""

    @property
    def points(self) -> Fraction:
        return sum((standing.points for standing in self.standings), Fraction(0))

    @property
    def possible(self) -> int:
        return sum(standing.exercise.points for standing in self.standings)

    @property
    def minutes_left(self) -> int:
        """The minutes that the syllabus gives for what is not done yet."""
        return sum(s.exercise.minutes for s in self.standings if not s.done)

    @property
    def next(self) -> Standing | None:
        """The first exercise that is not done; None at the end of the course."""
        return next((standing for standing in self.standings if not standing.done), None)


def measure(
    curriculum: Curriculum, root: Path, exercises: Sequence[Exercise], command: str = "progress"
) -> Progress:
    """Grade the learner's answers in isolated workers, on inputs that nobody has seen.

    An untouched stub is worth nothing and is not run. What has not changed since it was graded is
    not run again either; what is run goes into the history, as `command`'s.
    """
    seed = secrets.randbelow(2**31)
    started = [e for e in exercises if e.paths(root).stub.exists() and not is_untouched(e, root)]
    kept = Results(curriculum, root, started)
    results = {exercise: kept.find(exercise) for exercise in started}
    new = _graded([e for e, result in results.items() if result is None], root, seed, kept)
    kept.keep(new)
    problem = _record(new, root, command)
    standings = tuple(Standing(e, new.get(e) or results.get(e)) for e in exercises)
    return Progress(standings, seed, problem)


def _graded(
    exercises: Sequence[Exercise], root: Path, seed: int, files: Results
) -> dict[Exercise, Result]:
    if not exercises:
        return {}  # and neither pytest nor torch is imported
    from grader import early

    early.start()  # before torch is imported here
    from grader.pytest_runs import Observer, run_tests

    when = time.time()
    outcomes = run_tests(root, exercises, ["--isolate", f"--seed={seed}"], Observer())
    return {
        o.exercise: result_of(o, when=when, seed=seed, file_hash=files.file_hash(o.exercise))
        for o in outcomes
    }


def _record(results: dict[Exercise, Result], root: Path, command: str) -> str:
    if not results:
        return ""
    with closing(History.open(root)) as history:
        history.record_runs(result.as_record(e, command) for e, result in results.items())
        return history.problem
