"""How far the learner is on a path, as far as runs have shown."""

from __future__ import annotations

from fractions import Fraction

from grader.course.course import Course
from grader.course.stubs import is_untouched
from grader.course.syllabus import Exercise, LearningPath
from grader.learner.history import History, RunRecord
from grader.learner.progress import last_runs
from grader.learner.watch.verdict import Verdict
from grader.messages.catalog import say


class Standings:
    """The last run of every exercise of the path whose file has not changed since, if it is known.

    An exercise that could not be run is known too, with no run.
    """

    def __init__(self, course: Course, path: LearningPath, history: History) -> None:
        self.path = path
        self.exercises = course.syllabus.on(path)
        self._order = [exercise.id for exercise in course.exercises]
        self._course = course
        self._last: dict[str, RunRecord | None] = {**last_runs(self.exercises, course, history)}

    def note(self, verdict: Verdict) -> None:
        """Take over what a run has shown."""
        self._last[verdict.exercise] = verdict.record

    def is_done(self, exercise: Exercise) -> bool:
        """Whether every test of an exercise passes."""
        run = self._last.get(exercise.id)
        return run is not None and run.done

    def is_not_started(self, exercise: Exercise) -> bool:
        """Whether an exercise is the stub still."""
        return not self.is_done(exercise) and is_untouched(exercise, self._course)

    def is_missing(self, exercise: Exercise) -> bool:
        """Whether the file of an exercise is gone."""
        return not self._course.paths(exercise).stub.exists()

    def state(self, exercise: Exercise) -> str:
        """Where an exercise stands, in a few words."""
        if self.is_done(exercise):
            return say("report.done")
        if self.is_missing(exercise):
            return say("report.file_missing")
        if self.is_not_started(exercise):
            return say("report.not_started")
        if exercise.id not in self._last:
            return say("watch.not_checked")
        run = self._last[exercise.id]
        if run is None:
            return say("watch.could_not_check")
        return say("report.tests_pass", passed=run.passed, tests=run.tests)

    def short_state(self, exercise: Exercise) -> str:
        """The same in as few words as a column has room for."""
        run = self._last.get(exercise.id)
        if (
            run is None
            or self.is_missing(exercise)
            or self.is_done(exercise)
            or self.is_not_started(exercise)
        ):
            return self.state(exercise)
        return say("watch.some_pass", passed=run.passed, tests=run.tests)

    @property
    def done(self) -> int:
        """How many exercises of the path are done."""
        return sum(map(self.is_done, self.exercises))

    @property
    def points(self) -> Fraction:
        """The points earned on the path, exactly."""
        runs = (self._last.get(exercise.id) for exercise in self.exercises)
        return sum((Fraction(run.points) for run in runs if run), Fraction(0))

    @property
    def possible(self) -> int:
        return sum(exercise.points for exercise in self.exercises)

    @property
    def minutes_left(self) -> int:
        """What the syllabus gives for the exercises that are not done."""
        return sum(e.minutes for e in self.exercises if not self.is_done(e))

    def after(self, exercise: Exercise | None = None) -> Exercise | None:
        """The next exercise that is not done, and after the last one the first again."""
        place = self._order.index(exercise.id) if exercise else len(self._order)
        later = [e for e in self.exercises if self._order.index(e.id) > place]
        earlier = [e for e in self.exercises if self._order.index(e.id) < place]
        return next((e for e in (*later, *earlier) if not self.is_done(e)), None)

    def before(self, exercise: Exercise) -> Exercise | None:
        """The exercise before this one, done or not; None before the first."""
        place = self._order.index(exercise.id)
        earlier = [e for e in self.exercises if self._order.index(e.id) < place]
        return earlier[-1] if earlier else None

    def unchecked(self) -> Exercise | None:
        """An exercise that was worked on and of which nothing is known."""
        unknown = (e for e in self.exercises if e.id not in self._last)
        return next((e for e in unknown if not self.is_not_started(e)), None)
