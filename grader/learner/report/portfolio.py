"""What a learner has to show: points, time, attempts, mistakes made and fixed. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING

from grader.course.syllabus import Exercise, LearningPath, Part, Syllabus
from grader.learner.history import RunRecord
from grader.observation.kind import Kind
from grader.results.record import VERSION

if TYPE_CHECKING:
    from grader.learner.progress import ExerciseProgress, Progress

LONGEST_PAUSE = 30 * 60.0
"""Seconds between two runs after which the learner was elsewhere: that time is not counted."""

_POINTS = re.compile(r"[0-9]{1,9}(/[1-9][0-9]{0,8})?")


@dataclass(frozen=True)
class Mistake:
    """A known mistake that a run has named; it counts as fixed once the newest run is past it."""

    id: str
    sentence: str
    exercise: Exercise
    times: int
    first_met: float
    mended: bool


@dataclass(frozen=True)
class ExerciseRecord:
    """All that is known of a learner's work on one exercise: where it stands and how it went.

    `seconds` is the time at work, as far as runs tell; `hints` are the highest level that was read
    about each function.
    """

    standing: ExerciseProgress
    attempts: tuple[RunRecord, ...] = ()
    seconds: float = 0.0
    mistakes: tuple[Mistake, ...] = ()
    hints: Mapping[str, int] = field(default_factory=dict)
    gave_up: bool = False

    @property
    def exercise(self) -> Exercise:
        return self.standing.exercise

    @property
    def hint(self) -> int:
        """The highest level of hint that was read, whatever about."""
        return max(self.hints.values(), default=0)

    @property
    def hints_read(self) -> int:
        """How many hints were read, of those that the exercise has now."""
        return min(sum(self.hints.values()), self.exercise.hint_count)

    @property
    def attempts_to_pass(self) -> int | None:
        """Which attempt was the first to pass every test; None if none has."""
        passed = (n for n, run in enumerate(self.attempts, start=1) if run.done)
        return next(passed, None)


@dataclass(frozen=True)
class Milestone:
    """A moment in the learner's progress, after so many seconds at work.

    `points` are the best so far; `finished` is the short name of the exercise finished then.
    """

    seconds: float
    points: Fraction
    finished: str = ""


@dataclass(frozen=True)
class PartRecord:
    """The records of one part's exercises; none where the part is only planned."""

    part: Part
    records: tuple[ExerciseRecord, ...]

    @property
    def points(self) -> Fraction:
        return sum((record.standing.points for record in self.records), Fraction(0))

    @property
    def possible(self) -> int:
        return sum(record.exercise.points for record in self.records)


@dataclass(frozen=True)
class Portfolio:
    """All that a learner has done on one learning path, as it stands at the moment `made`.

    `name` is what they call themself.
    """

    made: float
    parts: tuple[PartRecord, ...]
    path: LearningPath
    milestones: tuple[Milestone, ...] = ()
    name: str = ""
    history_problem: str = ""
    records: tuple[ExerciseRecord, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(r for part in self.parts for r in part.records))

    @property
    def points(self) -> Fraction:
        return sum((part.points for part in self.parts), Fraction(0))

    @property
    def possible(self) -> int:
        return sum(part.possible for part in self.parts)

    @property
    def finished(self) -> tuple[ExerciseRecord, ...]:
        return tuple(record for record in self.records if record.standing.done)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """All mistakes met, the first met first."""
        met = (mistake for record in self.records for mistake in record.mistakes)
        return tuple(sorted(met, key=lambda mistake: mistake.first_met))

    @property
    def attempts(self) -> int:
        return sum(len(record.attempts) for record in self.records)

    @property
    def seconds(self) -> float:
        return sum(record.seconds for record in self.records)

    def as_json(self) -> dict[str, object]:
        """The report for other programs; points that were earned are exact fractions as text."""
        return {
            "version": VERSION,
            "name": self.name,
            "made": self.made,
            "path": self.path.title,
            "earned": str(self.points),
            "points": self.possible,
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "parts": [
                {
                    "id": part.part.id,
                    "title": part.part.title,
                    "earned": str(part.points),
                    "points": part.possible,
                    "exercises": [_record_as_json(record) for record in part.records],
                }
                for part in self.parts
            ],
        }


def _record_as_json(record: ExerciseRecord) -> dict[str, object]:
    result = record.standing.result
    return {
        "id": record.exercise.id,
        "title": record.exercise.title,
        "state": state(record.standing),
        "earned": str(record.standing.points),
        "points": record.exercise.points,
        "seconds": round(record.seconds, 3),
        "attempts": len(record.attempts),
        "attempts_to_pass": record.attempts_to_pass,
        "hint": record.hint,
        "gave_up": record.gave_up,
        "mistakes": [
            {
                "id": mistake.id,
                "sentence": mistake.sentence,
                "times": mistake.times,
                "first_met": mistake.first_met,
                "mended": mistake.mended,
            }
            for mistake in record.mistakes
        ],
        "result": result.as_json() if result else None,
    }


def state(standing: ExerciseProgress) -> str:
    """ "done", "started" or "not started", whatever language the learner reads."""
    if standing.done:
        return "done"
    return "started" if standing.started else "not started"


@dataclass(frozen=True)
class Memory:
    """What the history knows: all runs, the hints that were read, the solutions that were shown."""

    runs: Sequence[RunRecord] = ()
    hints: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    solutions: Mapping[str, bool] = field(default_factory=dict)


def portfolio_of(
    progress: Progress,
    syllabus: Syllabus,
    memory: Memory,
    sentences: Mapping[str, Mapping[str, str]],
    *,
    made: float,
    path: LearningPath,
    name: str = "",
    problem: str = "",
) -> Portfolio:
    """Put together what was measured and what the history remembers.

    `problem` says what is wrong with the history, if anything. `sentences` are those of the known
    mistakes, by exercise and id; a mistake that the course no longer knows is left out.
    """
    known = {standing.exercise.id for standing in progress.standings}
    shares = _time_shares([run for run in memory.runs if run.exercise in known])
    seconds: dict[str, float] = {}
    for run, share in shares:
        seconds[run.exercise] = seconds.get(run.exercise, 0.0) + share

    def record(standing: ExerciseProgress) -> ExerciseRecord:
        id = standing.exercise.id
        runs = tuple(run for run in memory.runs if run.exercise == id)
        mistakes = _mistakes(standing.exercise, runs, sentences.get(id, {}))
        return ExerciseRecord(
            standing,
            runs,
            seconds.get(id, 0.0),
            tuple(mistakes),
            memory.hints.get(id, {}),
            memory.solutions.get(id, False),
        )

    parts = [
        PartRecord(part, tuple(record(s) for s in progress.standings if s.exercise.part == part.id))
        for part in syllabus.parts
    ]
    return Portfolio(made, tuple(parts), path, _milestones(shares), name, problem)


def _time_shares(runs: Sequence[RunRecord]) -> list[tuple[RunRecord, float]]:
    """Each run, in order of time, with the seconds at work that led to it.

    The time between two runs went into the exercise that was run at its end, unless it was a long
    pause: then nobody knows more than how long the run itself took.
    """
    shares = []
    before = 0.0
    # Runs of one moment, those of one command, share the time that led to them.
    in_order = sorted(runs, key=lambda run: run.when)
    for _, group in groupby(in_order, key=lambda run: round(run.when)):
        together = list(group)
        gap = together[0].when - before
        for run in together:
            share = gap / len(together) if gap <= LONGEST_PAUSE else run.seconds
            shares.append((run, share))
        before = together[-1].when
    return shares


def _milestones(shares: Sequence[tuple[RunRecord, float]]) -> tuple[Milestone, ...]:
    best: dict[str, Fraction] = {}
    finished: set[str] = set()
    found = []
    seconds = 0.0
    for run, share in shares:
        seconds += share
        points = Fraction(run.points) if _POINTS.fullmatch(run.points) else Fraction(0)
        best[run.exercise] = max(points, best.get(run.exercise, Fraction(0)))
        is_new = run.done and run.exercise not in finished
        finished |= {run.exercise} if is_new else set()
        short = run.exercise.partition("_")[0] if is_new else ""
        found.append(Milestone(seconds, sum(best.values(), Fraction(0)), short))
    return tuple(found)


def _mistakes(
    exercise: Exercise, runs: Sequence[RunRecord], sentences: Mapping[str, str]
) -> list[Mistake]:
    """The mistakes that an exercise's runs have named, in the order in which they were met."""
    met = dict.fromkeys(id for run in runs for id in run.mistakes if id in sentences)
    found = []
    for id in met:
        named = [run for run in runs if id in run.mistakes]
        mended = _is_past(runs[-1], named[-1])
        found.append(Mistake(id, sentences[id], exercise, len(named), named[0].when, mended))
    return found


def _is_past(newest: RunRecord, last_named: RunRecord) -> bool:
    """Whether the newest run passes a test that failed when the mistake was last named.

    That it names nothing is not enough: a file that does not even load names no mistake.
    """
    if newest is last_named:
        return False
    failed = {test for test, verdict in last_named.verdicts if verdict != Kind.PASSED}
    return any(verdict == Kind.PASSED and test in failed for test, verdict in newest.verdicts)
