"""Which hints come first: those about the function that a learner is at.

Everything is read from what is kept: nothing is run, and neither torch nor pytest is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from grader.course.course import Course
from grader.course.stubs import is_untouched
from grader.course.syllabus import Exercise, HintLadder
from grader.learner.history import RunRecord


def first_hints(exercise: Exercise, course: Course, runs: Sequence[RunRecord]) -> HintLadder:
    """The hints about the function that fails in the newest of an exercise's runs.

    A function that is written and wrong comes before one that is not written. Where no run says
    anything, it is the first function that is not written, or else the first of all.
    """
    failing = () if is_untouched(exercise, course) else _failing(runs)
    unwritten = _ladders(exercise, unwritten_functions(course.paths(exercise).stub))
    wrong = [ladder for ladder in _ladders(exercise, failing) if ladder not in unwritten]
    return next(iter((*wrong, *unwritten, *exercise.hints)))


def _failing(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """What the newest run says; one of a file that cannot be imported says nothing."""
    return next((run.failing for run in reversed(runs) if run.failing or run.done), ())


def _ladders(exercise: Exercise, functions: Sequence[str]) -> list[HintLadder]:
    about = [exercise.hints_about(function) for function in functions]
    return [ladder for ladder in exercise.hints if ladder in about]


def unwritten_functions(file: Path) -> list[str]:
    """The functions and methods of a file that are stubs still; none if it is not Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [name for name, function in _functions(tree) if any(map(_is_stub_line, function.body))]


def _functions(
    scope: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield f"{prefix}{node.name}", node


def _is_stub_line(statement: ast.stmt) -> bool:
    """Whether a line of a function's own, in no branch, raises NotImplementedError."""
    if not isinstance(statement, ast.Raise):
        return False
    raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
