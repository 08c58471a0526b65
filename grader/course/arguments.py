"""What commands take on the command line, and the course that they work on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from grader.course.course import Course
from grader.course.files import check_output
from grader.course.syllabus import ROOT, Experiment, LearningPath
from grader.messages.catalog import say


def course_folder() -> Path:
    """The folder of the course that the grader is part of."""
    return ROOT


def this_course() -> Course:
    """That course. Raises SyllabusError where its syllabus cannot be used."""
    return Course.load(course_folder())


class ExerciseName(click.ParamType):  # type: ignore[type-arg]  # older clicks take none
    """An exercise in any spelling; a shell completes its id."""

    name = "exercise"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [
            CompletionItem(exercise.id, help=exercise.title)
            for exercise in this_course().exercises
            if exercise.id.startswith(incomplete.lower())
        ]


class _KnownName(click.ParamType):  # type: ignore[type-arg]
    """Something that the syllabus lists, by its id."""

    def known(self) -> Iterable[Any]:
        """All that there is of it, each with an id and a title."""
        raise NotImplementedError

    def refusal(self, asked: object, known: str) -> str:
        """The sentence for an id that there is not, with all that there are."""
        raise NotImplementedError

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        known = {each.id: each for each in self.known()}
        if value not in known:
            self.fail(self.refusal(value, ", ".join(known)), param, ctx)
        return known[str(value)]

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        known = (each for each in self.known() if each.id.startswith(incomplete))
        return [CompletionItem(each.id, help=each.title) for each in known]


class PathName(_KnownName):
    """A learning path, by its id."""

    name = "path"

    def known(self) -> Iterable[LearningPath]:
        return this_course().syllabus.paths

    def refusal(self, asked: object, known: str) -> str:
        return say("cli.no_path", asked=asked, known=known)


class ExperimentName(_KnownName):
    """An experiment, by its id."""

    name = "experiment"

    def known(self) -> Iterable[Experiment]:
        return this_course().syllabus.experiments

    def refusal(self, asked: object, known: str) -> str:
        return say("cli.no_experiment", asked=asked, known=known)


class FunctionName(click.ParamType):  # type: ignore[type-arg]
    """A function of an answer that there are hints about."""

    name = "function"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        course = this_course()
        named = ctx.params.get("exercise")
        exercises = [course.syllabus.find(named)] if named else course.exercises
        about = [hints.about for exercise in exercises for hints in exercise.hints]
        return [CompletionItem(name) for name in about if name.startswith(incomplete)]


class OutputFile(click.Path):
    """A file to write, refused before any work is done if it cannot be written."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        file = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            check_output(file)
        except (OSError, ValueError) as error:  # ValueError: a null byte
            why = getattr(error, "strerror", None) or error
            self.fail(say("reporting.not_written", file=file, why=why), param, ctx)
        return file
