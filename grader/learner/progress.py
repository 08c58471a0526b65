"""How far a learner has come: run what has been started and has changed since, and score it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from grader.course.course import Course
from grader.course.files import file_hash
from grader.course.stubs import is_untouched
from grader.course.syllabus import Exercise, LearningPath
from grader.learner.history import History, RunRecord
from grader.learner.result_cache import ResultCache
from grader.results.record import ExerciseResult

_RUNS_ALL = {"progress", "report"}
"""The commands that run whatever is begun, and not one exercise."""


@dataclass(frozen=True)
class ExerciseProgress:
    """Where a learner stands in one exercise; without a result or a run it has not been started.

    `is_missing` where the file is gone from exercises/. Where nobody runs the exercise to know,
    `run` is what the history has of it.
    """

    exercise: Exercise
    result: ExerciseResult | None = None
    is_missing: bool = False
    run: RunRecord | None = None

    @property
    def started(self) -> bool:
        return self.result is not None or self.run is not None

    @property
    def passed(self) -> int:
        seen = self.result or self.run
        return seen.passed if seen else 0

    @property
    def tests(self) -> int:
        if self.run:
            return self.run.tests
        return len(self.result.tests) if self.result else 0

    @property
    def share(self) -> Fraction:
        """The part of the exercise's points that was earned."""
        if self.run:
            return Fraction(self.run.points) / self.exercise.points
        return self.result.share if self.result else Fraction(0)

    @property
    def done(self) -> bool:
        # A run may be older than the points that the syllabus now gives.
        return self.run.done if self.run else self.share == 1

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

    standings: tuple[ExerciseProgress, ...]
    seed: int
    problem: str = ""

    @property
    def points(self) -> Fraction:
        return sum((standing.points for standing in self.standings), Fraction(0))

    @property
    def possible(self) -> int:
        return sum(standing.exercise.points for standing in self.standings)

    @property
    def done(self) -> int:
        """How many exercises are done."""
        return sum(standing.done for standing in self.standings)

    @property
    def minutes_left(self) -> int:
        """The minutes that the syllabus gives for what is not done yet."""
        return sum(s.exercise.minutes for s in self.standings if not s.done)

    @property
    def is_graded(self) -> bool:
        """Whether every answer that was run could be judged."""
        return all(s.result is None or s.result.is_graded for s in self.standings)

    @property
    def next(self) -> ExerciseProgress | None:
        """The first exercise that is not done; None at the end of the course."""
        return next((standing for standing in self.standings if not standing.done), None)


def last_runs(
    exercises: Sequence[Exercise], course: Course, history: History
) -> dict[str, RunRecord]:
    """The last run of each exercise whose file has not changed since, by the exercise's id."""
    last: dict[str, RunRecord] = {}
    now = {e.id: file_hash(course.paths(e).stub) for e in exercises}
    for run in history.runs():
        last.pop(run.exercise, None)
        if now.get(run.exercise) == run.file_hash:
            last[run.exercise] = run
    return last


def current_exercise(course: Course, path: LearningPath, history: History) -> Exercise | None:
    """Where the learner stopped, if that is not done, else the first exercise that is not done.

    None where the whole path is done. Nothing is run: what is done is known from the history.
    """
    exercises = course.syllabus.on(path)
    runs = last_runs(exercises, course, history)
    undone = [e for e in exercises if not (e.id in runs and runs[e.id].done)]
    stopped = _last_worked_on(history)
    return next((e for e in undone if e.id == stopped), undone[0] if undone else None)


def _last_worked_on(history: History) -> str | None:
    """The id of the exercise that was run last by its name, or else run for the first time.

    The report runs every file again after a change of the course: that is nobody's work.
    """
    last = None
    files: dict[str, str] = {}
    for run in history.runs():
        if run.command not in _RUNS_ALL or files.get(run.exercise) != run.file_hash:
            last = run.exercise
        files[run.exercise] = run.file_hash
    return last


def measure(course: Course, exercises: Sequence[Exercise], command: str = "progress") -> Progress:
    """Grade the learner's answers in isolated workers, on inputs that nobody has seen.

    An untouched stub is worth nothing and is not run. What has not changed since it was graded is
    not run again either; what is run goes into the history, as `command`'s.
    """
    seed = secrets.randbelow(2**31)
    present = [e for e in exercises if course.paths(e).stub.exists()]
    started = [e for e in present if not is_untouched(e, course)]
    kept = ResultCache(course, started)
    results = {exercise: kept.find(exercise) for exercise in started}
    new = _graded([e for e, result in results.items() if result is None], course, seed, kept)
    kept.keep(new)
    problem = _record(new, course.root, command)
    standings = tuple(
        ExerciseProgress(e, new.get(e) or results.get(e), is_missing=e not in present)
        for e in exercises
    )
    return Progress(standings, seed, problem)


def _graded(
    exercises: Sequence[Exercise], course: Course, seed: int, files: ResultCache
) -> dict[Exercise, ExerciseResult]:
    if not exercises:
        return {}  # and neither pytest nor torch is imported
    from grader.isolation import launch

    launch.start()  # before torch is imported here
    from grader.judging.complaints import complaints
    from grader.judging.options import RunOptions
    from grader.judging.outcome import result_of
    from grader.judging.run import run_tests

    when = time.time()
    options = RunOptions(seed=seed, isolate=True, course=course)
    outcomes = run_tests(exercises, options)
    return {
        outcome.exercise: result_of(
            outcome,
            course.root,
            when=when,
            file_hash=files.file_hash(outcome.exercise),
            lines=complaints(outcome, course.root),
            details=complaints(outcome, course.root, verbose=True),
        )
        for outcome in outcomes
    }


def _record(results: dict[Exercise, ExerciseResult], root: Path, command: str) -> str:
    if not results:
        return ""
    with closing(History.open(root)) as history:
        history.record_runs(RunRecord.of(result, command) for result in results.values())
        return history.problem
