"""The course's part of one pytest run: its choices, and a trial for each exercise."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grader.course.answers import UsageError, choose
from grader.course.course import Course
from grader.course.syllabus import Exercise, UnknownExercise
from grader.isolation import launch
from grader.judging.options import RunOptions
from grader.judging.trial import Run, Trial
from grader.messages.catalog import say
from grader.observation.eager import compile_nothing
from grader.observation.kind import Kind

RUN = pytest.StashKey[Run]()
"""Where a test's `Run` is kept, once the test has asked for something of the course."""
_SESSION = pytest.StashKey["CourseSession"]()

_LOADING_SECONDS = 240.0
"""What an exercise may take longer on an accelerator, which loads each kernel at its first use."""


class CourseSession:
    """The state of one pytest run. Raises UsageError for choices that cannot be followed.

    Args:
        options: what was chosen.
        typed: whether somebody chose it on pytest's command line.
        benchmarks: whether benchmarks are run, which compare compiled functions too.
    """

    def __init__(self, options: RunOptions, *, typed: bool, benchmarks: bool) -> None:
        course = options.course
        self.implementation = choose(options.impl, course, own=options.own, variant=options.variant)
        self.device = _usable(options.device)
        self.course = course if self.device == "cpu" else _with_time_to_load(course)
        self.seed = options.seed
        self.isolate = options.isolate
        self.profile = options.profile
        if self.isolate and self.profile == "auto":
            from grader.isolation.machine import best_profile

            self.profile = best_profile()
        if self.isolate and self.device != "cpu" and self.profile != "process":
            raise UsageError(say("answers.locked_device", device=self.device, profile=self.profile))
        own = options.impl == "exercises" and options.variant is None
        self.tests_own_answers = typed and own
        self.benchmarks = benchmarks
        self.trials: dict[str, Trial] = {}
        self._options = options
        self._own_zygote = launch.take() if self.isolate and options.zygote is None else None
        self._compiling = contextlib.ExitStack()
        if not benchmarks:
            self._compiling.enter_context(compile_nothing())
        torch.set_num_threads(options.threads)

    def exercise_of(self, path: Path) -> Exercise | None:
        """The exercise that a test file is about."""
        try:
            exercise = self.course.syllabus.find(path.name)
        except UnknownExercise:
            return None
        return exercise if path == self.course.paths(exercise).test_file else None

    def trial(self, exercise: Exercise) -> Trial:
        """The trial of an exercise, made when it is first asked for."""
        if exercise.id not in self.trials:
            try:
                self.trials[exercise.id] = self._new_trial(exercise)
            except UsageError as error:  # a variant of that name may exist in other exercises
                pytest.exit(str(error), pytest.ExitCode.USAGE_ERROR)
        return self.trials[exercise.id]

    def _new_trial(self, exercise: Exercise) -> Trial:
        zygote = self._options.zygote or self._own_zygote
        return Trial(
            exercise,
            self.course,
            self.implementation,
            isolate=self.isolate,
            profile=self.profile,
            # A driver that has been asked for its devices, as autograd does, cannot be forked.
            zygote=zygote if self.device == "cpu" else None,
            module=self._options.module_for(exercise),
            device=self.device,
            timeouts=() if self.isolate else (pytest.fail.Exception,),
            kept=self._options.cache,
            note_bans=self._options.note_bans,
        )

    @property
    def not_graded(self) -> int:
        """How many tests have said nothing about the answer."""
        runs = (run for trial in self.trials.values() for run in trial.runs.values())
        return sum(run.finding is not None and run.finding.kind is Kind.NOT_GRADED for run in runs)

    def close(self) -> None:
        """End every worker, and the process that forked them if it was this run's own."""
        self._compiling.close()
        for trial in self.trials.values():
            trial.close()
        if self._own_zygote:
            self._own_zygote.close()


def begin_session(config: pytest.Config, session: CourseSession) -> None:
    """Make a session the one of a pytest run."""
    config.stash[_SESSION] = session


def course_session(config: pytest.Config) -> CourseSession:
    """The course's part of a pytest run. Raises KeyError where it could not begin."""
    return config.stash[_SESSION]


def _usable(text: str) -> str:
    """A device that numbers can be computed on, as torch spells it."""
    try:
        device = torch.device(text)
        torch.ones(1, device=device).tolist()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise UsageError(say("answers.no_device", text=text, why=why)) from None
    return "cpu" if device.type == "cpu" else str(device)


def _with_time_to_load(course: Course) -> Course:
    def slower(exercise: Exercise) -> Exercise:
        seconds = exercise.limits.seconds + _LOADING_SECONDS
        return replace(exercise, limits=replace(exercise.limits, seconds=seconds))

    exercises = tuple(map(slower, course.exercises))
    return replace(course, syllabus=replace(course.syllabus, exercises=exercises))
