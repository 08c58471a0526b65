"""Grade one submission: isolated, on inputs nobody has seen, with a verdict in words per test."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.course.answers import NoAnswer, read_source
from grader.course.course import Course
from grader.course.files import file_hash
from grader.course.syllabus import Exercise, Syllabus, UnknownExercise
from grader.isolation.launch import Zygote, start_zygote
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line
from grader.observation.kind import Kind
from grader.results.record import VERSION, ExerciseResult

if TYPE_CHECKING:
    from grader.judging.outcome import Outcome

_ANSWER = re.compile(r"(ex\d\d(?:_[a-z]\w*?)?)(?:[ _-]*(?:\(\d+\)|copy|\d+))*\.py", re.IGNORECASE)
"""The name of an answer, and what browsers and portals put after it."""


class NoSubmission(ValueError):
    """There is nothing to grade; the message says what was found and what to do."""


@dataclass(frozen=True)
class Grade:
    """The records of a whole submission, and what banned calls cost.

    With `bans_cost_points` an exercise in which a banned call was seen is worth nothing; without,
    the call is only noted.
    """

    submission: str
    seed: int
    profile: str
    results: tuple[ExerciseResult, ...]
    bans_cost_points: bool = True

    @property
    def is_graded(self) -> bool:
        """Whether every exercise could be graded; otherwise the points are not final."""
        return all(result.is_graded for result in self.results)

    @property
    def points(self) -> int:
        """What all exercises are worth."""
        return sum(result.points for result in self.results)

    @property
    def earned(self) -> Fraction:
        """The points that were earned, exactly."""
        return sum(map(self.earned_in, self.results), Fraction(0))

    def earned_in(self, result: ExerciseResult) -> Fraction:
        """The points that one of the exercises earned."""
        if self.bans_cost_points:
            return Fraction(0) if result.flags else result.earned
        return result.points * result.share_of(Kind.PASSED, Kind.BANNED)

    def as_json(self) -> dict[str, object]:
        """The grade for other programs; points that were earned are exact fractions as text."""
        return {
            "version": VERSION,
            "submission": self.submission,
            "seed": self.seed,
            "profile": self.profile,
            "bans_cost_points": self.bans_cost_points,
            "graded": self.is_graded,
            "points": self.points,
            "earned": str(self.earned),
            "exercises": [
                result.as_json() | {"earned": str(self.earned_in(result))}
                for result in self.results
            ],
        }


def grade(
    submission: Path,
    course: Course,
    *,
    profile: str,
    seed: int | None = None,
    bans_cost_points: bool = True,
    zygote: Zygote | None = None,
    caches: dict[str, dict[Any, Any]] | None = None,
) -> Grade:
    """Grade a folder of answers, or one answer's file.

    Without a seed one is drawn that nobody could know, and recorded. With `bans_cost_points` a
    banned call takes all points of its exercise; without, it is only noted. `zygote` forks the
    workers, where one is running already. `caches` holds, by exercise, what the reference and the
    mistakes gave: submissions that share a seed may share it. Raises NoSubmission for a file that
    is no exercise's.
    """
    if seed is None:
        seed = secrets.randbelow(2**62)
    with contextlib.ExitStack() as stack:
        if submission.is_dir():
            folder, exercises = submission.absolute(), course.exercises
        else:
            exercises = (exercise_of(submission, course.syllabus),)
            folder = stack.enter_context(_laid_out(submission.absolute(), exercises[0]))
        if zygote is None and (zygote := start_zygote(course.root)) is not None:
            stack.callback(zygote.close)
        from grader.judging.options import RunOptions
        from grader.judging.outcome import result_of
        from grader.judging.run import run_tests

        options = RunOptions(
            impl=str(folder),
            seed=seed,
            isolate=True,
            profile=profile,
            course=course,
            zygote=zygote,
            note_bans=True,
        )
        results = []
        for exercise in exercises:
            file = folder / exercise.answer_file if submission.is_dir() else submission
            when, answer = time.time(), _hash(file)
            cache = None if caches is None else caches.setdefault(exercise.id, {})
            (outcome,) = run_tests([exercise], replace(options, cache=cache))
            lines = _lines(outcome, folder)
            results.append(result_of(outcome, folder, when=when, file_hash=answer, lines=lines))
    return Grade(sanitize_line(str(submission)), seed, profile, tuple(results), bans_cost_points)


def check_submission(submission: Path, syllabus: Syllabus) -> None:
    """Raise NoSubmission for a file of no exercise, and for a folder without a single answer."""
    if not submission.is_dir():
        exercise_of(submission, syllabus)
        return
    names = [exercise.answer_file for exercise in syllabus.exercises]
    if not any(os.path.lexists(submission / name) for name in names):
        raise NoSubmission(say("grading.no_answers", folder=submission, names=", ".join(names)))


def exercise_of(file: Path, syllabus: Syllabus) -> Exercise:
    """The exercise whose answer a file is by its name; portals add to that: "ex02_rope (1).py".

    Raises NoSubmission.
    """
    if found := _ANSWER.fullmatch(file.name):
        with contextlib.suppress(UnknownExercise):
            return syllabus.find(found[1])
    try:
        wanted = syllabus.find(file.stem).answer_file
    except UnknownExercise:
        wanted = syllabus.exercises[0].answer_file
    raise NoSubmission(say("grading.no_exercise", file=file, wanted=wanted))


@contextlib.contextmanager
def _laid_out(file: Path, exercise: Exercise) -> Iterator[Path]:
    """A folder in which a file is the exercise's answer, whatever it is called and lies beside."""
    if file.name == exercise.answer_file:
        yield file.parent
        return
    try:
        source = read_source(file)
    except NoAnswer as error:
        raise NoSubmission(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="submission.") as folder:
        Path(folder, exercise.answer_file).write_text(source.text, encoding="utf-8", newline="")
        yield Path(folder)


def _hash(file: Path) -> str:
    """The hash of a file that was handed in; empty for one that is not read, such as a pipe."""
    try:
        read_source(file)
    except NoAnswer:
        return ""
    return file_hash(file)


def _lines(outcome: Outcome, folder: Path) -> Iterator[str]:
    """What is wrong with an answer: each mistake once, and every test that broke down itself."""
    from grader.judging.outcome import failures_of
    from grader.judging.summary import diagnosed, findings

    failures = [diagnosed(f, outcome.trial) for f in failures_of(outcome, folder)]
    yield from findings(failures, outcome.trial)
    for run in outcome.runs:
        if not run.passed and run.finding is None:
            yield f"{Kind.NOT_GRADED.public}: {run.sentence}"
