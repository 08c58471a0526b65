"""The one record of what a run of an exercise's tests came to, and its form as JSON.

A learner's progress, the kept results, a submission's grade and every export are made of it.
Neither torch nor pytest is needed to read one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from grader.observation.kind import Kind

VERSION = 2
"""Of every JSON file that holds records; `grader/schemas/` describes them."""
TRY_AGAIN = 75
"""The exit code where something could not be graded, and nothing failed: that of sysexits.h for a
failure which another try may not meet."""

_LATEST = 1e11
"""The seconds of the year 5138: whatever is later is no date."""


@dataclass(frozen=True)
class NamedMistake:
    """A known mistake, by its id in the course and the sentence that says what to do instead."""

    id: str
    sentence: str

    def as_json(self) -> dict[str, object]:
        return {"id": self.id, "sentence": self.sentence}

    @classmethod
    def from_json(cls, content: Any) -> NamedMistake:
        """The mistake that an object describes. Raises ValueError for anything else."""
        found = cls(_text(content, "id"), _text(content, "sentence"))
        _require(content.keys() == found.as_json().keys(), "other fields than a mistake has")
        return found


@dataclass(frozen=True)
class TestResult:
    """How one test went.

    Args:
        test: its file and name: `test_02_rope.py::test_queries_turn`.
        sentence: the fact that it states.
        weight: its share of the exercise's points, against those of the other tests.
        verdict: whether it passed, or what was found wrong.
        message: what was seen, in a few lines; empty for a test that passed.
        mistakes: the known mistakes that explain the failure. Of several, each by itself would.
    """

    __test__ = False  # for pytest this is no test

    test: str
    sentence: str
    weight: int
    verdict: Kind
    message: tuple[str, ...] = ()
    mistakes: tuple[NamedMistake, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict is Kind.PASSED

    def as_json(self) -> dict[str, object]:
        """The test as JSON's object, with what follows from its verdict."""
        return {
            "test": self.test,
            "sentence": self.sentence,
            "weight": self.weight,
            "passed": self.passed,
            "verdict": str(self.verdict),
            "public": self.verdict.public,
            "message": list(self.message),
            "mistakes": [mistake.as_json() for mistake in self.mistakes],
        }

    @classmethod
    def from_json(cls, content: Any) -> TestResult:
        """The test that an object describes. Raises ValueError for anything else."""
        mistakes = _list(content, "mistakes")
        found = cls(
            test=_text(content, "test"),
            sentence=_text(content, "sentence"),
            weight=_whole(content, "weight"),
            verdict=Kind(_text(content, "verdict")),
            message=_texts(content, "message"),
            mistakes=tuple(map(NamedMistake.from_json, mistakes)),
        )
        _require(found.weight >= 0, "a weight below zero")
        _require(content.keys() == found.as_json().keys(), "other fields than a test has")
        return found


@dataclass(frozen=True)
class ExerciseResult:
    """What a run of one exercise's tests came to.

    Args:
        exercise: its id.
        points: what it is worth.
        seed: repeats the run.
        profile: how far the answer was locked in; "none" where it ran in the judge's process.
        when: the moment, in seconds since 1970.
        seconds: how long the tests took.
        file_hash: the SHA-256 of the answer; empty where there is no file.
        tests: in the order of the test file.
        flags: the banned calls that were noted, where they fail no test by themselves.
        lines: what there is to say about the failures, in the language of the moment.
        details: the same at length, with the inputs of the tests that failed.
        failing: the functions that the failing tests are about, in the order of the answer.
    """

    exercise: str
    points: int
    seed: int
    profile: str
    when: float
    seconds: float
    file_hash: str
    tests: tuple[TestResult, ...]
    flags: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(test.passed for test in self.tests)

    @property
    def is_graded(self) -> bool:
        """Whether every test has said something about the answer."""
        return all(test.verdict is not Kind.NOT_GRADED for test in self.tests)

    @property
    def may_differ_next_time(self) -> bool:
        """Whether a busy machine, or one short of memory, may have made the answer fail."""
        return any(test.verdict.by_chance for test in self.tests)

    @property
    def share(self) -> Fraction:
        """The part of the exercise's points that was earned."""
        return self.share_of(Kind.PASSED)

    def share_of(self, *verdicts: Kind) -> Fraction:
        """The part of the points that tests with one of these verdicts are worth."""
        return share((test.weight, test.verdict in verdicts) for test in self.tests)

    @property
    def earned(self) -> Fraction:
        """The points that were earned, exactly."""
        return self.points * self.share

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The ids of the mistakes that were made for certain: those that alone explain a test."""
        alone = (test.mistakes[0].id for test in self.tests if len(test.mistakes) == 1)
        return tuple(dict.fromkeys(alone))

    def as_json(self) -> dict[str, object]:
        """The record as JSON's object; points that were earned are exact fractions as text."""
        return {
            "exercise": self.exercise,
            "points": self.points,
            "earned": str(self.earned),
            "graded": self.is_graded,
            "seed": self.seed,
            "profile": self.profile,
            "when": self.when,
            "seconds": self.seconds,
            "file_hash": self.file_hash,
            "tests": [test.as_json() for test in self.tests],
            "flags": list(self.flags),
            "lines": list(self.lines),
            "details": list(self.details),
            "failing": list(self.failing),
        }

    @classmethod
    def from_json(cls, content: Any) -> ExerciseResult:
        """The record that an object describes. Raises ValueError for anything else."""
        found = cls(
            exercise=_text(content, "exercise"),
            points=_whole(content, "points"),
            seed=_whole(content, "seed"),
            profile=_text(content, "profile"),
            when=_number(content, "when"),
            seconds=_number(content, "seconds"),
            file_hash=_text(content, "file_hash"),
            tests=tuple(TestResult.from_json(test) for test in _list(content, "tests")),
            flags=_texts(content, "flags"),
            lines=_texts(content, "lines"),
            details=_texts(content, "details"),
            failing=_texts(content, "failing"),
        )
        _require(found.points >= 0, "points below zero")
        _require(content.keys() == found.as_json().keys(), "other fields than a record has")
        return found


def share(tests: Iterable[tuple[int, bool]]) -> Fraction:
    """The part of the whole weight that belongs to the tests that count; 0 without any weight."""
    weights = list(tests)
    total = sum(weight for weight, _ in weights)
    return Fraction(sum(weight for weight, counts in weights if counts), total or 1)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _field(content: Any, name: str) -> Any:
    _require(isinstance(content, Mapping) and name in content, f"{name} is missing")
    return content[name]


def _text(content: Any, name: str) -> str:
    value = _field(content, name)
    _require(type(value) is str, f"{name} is no text")
    return str(value)


def _whole(content: Any, name: str) -> int:
    value = _field(content, name)
    _require(type(value) is int, f"{name} is no whole number")
    return int(value)


def _number(content: Any, name: str) -> float:
    """A number of seconds; those since 1970 too."""
    value = _field(content, name)
    _require(type(value) in (int, float) and 0 <= value < _LATEST, f"{name} is no time")
    return float(value)


def _list(content: Any, name: str) -> list[Any]:
    value = _field(content, name)
    _require(type(value) is list, f"{name} is no list")
    return list(value)


def _texts(content: Any, name: str) -> tuple[str, ...]:
    value = _list(content, name)
    _require(all(type(text) is str for text in value), f"{name} holds something that is no text")
    return tuple(value)
