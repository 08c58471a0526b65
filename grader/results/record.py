"""What runs of the learner's answers came to, so that what has not changed is not run again.

A result is kept in `.grader/results/`, one file per exercise, under a key made of everything that
it follows from. Reading one imports neither torch nor pytest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.course import Course
from grader.course.files import replace_file
from grader.course.syllabus import Exercise
from grader.judging.localization import failing_functions
from grader.learner.history import RunRecord
from grader.messages.catalog import language
from grader.observation.kind import Kind

if TYPE_CHECKING:
    from grader.judging.run import Outcome

FOLDER = Path(".grader") / "results"
VERSION = 2

_TEXTS = ("mistakes", "lines", "details", "failing")
_LATEST = 1e11
"""The seconds of the year 5138: whatever is later is no date."""
TRY_AGAIN = 75
"""The exit code where something could not be graded, and nothing failed: that of sysexits.h for a
failure which another try may not meet."""


@dataclass(frozen=True)
class TestResult:
    """How one test went: `verdict` is "passed" or the kind of what was found wrong."""

    __test__ = False  # for pytest this is no test

    test: str
    sentence: str
    weight: int
    verdict: str

    @property
    def passed(self) -> bool:
        return self.verdict == Kind.PASSED


@dataclass(frozen=True)
class Result:
    """What a run of one exercise came to.

    `when` is in seconds since 1970, `mistakes` are the ids of those that were named, `file_hash` is
    the SHA-256 of the learner's file; `seed` repeats the run. `lines` are what there was to say
    about the failures, in the language of the moment, and `details` the same at length; `failing`
    are the functions that the failing tests are about, in the order of the file.
    """

    when: float
    seed: int
    seconds: float
    tests: tuple[TestResult, ...]
    mistakes: tuple[str, ...]
    file_hash: str
    lines: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()

    @property
    def passed(self) -> int:
        return sum(test.passed for test in self.tests)

    @property
    def is_graded(self) -> bool:
        """Whether every test has said something about the answer."""
        return all(test.verdict != Kind.NOT_GRADED for test in self.tests)

    @property
    def share(self) -> Fraction:
        """The part of the exercise's points that was earned."""
        total = sum(test.weight for test in self.tests)
        earned = sum(test.weight for test in self.tests if test.passed)
        return Fraction(earned, total) if total else Fraction(0)

    def as_record(self, exercise: Exercise, command: str) -> RunRecord:
        """The line that this run has in the history."""
        return RunRecord(
            exercise=exercise.id,
            command=command,
            when=self.when,
            seconds=self.seconds,
            passed=self.passed,
            tests=len(self.tests),
            points=str(exercise.points * self.share),
            verdicts=tuple((test.test, test.verdict) for test in self.tests),
            mistakes=self.mistakes,
            file_hash=self.file_hash,
            failing=self.failing,
        )


def _is_sound(result: Result) -> bool:
    """Whether a result that was read from a file is made of what results are made of."""
    texts = [result.file_hash, *result.mistakes]
    for test in result.tests:
        texts += [test.test, test.sentence, test.verdict]
        if type(test.weight) is not int or test.weight < 0:
            return False
    numbers = [result.when, result.seconds]
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) in (int, float) and 0 <= number < _LATEST for number in numbers)
        and type(result.seed) is int
    )


def result_of(
    outcome: Outcome,
    *,
    when: float,
    seed: int,
    file_hash: str,
    lines: Iterable[str] = (),
    details: Iterable[str] = (),
) -> Result:
    """The result of a run that has just ended; where lines are read, `complaints` makes them."""
    tests = []
    mistakes: list[str] = []
    for run in outcome.runs:
        # A test that failed without a finding broke down itself.
        verdict = run.finding.kind if run.finding else Kind.NOT_GRADED
        tests.append(
            TestResult(run.test, run.sentence, run.weight, Kind.PASSED if run.passed else verdict)
        )
        mistake = None if run.passed else outcome.trial.diagnosis.definite(run.test)
        if mistake is not None:  # one of two is no mistake that is known to have been made
            mistakes.append(mistake.id)
    return Result(
        when,
        seed,
        outcome.seconds,
        tuple(tests),
        tuple(dict.fromkeys(mistakes)),
        file_hash,
        tuple(lines),
        tuple(details),
        failing_functions(outcome),
    )


class Results:
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

    def find(self, exercise: Exercise) -> Result | None:
        """The result of these very files, if there is one."""
        try:
            kept = json.loads(self._file(exercise).read_text(encoding="utf-8"))
            if (kept.pop("version"), kept.pop("key")) != (VERSION, self._keys[exercise.id]):
                return None
            tests = tuple(TestResult(**test) for test in kept.pop("tests"))
            kept |= {name: _texts(kept[name]) for name in _TEXTS}
            found = Result(tests=tests, **kept)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None  # nothing is kept, or by another hand: running again mends it
        return found if _is_sound(found) else None

    def keep(self, results: Mapping[Exercise, Result]) -> None:
        """Keep what would come out again, of the exercises whose files are still the same."""
        keys = self._keys_now()
        for exercise, result in results.items():
            by_chance = any(Kind(test.verdict).by_chance for test in result.tests)
            if by_chance or keys[exercise.id] != self._keys[exercise.id]:
                continue
            content = {"version": VERSION, "key": keys[exercise.id]} | dataclasses.asdict(result)
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


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts as it was kept; raises where it is none."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError
    return tuple(value)


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


def file_hash(file: Path) -> str:
    """The SHA-256 of a file; empty where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
