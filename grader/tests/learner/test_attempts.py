"""A learner's own pytest: what was a whole attempt is in the history, and nothing else is."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from grader.course.syllabus import ROOT
from grader.learner.history import FILE, History, RunRecord
from grader.proof.figures.terminal import copied_course
from grader.tests.pytest_run import ANSWERS

TESTS = "tests/test_02_rope.py"
ANSWER = "ex02_rope.py"

Answer = Callable[[Path], None]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_course(ROOT, tmp_path_factory.mktemp("remembering") / "course")


@pytest.fixture
def course(shared: Path) -> Path:
    """A course in which ex02 is solved and nothing has been run."""
    shutil.rmtree(shared / FILE.parent, ignore_errors=True)
    shutil.copy(ROOT / "solutions" / ANSWER, shared / "exercises")
    return shared


def run(course: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True).stdout


def remembered(course: Path) -> list[RunRecord]:
    if not (course / FILE).exists():
        return []
    with closing(History.open(course)) as history:
        return history.runs()


def test_a_pass_is_remembered_with_every_test(course: Path) -> None:
    assert "13 passed" in run(course, TESTS)
    (record,) = remembered(course)
    assert (record.exercise, record.command, record.done) == ("ex02_rope", "pytest", True)
    assert (record.points, len(record.verdicts), record.mistakes) == ("100", 13, ())
    assert record.seconds > 0 and len(record.file_hash) == 64


def test_so_is_a_failure_with_the_mistake_that_was_named(course: Path) -> None:
    shutil.copy(ANSWERS / "known_mistake" / ANSWER, course / "exercises")
    printed = run(course, TESTS, "--isolate")
    (record,) = remembered(course)
    assert not record.done and 0 < record.passed < record.tests == 13
    assert len(record.mistakes) == 1 and "these are exactly the numbers you get if" in printed
    assert {verdict for _, verdict in record.verdicts} >= {"passed", "value"}


def test_all_tests_one_by_one_are_an_attempt_too(course: Path) -> None:
    """An editor's test explorer asks for them so."""
    listed = run(course, TESTS, "--collect-only")
    ids = [line for line in listed.splitlines() if line.startswith(TESTS)]
    assert len(ids) == 13
    run(course, *ids)
    assert [record.done for record in remembered(course)] == [True]


@pytest.mark.parametrize(
    "arguments",
    [
        (TESTS, "-k=rotate_half"),
        (f"{TESTS}::test_complex_table_holds_every_angle_once",),
        (TESTS, "-x"),
        (TESTS, "--collect-only"),
        (TESTS, "--impl=solutions"),
        (TESTS, "--benchmark-only"),
        ("tests/test_01_rmsnorm.py",),
    ],
    ids=["-k", "one test", "-x", "--collect-only", "solutions", "benchmarks", "an untouched stub"],
)
def test_what_is_no_whole_attempt_is_not(course: Path, arguments: tuple[str, ...]) -> None:
    if "-x" in arguments:
        shutil.copy(ANSWERS / "known_mistake" / ANSWER, course / "exercises")
    run(course, *arguments)
    assert remembered(course) == []


def test_a_history_that_cannot_be_written_is_told_and_changes_no_verdict(course: Path) -> None:
    (course / FILE).parent.mkdir()
    (course / FILE).write_bytes(b"no database" * 100)
    printed = run(course, TESTS)
    assert "13 passed" in printed and "history.db" in printed
