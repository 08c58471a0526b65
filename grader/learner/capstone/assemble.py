"""Put the learner's own parts together, and name the one that is not ready.

Every exercise is one module of one package, and imports its siblings: nothing of the solutions or
the reference is among them.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from grader.course.answers import Implementation, NoAnswer, answer_of, reference_module
from grader.course.course import Course
from grader.course.stubs import plain
from grader.course.syllabus import Exercise
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line
from grader.observation.answer import Source, load_answer


class Unfit(Exception):
    """A part that is unfinished or wrong; the message says how that shows."""

    def __init__(self, exercise: Exercise, why: str) -> None:
        super().__init__(why)
        self.exercise = exercise


@dataclass(frozen=True)
class Parts:
    """The modules of all exercises, by the exercise's name, such as "rope"."""

    modules: Mapping[str, ModuleType]

    def __getitem__(self, name: str) -> ModuleType:
        return self.modules[name]


def not_begun(implementation: Implementation, course: Course) -> list[Exercise]:
    """The exercises that the capstone needs and whose file is missing or still the stub."""
    assert course.syllabus.capstone is not None
    needed = map(course.syllabus.find, course.syllabus.capstone.prerequisites)
    return [exercise for exercise in needed if not _is_begun(exercise, implementation, course)]


def _is_begun(exercise: Exercise, implementation: Implementation, course: Course) -> bool:
    try:
        answer = (implementation.folder / exercise.answer_file).read_bytes()
    except OSError:
        return False
    pristine = course.paths(exercise).pristine
    return not pristine.exists() or plain(answer) != plain(pristine.read_bytes())


def load_parts(
    implementation: Implementation, course: Course, changed: Mapping[str, Source] | None = None
) -> Parts:
    """Import all parts from one folder; `changed` replaces some of them, by the exercise's id.

    Raises Unfit for the part that cannot be imported.
    """
    last = course.exercises[-1]
    try:
        answer = answer_of(replace(implementation, own=True), last, course)
    except NoAnswer as missing:
        raise Unfit(last, str(missing)) from None
    if changed:
        siblings = tuple(changed.get(sibling.name, sibling) for sibling in answer.siblings)
        answer = replace(answer, source=changed.get(last.id, answer.source), siblings=siblings)
    with named(course, last):
        modules = {last.name: load_answer(answer)}
    present = {sibling.name for sibling in answer.siblings}
    for exercise in course.exercises[:-1]:
        if exercise.id in present:
            with named(course, exercise):
                modules[exercise.name] = importlib.import_module(f"{answer.package}.{exercise.id}")
    return Parts(modules)


def reference_parts(course: Course) -> Parts:
    """The reference's modules of the same names."""
    return Parts({exercise.name: reference_module(exercise) for exercise in course.exercises})


@contextmanager
def named(course: Course, usual: Exercise, right: Container[str] = ()) -> Iterator[None]:
    """Whatever goes wrong inside becomes an Unfit of the part whose code it was last in.

    Parts whose ids are in `right` are not to blame, but those that call them. `usual` is meant
    where no code of the learner's is in the traceback. Ending the program is going wrong, too;
    being interrupted is not.
    """
    try:
        yield
    except (Unfit, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        raise _unfit(error, frames, course, usual, right) from error


def _unfit(
    error: BaseException,
    frames: Sequence[traceback.FrameSummary],
    course: Course,
    usual: Exercise,
    right: Container[str],
) -> Unfit:
    files = {e.answer_file: e for e in course.exercises if e.id not in right}
    where = [f for f in frames if Path(f.filename.partition("#")[0]).name in files]
    if isinstance(error, SyntaxError) and error.filename:
        exercise = files.get(Path(error.filename).name, usual)
        return Unfit(exercise, say("capstone.not_python", line=error.lineno or 0))
    if not where:
        return Unfit(usual, _described(error))
    exercise = files[Path(where[-1].filename.partition("#")[0]).name]
    if isinstance(error, NotImplementedError):
        return Unfit(exercise, say("capstone.unwritten", function=where[-1].name))
    line = where[-1].lineno or 0
    return Unfit(exercise, say("capstone.raised", line=line, error=_described(error)))


def _described(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return sanitize_line(f"{type(error).__name__}: {first}" if first else type(error).__name__)
