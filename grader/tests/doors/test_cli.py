"""The command line: what is asked for in any spelling, and exit codes that scripts can rely on."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grader.cli import main
from grader.course.syllabus import ROOT, HintLadder
from grader.course.syllabus_file import load
from grader.proof.jobs import Fact, Job, TestFact

EXERCISE = load(ROOT).find("ex02")
OK, NOT_AS_IT_SHOULD_BE, NOT_UNDERSTOOD, COURSE_BROKEN = range(4)
SLOW = {
    *("torch", "numpy", "pytest", "watchfiles", "jinja2", "matplotlib"),
    *("rich.markdown", "rich.syntax", "rich.progress"),
}

Grader = Callable[..., Result]


@pytest.fixture
def grader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grader:
    monkeypatch.setattr(
        "grader.learner.history.FILE", tmp_path / "history.db"
    )  # not this clone's own

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words, catch_exceptions=False)

    return run


class TestHint:
    def test_the_first_is_a_nudge_and_says_how_to_get_more(self, grader: Grader) -> None:
        first = EXERCISE.hints[0]
        result = grader("hint", "ex02")
        assert result.exit_code == OK
        lines = result.stdout.splitlines()
        assert lines[0] == f"ex02_rope · {first.about} · hint 1 of {len(first.levels)}"
        assert lines[1:-1] == first.levels[0].splitlines()
        assert lines[-1] == "more: grader hint ex02 --level 2"

    @pytest.mark.parametrize("hints", EXERCISE.hints, ids=lambda hints: hints.about)
    def test_every_level_says_how_to_get_the_next(self, hints: HintLadder, grader: Grader) -> None:
        command = f"grader hint ex02 --about {hints.about}"
        count = len(hints.levels)
        for level, text in enumerate(hints.levels, start=1):
            shown = grader(*command.split()[1:], f"--level={level}").stdout
            assert f"ex02_rope · {hints.about} · hint {level} of {count}\n{text}\n" in shown
            assert (f"more: {command} --level {level + 1}\n" in shown) == (level < count)
            assert (f"more: {command} --level" in shown) == (level < count)

    def test_the_last_level_leads_to_the_functions_after_and_before(self, grader: Grader) -> None:
        before, this, after, *others = [hints.about for hints in EXERCISE.hints]
        level = len(EXERCISE.hints[1].levels)
        lines = grader("hint", "ex02", "--about", this, f"--level={level}").stdout.splitlines()
        assert lines[-2:] == [
            f"next function: grader hint ex02 --about {after}",
            f"  others: {', '.join((*others, before))}",
        ]

    def test_of_two_functions_the_other_one_is_named(self, grader: Grader) -> None:
        """There are no others then."""
        exercise = load(ROOT).find("ex04")
        one, other = exercise.hints
        level = f"--level={len(other.levels)}"
        lines = grader("hint", "ex04", "--about", other.about, level).stdout.splitlines()
        assert lines[-1] == f"next function: grader hint ex04 --about {one.about}"

    @pytest.mark.parametrize("level", ["0", "-1", "99"])
    def test_a_level_that_is_not_there_is_answered_with_those_that_are(
        self, level: str, grader: Grader
    ) -> None:
        result = grader("hint", "ex02", "--about", "rotate_half", "--level", level)
        assert result.exit_code == NOT_UNDERSTOOD
        count = len(EXERCISE.hints[1].levels)
        assert f"ex02_rope · rotate_half has hints 1 to {count}" in result.stderr

    def test_a_function_that_is_not_there_is_answered_with_those_that_are(
        self, grader: Grader
    ) -> None:
        result = grader("hint", "ex05", "--about", "rotate_half")
        assert result.exit_code == NOT_UNDERSTOOD
        known = ", ".join(hints.about for hints in load(ROOT).find("ex05").hints)
        said = f"ex05_kv_cache has no hints about 'rotate_half'; it has some about {known}"
        assert said in result.stderr

    def test_a_method_may_be_asked_for_by_name(self, grader: Grader) -> None:
        """Where it has no hints of its own, those about its class speak of it."""
        assert "ex16_optimizer · AdamW · " in grader("hint", "16", "--about=AdamW.step").stdout
        assert "· Attention · " in grader("hint", "5", "--about=Attention.__init__").stdout

    @pytest.mark.parametrize(
        "spelling",
        [
            "ex02",
            "02",
            "2",
            "rope",
            "ex02_rope",
            "EX02",
            "exercises/ex02_rope.py",
            "test_02_rope.py",
        ],
    )
    def test_an_exercise_goes_by_many_names(self, spelling: str, grader: Grader) -> None:
        assert grader("hint", spelling).stdout == grader("hint", "ex02").stdout


class TestUnknownNames:
    @pytest.mark.parametrize("words", [("hint",), ("show",), ("reset",), ("check",)])
    def test_an_exercise_is_answered_with_the_nearest(
        self, words: tuple[str, ...], grader: Grader
    ) -> None:
        result = grader(*words, "roppe")
        assert result.exit_code == NOT_UNDERSTOOD
        assert "no exercise is called 'roppe'" in result.stderr
        assert "did you mean ex02_rope" in result.stderr
        assert "next: grader list" in result.stderr
        assert "Traceback" not in result.output

    def test_nothing_near_guesses_nothing(self, grader: Grader) -> None:
        result = grader("hint", "zzzzzz")
        assert result.exit_code == NOT_UNDERSTOOD
        assert "did you mean" not in result.stderr

    @pytest.mark.parametrize(
        "words", [("nonsense",), ("grade",), ("bench", "nonsense"), ("--what",)]
    )
    def test_a_command_that_cannot_be_followed(
        self, words: tuple[str, ...], grader: Grader
    ) -> None:
        result = grader(*words)
        assert result.exit_code == NOT_UNDERSTOOD
        assert result.stderr

    def test_what_is_advised_exists(self, grader: Grader) -> None:
        result = grader("list")
        assert result.exit_code == OK
        for exercise in load(ROOT).exercises:
            assert exercise.id in result.stdout


class TestBrokenCourse:
    @pytest.fixture
    def broken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "grader").mkdir()
        monkeypatch.setattr("grader.course.arguments.ROOT", tmp_path)
        return tmp_path / "grader" / "curriculum.toml"

    @pytest.mark.parametrize("text", [None, "not = [toml", "version = 99\n"])
    def test_a_syllabus_that_cannot_be_read(
        self, text: str | None, broken: Path, grader: Grader
    ) -> None:
        if text is not None:
            broken.write_text(text)
        result = grader("hint", "ex02")
        assert result.exit_code == COURSE_BROKEN
        assert "curriculum.toml" in result.stderr
        assert "Traceback" not in result.output

    def test_a_lesson_that_is_not_written(
        self, small_course: Path, grader: Grader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grader.course.arguments.ROOT", small_course)
        assert grader("show", "ex02").exit_code == OK
        EXERCISE.paths(small_course).lesson.unlink()
        result = grader("show", "ex02")
        assert result.exit_code == NOT_AS_IT_SHOULD_BE
        assert "lessons/02_rope.md" in result.stderr


class TestCheck:
    """Exit codes of `grader check`, without trying anything."""

    @pytest.fixture
    def results(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        def give(course: list[str], job: str | list[Fact] | None) -> None:
            tried = [(Job(EXERCISE.id, "mistake", "it"), job)] if job else []
            monkeypatch.setattr("grader.proof.jobs.run_all", lambda *_, **__: iter(tried))
            monkeypatch.setattr("grader.proof.verdict.course_problems", lambda *_: course)

        return give

    @pytest.mark.parametrize(
        ("course", "job", "code"),
        [
            ([], None, OK),
            (["tests/x.py belongs to no exercise"], None, NOT_AS_IT_SHOULD_BE),
            ([], "ValueError: boom", NOT_AS_IT_SHOULD_BE),
        ],
    )
    def test_any_problem_is_a_failure(
        self,
        course: list[str],
        job: str | None,
        code: int,
        results: Callable[..., None],
        grader: Grader,
        tmp_path: Path,
    ) -> None:
        results(course, job)
        file = tmp_path / "check.json"
        result = grader("check", "ex02", "--seeds=1", f"--json={file}")
        assert result.exit_code == code
        written = json.loads(file.read_text())
        assert (written["version"], written["course_problems"]) == (2, course)
        for problem in (*course, *written["exercises"][0]["problems"]):
            assert problem in result.stdout

    def test_what_it_writes_is_json_for_everybody(
        self, results: Callable[..., None], grader: Grader, tmp_path: Path
    ) -> None:
        """A mistake that shows in a shape exceeds no number, and JSON has no infinity."""
        job = Job(EXERCISE.id, "mistake", "it")
        test = TestFact("t", False, "shape", "", {})
        results([], [Fact(job, 0, 1, False, 0.0, (test,), named=("it",))])
        file = tmp_path / "check.json"
        grader("check", "ex02", f"--json={file}")

        def refused(constant: str) -> None:
            raise AssertionError(constant)

        (exercise,) = json.loads(file.read_text(), parse_constant=refused)["exercises"]
        assert exercise["mistake_margins"][0]["used"] is None


@pytest.mark.parametrize(
    "words",
    [("hint", "ex02"), ("hint", "5", "--about=StaticCache"), ("list",), ("hint", "nonsense")],
)
def test_commands_that_run_nothing_wait_for_nothing_that_is_slow(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    program = (
        "import pathlib, sys\n"
        "import grader.learner.history\n"
        f"grader.learner.history.FILE = pathlib.Path({str(tmp_path / 'history.db')!r})\n"
        "from grader.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        f"    print({SLOW} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "set()"


def test_the_commands_are_listed_without_what_they_need_to_run() -> None:
    program = f"import sys, grader.cli; print({SLOW | {'rich'}} & set(sys.modules))"
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """`python -m grader` from any folder, with its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "grader", "hint", "roppe"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == NOT_UNDERSTOOD
    assert "did you mean ex02_rope" in done.stderr
