"""Results of the learner's own runs are kept, so that what has not changed is not run again.

A result lies in `.grader/results/`, one file per exercise, under a key made of everything that it
follows from. Reading one imports neither torch nor pytest.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from grader.course.course import Course
from grader.course.files import file_hash, replace_file
from grader.course.syllabus import Exercise
from grader.messages.catalog import language
from grader.results.record import ExerciseResult

FOLDER = Path(".grader") / "results"
VERSION = 3
"""Of these files: 1 and 2 held other records, from before all results were of one form. Their keys
hold the grader of that time, so nothing of them could be used today: they are run again."""


class ResultCache:
    """The kept results of some exercises, as their files stand when this is made.

    Make it before a run: what was saved while the tests ran then counts as a change.
    """

    def __init__(self, course: Course, exercises: Sequence[Exercise]) -> None:
        self._course = course
        self._exercises = {exercise.id: exercise for exercise in exercises}
        self._keys = self._keys_now()
        self._hashes = {e.id: file_hash(course.paths(e).stub) for e in exercises}

    def file_hash(self, exercise: Exercise) -> str:
        """The SHA-256 of the learner's file as it was; empty where there was none."""
        return self._hashes[exercise.id]

    def find(self, exercise: Exercise) -> ExerciseResult | None:
        """The result of these very files, if there is one."""
        try:
            kept = json.loads(self._file(exercise).read_text(encoding="utf-8"))
            if (kept["version"], kept["key"]) != (VERSION, self._keys[exercise.id]):
                return None
            return ExerciseResult.from_json(kept["result"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None  # nothing is kept, or somebody else wrote it: running again replaces it

    def keep(self, results: Mapping[Exercise, ExerciseResult]) -> None:
        """Keep what would come out again, of the exercises whose files are still the same."""
        keys = self._keys_now()
        for exercise, result in results.items():
            if result.may_differ_next_time or keys[exercise.id] != self._keys[exercise.id]:
                continue
            content = {"version": VERSION, "key": keys[exercise.id], "result": result.as_json()}
            with contextlib.suppress(OSError):  # the history says so already
                replace_file(self._file(exercise), json.dumps(content, indent=1).encode())

    def _file(self, exercise: Exercise) -> Path:
        return self._course.root / FOLDER / f"{exercise.id}.json"

    def _keys_now(self) -> dict[str, str]:
        course = _digest(sys.version, *_hashes(_course_files(self._course.root), self._course.root))
        return {id: self._key(exercise, course) for id, exercise in self._exercises.items()}

    def _key(self, exercise: Exercise, course: str) -> str:
        paths = self._course.paths(exercise)
        own = [paths.stub, paths.test_file, paths.solution, paths.mistakes, paths.roundings]
        needed = [self._course.paths(e).solution for e in self._course.syllabus.earlier(exercise)]
        return _digest(repr(exercise), course, *_hashes([*own, *needed], self._course.root))


def _course_files(root: Path) -> Iterator[Path]:
    """What every verdict rests on: torch, the grader, the reference, what tests have in common."""
    torch = importlib.util.find_spec("torch")  # found, not imported
    if torch is not None and torch.origin is not None:
        yield Path(torch.origin).with_name("version.py")
    yield root / "conftest.py"
    yield root / "pyproject.toml"
    yield root / "grader" / "messages" / "texts" / f"{language()}.toml"
    yield from sorted((root / "minimind_ref").glob("*.py"))
    yield from sorted(set((root / "tests").glob("*.py")) - set((root / "tests").glob("test_*.py")))
    for module in sorted((root / "grader").rglob("*.py")):
        if module.relative_to(root).parts[1] not in ("pristine", "tests"):
            yield module


def _hashes(files: Iterable[Path], root: Path) -> Iterator[str]:
    for file in files:
        # Where the course lies decides no verdict.
        yield file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        yield file_hash(file)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
