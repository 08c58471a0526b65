"""A learning path is chosen once, and then decides what counts, what is next and what is left."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grader.cli import main
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner.settings import SETTINGS, choose_path, chosen_path

SYLLABUS = load(ROOT)
QUICK, CORE, FULL = SYLLABUS.paths

Grader = Callable[..., Result]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the course in which every stub is as it was handed out."""
    for exercise in SYLLABUS.exercises:
        pristine = exercise.paths(ROOT).pristine.read_bytes()
        for copy in (exercise.paths(tmp_path).pristine, exercise.paths(tmp_path).stub):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(pristine)
    syllabus = (ROOT / "grader" / "curriculum.toml").read_bytes()
    (tmp_path / "grader" / "curriculum.toml").write_bytes(syllabus)
    monkeypatch.setattr("grader.course.arguments.ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def grader(clone: Path) -> Grader:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words, catch_exceptions=False)

    return run


def test_at_first_it_is_the_whole_course(grader: Grader) -> None:
    printed = grader().stdout
    assert f"path full: {FULL.title}" in printed
    assert f"0 of {sum(e.points for e in SYLLABUS.exercises)} points" in printed


def test_what_is_chosen_decides_what_counts_and_what_is_left(grader: Grader) -> None:
    assert grader("path", "quick").exit_code == 0
    printed = grader().stdout
    (only,) = SYLLABUS.on(QUICK)
    assert f"0 of {only.points} points" in printed
    assert f"path quick: {QUICK.title} · about {QUICK.minutes} min left" in printed
    assert "ex02" not in printed


def test_it_is_shown_among_the_others(grader: Grader) -> None:
    grader("path", "core")
    lines = grader("path").stdout.splitlines()
    assert [line.split()[:2] for line in lines if "→" in line] == [["→", "core"]]
    for path in SYLLABUS.paths:
        assert any(f"{path.id} " in line and path.title in line for line in lines)
    assert lines[-1] == "choose: grader path quick|core|full"


def test_hours_are_told_as_hours(grader: Grader) -> None:
    grader("path", "core")
    minutes = sum(exercise.minutes for exercise in SYLLABUS.on(CORE))
    assert f"about {minutes // 60} h {minutes % 60} min left" in grader().stdout
    assert f"about {minutes // 60} h {minutes % 60} min" in grader("path").stdout


def test_the_end_of_a_path_points_to_the_next_longer_one(
    grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grader.learner.progress import Progress

    def all_done(*_: object) -> Progress:
        return Progress((), seed=0)

    monkeypatch.setattr("grader.learner.progress.measure", all_done)
    grader("path", "quick")
    assert grader("next").stdout.splitlines() == [
        "all done: every point is yours",
        f"next: grader path core, {CORE.title}",
    ]
    grader("path", "full")
    assert grader("next").stdout.splitlines() == [
        "all done: every point is yours",
        "next: grader capstone, A model of your own (about 30 min)",
        "  read lessons/21_capstone.md",
    ]


def test_one_that_is_not_there_is_answered_with_those_that_are(grader: Grader) -> None:
    result = grader("path", "fast")
    assert result.exit_code == 2
    assert "no path is called 'fast'; known: quick, core, full" in result.stderr


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"path": "gone"}', b'{"path": 3}', b'{"path": []}']
)
def test_settings_that_cannot_be_read_stop_nothing(content: bytes, clone: Path) -> None:
    (clone / SETTINGS).parent.mkdir()
    (clone / SETTINGS).write_bytes(content)
    assert chosen_path(Course(clone, SYLLABUS)) == FULL
    choose_path(QUICK, clone)
    assert chosen_path(Course(clone, SYLLABUS)) == QUICK


def test_what_another_version_wrote_stays(clone: Path) -> None:
    (clone / SETTINGS).parent.mkdir()
    (clone / SETTINGS).write_text('{"colour": "青", "path": "core"}', encoding="utf-8")
    choose_path(QUICK, clone)
    written = json.loads((clone / SETTINGS).read_text(encoding="utf-8"))
    assert written == {"colour": "青", "path": "quick"}


def test_a_folder_that_cannot_be_written_is_said(grader: Grader, clone: Path) -> None:
    (clone / ".grader").write_text("a file is in the way")
    result = grader("path", "quick")
    assert result.exit_code == 1
    assert "the path stays as it was: .grader/settings.json cannot be written" in result.stderr
    assert "Traceback" not in result.output
