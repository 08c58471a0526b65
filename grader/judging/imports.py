"""What an answer may import, and what to write in place of the rest. Nothing of it is run.

An answer is one file. It may import every earlier exercise with a dot in front, `MiniMindConfig`,
Python's own library, torch and numpy.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grader.course.syllabus import Exercise, Syllabus, UnknownExercise
from grader.isolation.library import PACKAGES
from grader.messages.catalog import say
from grader.observation.answer import REFERENCE_PACKAGE, Answer
from grader.observation.parsing import UnreadableSource, parsed

_PARTS_OF_THE_COURSE = ("exercises", "solutions", "tests", "grader")
_CATCHES_IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True)
class _Import:
    """One name that an import statement asks for; a relative one begins with its dot."""

    name: str
    line: int

    @property
    def top(self) -> str:
        return self.name.lstrip(".").partition(".")[0]


def refused_import(answer: Answer, exercise: Exercise, syllabus: Syllabus) -> str:
    """Which import of an answer cannot be given, and what to write; empty if there is none.

    A file that does not parse, or nests too deeply, has none: whoever compiles it says more.
    """
    try:
        tree = parsed(answer.source.text)
        imports = list(_imports(tree)) if tree else []
    except (UnreadableSource, RecursionError, MemoryError):
        return ""
    for found in imports:
        sentence = _refusal(found, answer, exercise, syllabus)
        if sentence:
            return f"{answer.source.path}:{found.line} {sentence}"
    return ""


def _refusal(found: _Import, answer: Answer, exercise: Exercise, syllabus: Syllabus) -> str:
    top, name = found.top, found.name
    given = {sibling.name for sibling in answer.siblings}
    if name.startswith("."):
        return "" if top in given else _relative(top, exercise, syllabus)
    if top == REFERENCE_PACKAGE:
        allowed = name in (REFERENCE_PACKAGE, f"{REFERENCE_PACKAGE}.config")
        return "" if allowed else say("imports.reference", name=name)
    if top in _PARTS_OF_THE_COURSE:
        inner = name.partition(".")[2].partition(".")[0]
        if top == answer.package and inner:
            return "" if inner in given else _relative(inner, exercise, syllabus)
        if meant := _exercise(inner, syllabus):
            return _without_its_dot(meant, name, exercise, syllabus)
        return say("imports.no_part", name=name)
    if top in sys.stdlib_module_names or top in PACKAGES:
        return ""
    if meant := _exercise(top, syllabus):
        return _without_its_dot(meant, name, exercise, syllabus)
    folder = Path(answer.source.path).parent
    if (folder / f"{top}.py").exists() or (folder / top).is_dir():
        return say("imports.helper", name=top, file=exercise.answer_file)
    return say("imports.package", name=top)


def _relative(name: str, exercise: Exercise, syllabus: Syllabus) -> str:
    """What is wrong with `from .name import …`."""
    meant = _exercise(name, syllabus)
    if meant is None:
        return say("imports.helper", name=f".{name}", file=exercise.answer_file)
    if meant != exercise and meant not in syllabus.earlier(exercise):
        return say("imports.later", name=meant.id)
    if name != meant.id:
        return say("imports.whole_name", name=name, id=meant.id)
    return ""


def _without_its_dot(meant: Exercise, name: str, exercise: Exercise, syllabus: Syllabus) -> str:
    if meant in syllabus.earlier(exercise):
        return say("imports.dot", name=name, id=meant.id)
    if meant == exercise:
        return say("imports.no_part", name=name)
    return say("imports.later", name=meant.id)


def _exercise(name: str, syllabus: Syllabus) -> Exercise | None:
    if not name or name.isdecimal():
        return None
    try:
        return syllabus.find(name)
    except UnknownExercise:
        return None


def _imports(tree: ast.Module) -> Iterator[_Import]:
    """The imports of a file that run when it does: not those for type checkers, nor where a failed
    one is caught, nor below `if __name__ == "__main__"`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (_Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported_from(node)
        elif isinstance(node, ast.If) and _never_runs(node.test):
            waiting += reversed(node.orelse)
        elif isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
            waiting += reversed([*node.handlers, *node.orelse, *node.finalbody])
        else:
            waiting += reversed(list(ast.iter_child_nodes(node)))


def _imported_from(node: ast.ImportFrom) -> Iterator[_Import]:
    base = "." * node.level + (node.module or "")
    if node.module is None or base == REFERENCE_PACKAGE or base in _PARTS_OF_THE_COURSE:
        # `from . import ex01_rmsnorm` and `from minimind_ref import config` name modules.
        for alias in node.names:
            yield _Import(f"{base}{'' if node.module is None else '.'}{alias.name}", node.lineno)
    else:
        yield _Import(base, node.lineno)


def _never_runs(test: ast.expr) -> bool:
    text = ast.unparse(test)
    return "TYPE_CHECKING" in text or ("__name__" in text and "__main__" in text)


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & _CATCHES_IMPORT_ERRORS)
