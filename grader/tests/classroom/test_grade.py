"""A submission's grade: the records of its exercises under a policy, and their JSON."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from grader.classroom.grade import Grade, grade
from grader.cli import main
from grader.course.course import Course
from grader.course.files import file_hash
from grader.course.variants import read_variants
from grader.observation.kind import Kind
from grader.results.record import ExerciseResult, TestResult
from grader.tests.schemas import validator

COURSE = Course.load()
NORM = COURSE.syllabus.find("ex01")
MISTAKE = next(v for v in read_variants(COURSE.paths(NORM).mistakes) if not v.undetectable)
RESULT = ExerciseResult(
    exercise="ex01_rmsnorm",
    points=50,
    seed=3,
    profile="light",
    when=0.0,
    seconds=1.0,
    file_hash="",
    tests=(
        TestResult("t::one", "One", 1, Kind.PASSED),
        TestResult("t::two", "Two", 1, Kind.BANNED, ("  calls rms_norm",)),
        TestResult("t::three", "Three", 2, Kind.VALUE),
    ),
)
FLAGGED = replace(RESULT, flags=("calls rms_norm in line 3",))


class TestPolicy:
    @pytest.mark.parametrize(
        ("cost", "result", "earned"),
        [
            (True, RESULT, Fraction(50, 4)),
            (True, FLAGGED, Fraction(0)),
            (False, FLAGGED, Fraction(25)),  # what is only noted is right all the same
            (False, replace(RESULT, tests=RESULT.tests[:1]), Fraction(50)),
        ],
    )
    def test_a_banned_call_takes_the_points_or_is_only_noted(
        self, cost: bool, result: ExerciseResult, earned: Fraction
    ) -> None:
        graded = Grade("ada", 3, "light", (result, result), bans_cost_points=cost)
        assert graded.earned_in(result) == earned
        assert (graded.earned, graded.points) == (2 * earned, 100)
        content: Any = graded.as_json()
        assert content["earned"] == str(2 * earned)
        assert [exercise["earned"] for exercise in content["exercises"]] == [str(earned)] * 2
        validator("grade")(content)

    def test_what_is_not_graded_is_not_final(self) -> None:
        ungraded = replace(RESULT, tests=(TestResult("t", "T", 1, Kind.NOT_GRADED),))
        assert Grade("ada", 3, "light", (RESULT,)).is_graded
        graded = Grade("ada", 3, "light", (RESULT, ungraded))
        assert not graded.is_graded and graded.as_json()["graded"] is False


def test_the_schema_describes_all_of_a_grade() -> None:
    validate = validator("grade")
    whole = json.dumps(Grade("ada", 3, "light", (FLAGGED,)).as_json())
    for name in [*json.loads(whole), "more"]:
        broken = json.loads(whole)
        broken.pop(name) if name in broken else broken.update(more=1)
        with pytest.raises(Exception, match="more|required"):
            validate(broken)


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission with a known mistake in its first exercise, and no other file."""
    text = COURSE.paths(NORM).solution.read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("ada")
    (folder / NORM.answer_file).write_text(f"{text}\n\n{MISTAKE.definitions}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def graded(mistaken: Path, zygote: Any) -> Grade:
    return grade(mistaken / NORM.answer_file, COURSE, profile="process", seed=1, zygote=zygote)


class TestAMistake:
    def test_it_is_named_in_the_json_by_id_and_sentence(self, graded: Grade) -> None:
        content: Any = json.loads(json.dumps(graded.as_json()))
        assert content["version"] == 2
        validator("grade")(content)
        (exercise,) = content["exercises"]
        failed = [test for test in exercise["tests"] if not test["passed"]]
        assert failed
        for test in failed:
            assert test["mistakes"] == [{"id": MISTAKE.id, "sentence": MISTAKE.sentence}]
            assert MISTAKE.sentence in test["message"][0]
        assert all(not t["mistakes"] and not t["message"] for t in exercise["tests"] if t["passed"])
        assert ExerciseResult.from_json(exercise) == graded.results[0]

    def test_it_is_named_on_the_screen(
        self, graded: Grade, mistaken: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grader.classroom.grade.grade", lambda *_, **__: graded)
        done = CliRunner().invoke(main, ["grade", str(mistaken), "--sandbox", "light"])
        assert done.exit_code == 0
        assert done.output.count(MISTAKE.sentence) == 1

    def test_the_record_says_what_was_graded_and_what_repeats_it(
        self, graded: Grade, mistaken: Path
    ) -> None:
        (result,) = graded.results
        assert result.file_hash == file_hash(mistaken / NORM.answer_file)
        assert (result.exercise, result.points, result.seed) == (NORM.id, NORM.points, 1)
        assert (result.profile, result.mistakes) == ("process", (MISTAKE.id,))
        assert result.when > 1.6e9 and result.seconds > 0


def fifo(file: Path) -> None:
    os.mkfifo(file)


def link(file: Path) -> None:
    file.symlink_to("/etc/hostname")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name here")
@pytest.mark.parametrize("make", [fifo, link, Path.mkdir])
def test_no_hash_is_taken_of_what_is_no_file_of_the_submission(
    make: Callable[[Path], None], tmp_path: Path, zygote: Any
) -> None:
    """A pipe would never end, and a link may lead to what is nobody's business."""
    make(tmp_path / NORM.answer_file)
    only = replace(COURSE, syllabus=replace(COURSE.syllabus, exercises=(NORM,)))
    (result,) = grade(tmp_path, only, profile="process", seed=1, zygote=zygote).results
    assert result.file_hash == ""
    assert {test.verdict for test in result.tests} == {Kind.NO_FILE}
    assert {test.verdict.public for test in result.tests} == {"not implemented"}


def test_the_reference_is_run_for_nobody_who_handed_in_nothing(
    tmp_path: Path, zygote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who grades one file would wait for the exact values of the nineteen that are not there."""

    def is_run(*_: Any) -> None:
        raise RuntimeError("the reference is run")

    monkeypatch.setattr("grader.judging.trial.ReferenceRun", is_run)
    only = replace(COURSE, syllabus=replace(COURSE.syllabus, exercises=(NORM,)))
    (result,) = grade(tmp_path, only, profile="process", seed=1, zygote=zygote).results
    assert {test.verdict for test in result.tests} == {Kind.NO_FILE}
