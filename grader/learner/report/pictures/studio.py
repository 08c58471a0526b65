"""Makes the pictures: the scenarios run in isolated workers, the drawing is done here."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from grader.course.answers import Implementation, NoAnswer, answer_of, config_source
from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.isolation.client import Worker
from grader.isolation.launch import NotGraded, ZygoteClient
from grader.isolation.machine import best_profile
from grader.isolation.pickling import register_by_value
from grader.isolation.sandbox import Sandbox
from grader.judging.comparison import Finding
from grader.judging.failure_text import TestFailure, told
from grader.learner.report.pictures import canvas
from grader.learner.report.pictures.picture import NothingToDraw, Picture, PictureSpec, Seen
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line
from grader.observation.record import Observation

_MOST_SECONDS = 10.0
"""The most that all requests of one picture may take together, whatever the exercise allows."""


def pictures(
    exercises: Sequence[Exercise],
    course: Course,
    folder: Path,
    zygote: ZygoteClient | None,
) -> Iterator[tuple[str, Picture]]:
    """A picture of every exercise that has one, from the answers in a folder.

    `zygote` forks the workers; without one each is a process of its own.
    """
    for exercise in exercises:
        if (module := _module(exercise)) is not None:
            register_by_value(module)
            run = PictureRun(exercise, course, folder, zygote)
            yield exercise.id, run.picture(module.PICTURE)


def _module(exercise: Exercise) -> ModuleType | None:
    name = f"grader.learner.report.pictures.{exercise.name}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


class PictureRun:
    """Makes the picture of one exercise from one answer."""

    def __init__(
        self,
        exercise: Exercise,
        course: Course,
        folder: Path,
        zygote: ZygoteClient | None,
    ) -> None:
        self._exercise = exercise
        self._course = course
        self._folder = folder
        self._zygote = zygote
        self._seconds = min(_MOST_SECONDS, exercise.limits.call_seconds)

    def picture(self, spec: PictureSpec) -> Picture:
        """The picture, or the sentence that stands in its place."""
        try:
            seen = list(self._seen(spec))
            svg, caption = canvas.drawn(
                self._exercise.short, spec.height, lambda figure: spec.draw(figure, seen)
            )
        except (NothingToDraw, NoAnswer, NotGraded) as refusal:
            return _without(spec, str(refusal))
        except Exception as error:  # numbers of the answer's that no drawing can be made of
            why = say("pictures.cannot_be_drawn", error=type(error).__name__)
            return _without(spec, why)
        return Picture(spec.title(), caption, svg)

    def _seen(self, spec: PictureSpec) -> Iterator[Seen]:
        choice = Implementation("exercises", self._folder)
        limits = self._exercise.limits
        worker = Worker(
            answer_of(choice, self._exercise, self._course),
            config_source(self._course),
            root=self._course.root,
            locked=Sandbox(best_profile(), limits.memory_mb, limits.files_mb),
            imports=self._exercise.imports,
            zygote=self._zygote,
        )
        try:
            worker.start()
            began = worker.spent
            for request in spec.requests():
                left = self._seconds - (worker.spent - began)
                observation = worker.ask(request, max(0.1, left))()
                if observation.interruption is not None:
                    raise NothingToDraw(self._told(observation))
                yield Seen(observation)
        finally:
            worker.stop()

    def _told(self, observation: Observation) -> str:
        """What went wrong, in the words of a failed test."""
        assert observation.interruption is not None
        failure = TestFailure(
            self._exercise.id,
            test="",
            sentence="",
            finding=Finding(observation.interruption.kind, (), observation.interruption),
            seconds=self._seconds,
            root=self._course.root,
        )
        return " · ".join(line.strip() for line in told(failure)[1:] if line.strip())


def _without(spec: PictureSpec, why: str) -> Picture:
    return Picture(spec.title(), say("pictures.none", why=sanitize_line(why)))
