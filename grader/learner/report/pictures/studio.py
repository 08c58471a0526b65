"""Have pictures made: the scenarios in isolated workers, the drawings here."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from grader.course.answers import Implementation, NoAnswer, answer_of, config_source
from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.isolation.client import Worker, register_by_value
from grader.isolation.launch import NotGraded, ZygoteClient
from grader.isolation.machine import best_profile
from grader.isolation.sandbox import Sandbox
from grader.judging.comparison import Finding
from grader.judging.failure_text import TestFailure, told
from grader.learner.report.pictures import canvas
from grader.learner.report.pictures.painting import NothingToDraw, Painting, Picture, Seen
from grader.messages.catalog import say
from grader.messages.sanitize import harmless
from grader.observation.record import Observation

_MOST_SECONDS = 10.0
"""What all requests of one picture may take together, whatever the exercise's limit is."""


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
            sitting = _Sitting(exercise, course, folder, zygote)
            yield exercise.id, sitting.picture(module.PICTURE)


def _module(exercise: Exercise) -> ModuleType | None:
    name = f"grader.learner.report.pictures.{exercise.name}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


class _Sitting:
    """One answer and the picture that is made of it."""

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

    def picture(self, painting: Painting) -> Picture:
        """The picture, or the sentence that stands in its place."""
        try:
            seen = list(self._seen(painting))
            svg, caption = canvas.drawn(
                self._exercise.short, painting.height, lambda figure: painting.draw(figure, seen)
            )
        except (NothingToDraw, NoAnswer, NotGraded) as refusal:
            return _without(painting, str(refusal))
        except Exception as error:  # numbers of the answer's that no drawing can be made of
            why = say("pictures.cannot_be_drawn", error=type(error).__name__)
            return _without(painting, why)
        return Picture(painting.title(), caption, svg)

    def _seen(self, painting: Painting) -> Iterator[Seen]:
        choice = Implementation("exercises", self._folder)
        worker = Worker(
            answer_of(choice, self._exercise, self._course),
            config_source(self._course),
            root=self._course.root,
            locked=Sandbox(best_profile(), self._exercise.limits.memory_mb),
            imports=self._exercise.imports,
            zygote=self._zygote,
        )
        try:
            worker.start()
            deadline = time.monotonic() + self._seconds
            for request in painting.requests():
                observation = worker.ask(request, max(0.1, deadline - time.monotonic()))()
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


def _without(painting: Painting, why: str) -> Picture:
    return Picture(painting.title(), say("pictures.none", why=harmless(why)))
