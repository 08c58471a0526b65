"""Grade one submission: isolated, on inputs nobody has seen, with a verdict in words per test."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.answers import NoAnswer, read_source
from grader.course.course import Course
from grader.course.syllabus import Exercise, Syllabus, UnknownExercise
from grader.isolation.launch import Zygote, start_zygote
from grader.judging.comparison import Finding, banned_call
from grader.judging.failure_text import TestFailure, explained, told
from grader.judging.summary import diagnosed, findings
from grader.messages.catalog import say
from grader.messages.sanitize import harmless
from grader.observation.kind import Kind

if TYPE_CHECKING:
    from grader.judging.run import Outcome
    from grader.judging.trial import Run

VERSION = 1

_MOST_FLAGS = 50
"""Banned calls of one exercise that are told one by one."""

_ANSWER = re.compile(r"(ex\d\d(?:_[a-z]\w*?)?)(?:[ _-]*(?:\(\d+\)|copy|\d+))*\.py", re.IGNORECASE)
"""The name of an answer, and what browsers and portals put after it."""


class NoSubmission(ValueError):
    """There is nothing to grade; the message says what was found and what to do."""


@dataclass(frozen=True)
class Verdict:
    """One test's verdict; `verdict` is one of a few phrases, `message` says what was seen."""

    test: str
    sentence: str
    weight: int
    passed: bool
    verdict: str
    message: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mark:
    """What one exercise of a submission is worth.

    `flags` are the banned calls that were seen, `lines` say what is wrong with it.
    """

    exercise: str
    possible: int
    points: Fraction
    verdicts: tuple[Verdict, ...]
    flags: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def is_graded(self) -> bool:
        """Whether every test has said something about the answer."""
        return all(verdict.verdict != Kind.NOT_GRADED.public for verdict in self.verdicts)


@dataclass(frozen=True)
class Grade:
    """A whole submission's marks, with all that it takes to repeat the run."""

    submission: str
    seed: int
    profile: str
    marks: tuple[Mark, ...]

    @property
    def is_graded(self) -> bool:
        """Whether every exercise could be graded; else the points are not the last word."""
        return all(mark.is_graded for mark in self.marks)

    @property
    def points(self) -> Fraction:
        return sum((mark.points for mark in self.marks), Fraction(0))

    @property
    def possible(self) -> int:
        return sum(mark.possible for mark in self.marks)

    def as_json(self) -> dict[str, object]:
        """The result that every output is made from; points are exact fractions as text."""
        return {
            "version": VERSION,
            "submission": self.submission,
            "seed": self.seed,
            "profile": self.profile,
            "points": str(self.points),
            "possible": self.possible,
            "exercises": [
                {
                    "id": mark.exercise,
                    "points": str(mark.points),
                    "possible": mark.possible,
                    "graded": mark.is_graded,
                    "flags": list(mark.flags),
                    "tests": [
                        vars(verdict) | {"message": list(verdict.message)}
                        for verdict in mark.verdicts
                    ],
                }
                for mark in self.marks
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
) -> Grade:
    """Grade a folder of answers, or one answer's file.

    Without a seed one is drawn that nobody could know, and recorded. With `bans_cost_points` a
    banned call takes all points of its exercise; without, it is only noted. `zygote` forks the
    workers, where one is running already. Raises NoSubmission for a file that is no exercise's.
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
        marks = []
        for exercise in exercises:
            (outcome,) = run_tests([exercise], options)
            marks.append(_mark(outcome, folder, bans_cost_points))
    return Grade(harmless(str(submission)), seed, profile, tuple(marks))


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


def _mark(outcome: Outcome, folder: Path, bans_cost_points: bool) -> Mark:
    exercise, runs = outcome.exercise, outcome.runs
    failures = {
        run.test: diagnosed(_failure(run, run.finding, exercise, folder), outcome.trial)
        for run in runs
        if run.finding is not None and not run.passed
    }
    verdicts = tuple(_verdict(run, exercise, failures.get(run.test)) for run in runs)
    lines = list(findings(list(failures.values()), outcome.trial))
    broken = (v for v in verdicts if not v.passed and v.test not in failures and not v.message)
    lines += (f"{verdict.verdict}: {verdict.sentence}" for verdict in broken)
    flags = _flags(runs)
    total = sum(verdict.weight for verdict in verdicts)
    earned = sum(v.weight for v in verdicts if v.passed or v.verdict == "banned call")
    share = Fraction(earned, total) if total else Fraction(0)
    if flags and bans_cost_points:
        share = Fraction(0)
    return Mark(
        exercise.id, exercise.points, exercise.points * share, verdicts, flags, tuple(lines)
    )


def _failure(run: Run, finding: Finding, exercise: Exercise, folder: Path) -> TestFailure:
    seconds = exercise.limits.call_seconds
    return TestFailure(exercise.id, run.test, run.sentence, finding, seconds=seconds, root=folder)


def _flags(runs: Sequence[Run]) -> tuple[str, ...]:
    """The banned calls that were seen, each once and not too many of them."""
    hits = dict.fromkeys(hit for run in runs for hit in run.banned)
    flags = dict.fromkeys(harmless(banned_call(hit)) for hit in itertools.islice(hits, _MOST_FLAGS))
    if len(hits) > _MOST_FLAGS:
        return (*flags, say("grading.more_flags", count=len(hits) - _MOST_FLAGS))
    return tuple(flags)


def _verdict(run: Run, exercise: Exercise, failure: TestFailure | None) -> Verdict:
    words = "passed" if run.passed else _words(run.finding, exercise)
    message: tuple[str, ...] = ()
    if failure is not None:
        title, *message_lines = told(failure)
        message = tuple(message_lines or [title])
        if failure.mistakes:
            message = (f"  {explained(failure.mistakes, failure.finding.kind)}", *message)
    elif run.passed and run.banned:  # nothing else is wrong with it
        words, message = "banned call", (harmless(f"  {banned_call(run.banned[0])}"),)
    return Verdict(run.test, run.sentence, run.weight, words == "passed", words, message)


def _words(finding: Finding | None, exercise: Exercise) -> str:
    """The verdict's phrase. No finding on a failed test means that the test itself broke."""
    if finding is None:
        return Kind.NOT_GRADED.public
    interruption = finding.interruption
    if interruption is None:
        return "failed"
    word = interruption.kind.public
    if interruption.kind in (Kind.TIMED_OUT, Kind.OUT_OF_TIME):
        return f"{word} after {exercise.limits.seconds:g} s"
    if interruption.kind is Kind.CRASHED:
        return f"{word} ({interruption.type_name})"
    if interruption.kind is Kind.FORBIDDEN:
        return f"{word} ({harmless(interruption.message)})"
    return word
