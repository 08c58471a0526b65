"""Whose code is tested: the learner's, the solutions, the reference, or a folder of answers."""

from __future__ import annotations

import importlib
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.course.variants import Variant, read_variants
from grader.messages.catalog import say
from grader.observation.answer import REFERENCE_PACKAGE, Answer, Source

NAMES = ("exercises", "solutions", "minimind_ref")
_MAX_BYTES = 200_000


class UsageError(ValueError):
    """A choice on the command line that cannot be followed; the message says what can."""


class NoAnswer(Exception):
    """There is no file to test; the message says where one was looked for."""


@dataclass(frozen=True)
class Implementation:
    """A choice of answers.

    `own` takes prerequisites from the same place instead of from the right answers; `variant` is
    a known mistake or alternative to put over the answer.
    """

    choice: str
    folder: Path
    own: bool = False
    variant: str | None = None

    def describe(self) -> str:
        """One phrase for the header of a run."""
        what = {
            "exercises": "exercises (your answers)",
            "solutions": "solutions",
            "minimind_ref": "minimind_ref (the reference)",
        }.get(self.choice, str(self.folder))
        if self.variant:
            what += f" with {self.variant}"
        return what + (", prerequisites of the same folder" if self.own else "")


def choose(
    choice: str, course: Course, *, own: bool = False, variant: str | None = None
) -> Implementation:
    """The implementation that `--impl` names. Raises UsageError for a folder that is not there."""
    if choice in NAMES:
        return Implementation(choice, course.root / choice, own, variant)
    folder = Path(choice).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(say("answers.no_folder", choice=choice, names=", ".join(NAMES)))
    return Implementation(choice, folder, own, variant)


def answer_of(implementation: Implementation, exercise: Exercise, course: Course) -> Answer:
    """The answer to one exercise with what it may import. Raises NoAnswer if there is none."""
    if implementation.choice == "minimind_ref":
        answer = reference_answer(exercise, course)
    else:
        package = "solutions" if implementation.choice == "solutions" else "exercises"
        source = read_source(implementation.folder / exercise.answer_file)
        siblings: list[Source] = []
        own: set[str] = set()
        needed = course.syllabus.closure(exercise)
        for earlier in course.syllabus.earlier(exercise):
            if implementation.own:
                files = [implementation.folder / earlier.answer_file]
            else:
                files = [course.paths(earlier).solution, course.paths(earlier).reference]
            if earlier not in needed and not any(file.exists() for file in files):
                continue  # nobody misses it before an answer imports it
            if implementation.own:
                siblings.append(read_source(files[0]))
                own.add(earlier.id)
            else:
                siblings += right_answer(earlier, course)
        answer = Answer(package, source, tuple(siblings), frozenset(own))
    if implementation.variant is None:
        return answer
    variant = _variant(implementation.variant, exercise, course)
    return replace(answer, source=variant.applied_to(answer.source))


def solution_of(exercise: Exercise, course: Course) -> Answer:
    """The solution with its prerequisites, the base that mistakes and alternatives change."""
    return answer_of(Implementation("solutions", course.root / "solutions"), exercise, course)


def right_answer(exercise: Exercise, course: Course) -> list[Source]:
    """What stands in for a prerequisite: its solution, else the reference under both names."""
    paths = course.paths(exercise)
    if paths.solution.exists():
        return [read_source(paths.solution)]
    reference = read_source(paths.reference)
    alias = Source(
        exercise.id, f"{paths.reference}#as {exercise.id}", f"from .{exercise.name} import *\n"
    )
    return [config_source(course, "config"), reference, alias]


def config_source(course: Course, name: str = "config") -> Source:
    """`minimind_ref/config.py`, the one module of the reference that an answer may import."""
    return replace(read_source(course.root / REFERENCE_PACKAGE / "config.py"), name=name)


def reference_module(exercise: Exercise) -> ModuleType:
    """The reference's module for an exercise, imported into the judge."""
    return importlib.import_module(f"{REFERENCE_PACKAGE}.{exercise.name}")


def reference_app(name: str) -> ModuleType:
    """A module of the reference's program, which needs no exercise: its corpus."""
    return importlib.import_module(f"{REFERENCE_PACKAGE}.app.{name}")


def read_source(path: Path) -> Source:
    """A regular file of a sensible size as text; never follows a link out of its folder."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise NoAnswer(say("answers.not_regular", path=path))
        if status.st_size > _MAX_BYTES:
            raise NoAnswer(say("answers.too_large", path=path, most=_MAX_BYTES))
        return Source(path.stem, str(path), path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise NoAnswer(say("answers.no_file", path=path)) from None
    except UnicodeDecodeError as error:
        raise NoAnswer(say("answers.not_text", path=path, why=error.reason)) from None
    except OSError as error:
        raise NoAnswer(say("answers.unreadable", path=path, why=error.strerror)) from None


def reference_answer(exercise: Exercise, course: Course) -> Answer:
    """The reference as an answer, in a package of its own beside `minimind_ref`."""
    needed = [course.paths(e).reference for e in course.syllabus.closure(exercise)]
    siblings = (config_source(course), *(read_source(path) for path in needed))
    return Answer("_reference", read_source(course.paths(exercise).reference), siblings)


def _variant(name: str, exercise: Exercise, course: Course) -> Variant:
    paths = course.paths(exercise)
    known = {v.id: v for v in (*read_variants(paths.mistakes), *read_variants(paths.alternatives))}
    if name not in known:
        raise UsageError(
            f"{exercise.id} has no mistake or alternative {name!r}: {', '.join(known)}"
        )
    return known[name]
