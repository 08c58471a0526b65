"""How far the learner is on a path, as far as runs have shown."""

from __future__ import annotations

from grader.course.course import Course
from grader.course.stubs import is_untouched
from grader.course.syllabus import Exercise, LearningPath
from grader.learner.history import History, RunRecord
from grader.learner.progress import ExerciseProgress, Progress, last_runs
from grader.learner.watch.verdict import Verdict
from grader.messages.catalog import say


class WatchProgress:
    """The progress on a path by the last run of each exercise whose file has not changed since.

    An exercise that could not be run is known too, with no run.
    """

    def __init__(self, course: Course, path: LearningPath, history: History) -> None:
        self.exercises = course.syllabus.on(path)
        self._course = course
        self._last: dict[str, RunRecord | None] = {**last_runs(self.exercises, course, history)}

    def note(self, verdict: Verdict) -> None:
        """Take over what a run has shown."""
        self._last[verdict.exercise] = verdict.record

    def of(self, exercise: Exercise) -> ExerciseProgress:
        is_missing = not self._course.paths(exercise).stub.exists()
        return ExerciseProgress(exercise, None, is_missing, self._last.get(exercise.id))

    def on_path(self) -> Progress:
        return Progress(tuple(map(self.of, self.exercises)), seed=0)

    def is_done(self, exercise: Exercise) -> bool:
        return self.of(exercise).done

    def is_not_started(self, exercise: Exercise) -> bool:
        """Whether an exercise is the stub still."""
        return not self.is_done(exercise) and is_untouched(exercise, self._course)

    def state(self, exercise: Exercise, *, is_short: bool = False) -> str:
        """Where an exercise stands in a few words, or in as few as a column has room for."""
        known = self.of(exercise)
        if known.done:
            return say("report.done")
        if known.is_missing:
            return say("report.file_missing")
        if self.is_not_started(exercise):
            return say("report.not_started")
        if exercise.id not in self._last:
            return say("watch.not_checked")
        if known.run is None:
            return say("watch.could_not_check")
        if is_short:
            return say("watch.some_pass", passed=known.passed, tests=known.tests)
        return say("report.tests_pass", passed=known.passed, tests=known.tests)

    def after(self, exercise: Exercise) -> Exercise | None:
        """The next exercise that is not done, and after the last one the first again."""
        behind = (*self._course.syllabus.earlier(exercise), exercise)
        ahead = sorted(self.exercises, key=lambda other: other in behind)
        return next((e for e in ahead if e != exercise and not self.is_done(e)), None)

    def before(self, exercise: Exercise) -> Exercise | None:
        """The exercise before this one, done or not; None before the first."""
        earlier = reversed(self._course.syllabus.earlier(exercise))
        return next((e for e in earlier if e in self.exercises), None)

    def unchecked(self) -> Exercise | None:
        """An exercise that was worked on and of which nothing is known."""
        unknown = (e for e in self.exercises if e.id not in self._last)
        return next((e for e in unknown if not self.is_not_started(e)), None)
