"""How much a command says, in which colours, and what a shell completes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as Done

from grader.cli import main
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner.progress import ExerciseProgress, Progress
from grader.observation.kind import Kind
from grader.results.record import ExerciseResult, TestResult
from grader.tests.processes import BACKSTOP

EXERCISE = load(ROOT).find("ex02")
CACHE = [hints.about for hints in load(ROOT).find("ex05").hints]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COLOUR = re.compile(r"\x1b\[[\d;]*m")

Grader = Callable[..., Done]


@pytest.fixture
def grader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grader:
    monkeypatch.setattr(
        "grader.learner.history.FILE", tmp_path / "history.db"
    )  # not this clone's own

    def run(*words: str, **environment: str) -> Done:
        return CliRunner().invoke(main, words, catch_exceptions=False, env=environment)

    return run


class TestQuiet:
    def test_a_hint_is_the_hint_alone(self, grader: Grader) -> None:
        assert grader("--quiet", "hint", "ex02").stdout == EXERCISE.hints[0].levels[0] + "\n"

    def test_a_list_is_ids_for_a_script(self, grader: Grader) -> None:
        ids = [exercise.id for exercise in load(ROOT).exercises]
        assert grader("-q", "list").stdout.split() == ids

    def test_next_is_an_id_and_the_report_a_line(
        self, grader: Grader, small_course: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grader.course.arguments.ROOT", small_course)
        for exercise in load(ROOT).exercises:
            shutil.copy(exercise.paths(ROOT).pristine, exercise.paths(small_course).pristine)
            shutil.copy(exercise.paths(ROOT).pristine, exercise.paths(small_course).stub)
        assert grader("-q", "next").stdout == "ex01_rmsnorm\n"
        assert re.fullmatch(r"MiniMind  ░+  0 of \d+ points\n", grader("-q").stdout)

    def test_errors_are_said_all_the_same(self, grader: Grader) -> None:
        assert "no exercise is called" in grader("-q", "hint", "roppe").stderr


class TestVerbose:
    def test_a_list_tells_what_builds_on_what(self, grader: Grader) -> None:
        built = next(e for e in load(ROOT).exercises if e.prerequisites)
        assert f"builds on {', '.join(built.prerequisites)}" in grader("-v", "list").stdout
        assert "builds on" not in grader("list").stdout

    def test_the_report_tells_which_tests_fail_and_what_repeats_the_run(
        self, grader: Grader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tests = (
            TestResult("t", "It holds", 1, Kind.PASSED),
            TestResult("u", "It fails", 1, Kind.VALUE),
        )
        result = ExerciseResult("ex02_rope", 100, 1234, "light", 0.0, 1.0, "", tests)
        progress = Progress((ExerciseProgress(EXERCISE, result),), 1234)
        monkeypatch.setattr("grader.learner.progress.measure", lambda *_: progress)
        printed = grader("-v").stdout
        assert "ex02_rope · not yet: It fails" in printed
        assert "It holds" not in printed
        assert re.search(r"ex02_rope · run 19(70|69)-\d\d-\d\d \d\d:\d\d, seed 1234", printed)
        assert "It fails" not in grader().stdout

    def test_both_at_once_are_refused(self, grader: Grader) -> None:
        result = grader("-q", "-v", "list")
        assert result.exit_code == 2
        assert "--quiet and --verbose contradict each other" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
class TestColour:
    def printed(self, *words: str, **environment: str) -> str:
        """What the command writes to a terminal of its own."""
        import pexpect

        known = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        child = pexpect.spawn(
            sys.executable,
            ["-m", "grader", *words],
            cwd=str(ROOT),
            env=known | {"TERM": "xterm-256color"} | environment,
            encoding="utf-8",
            timeout=BACKSTOP,
        )
        child.expect(pexpect.EOF)
        return str(child.before)

    def colours(self, printed: str) -> set[str]:
        """Codes that set a colour; bold and the like are none."""
        codes = {code for found in COLOUR.findall(printed) for code in found[2:-1].split(";")}
        return {code for code in codes if code.isdigit() and int(code) >= 30}

    def test_a_terminal_gets_it_unless_no_color_is_set(self) -> None:
        lesson = "show", "ex02"
        assert self.colours(self.printed(*lesson))
        assert not self.colours(self.printed(*lesson, NO_COLOR="1"))

    def test_a_file_gets_plain_text(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "grader", "list"], cwd=ROOT, capture_output=True, text=True
        )
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
@pytest.mark.parametrize("words", [("list",), ("path",), ("hint", "nonsense")])
def test_a_character_that_cannot_be_printed_ends_nothing(
    words: tuple[str, ...], encoding: str
) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "GRADER_LANG": "zh"}
    done = subprocess.run(
        [sys.executable, "-m", "grader", *words], cwd=ROOT, env=environment, capture_output=True
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == (2 if "nonsense" in words else 0)


class TestCompletion:
    """By click's own; the README says which line each shell needs."""

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("grader hi", ["hint"]),
            ("grader hint ex0", [e.id for e in load(ROOT).exercises if e.id.startswith("ex0")]),
            ("grader reset ex02", ["ex02_rope"]),
            ("grader check ex01_rmsnorm ex02", ["ex02_rope"]),
            ("grader path c", ["core"]),
            ("grader hint 5 --about Static", [n for n in CACHE if n.startswith("Static")]),
            ("grader hint --about rotate", ["rotate_half"]),
        ],
    )
    def test_bash_completes_commands_exercises_and_paths(
        self, words: str, expected: list[str]
    ) -> None:
        line = re.search(r"^(eval .*bash_source.*)$", README, re.MULTILINE)
        script = f"{line[1]}\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        script += '_grader_completion grader\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True
        )
        assert done.stdout.split() == expected, done.stderr

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_line_of_each_shell_gives_a_script(self, shell: str, grader: Grader) -> None:
        assert f"_GRADER_COMPLETE={shell}_source grader" in README
        result = CliRunner().invoke(
            main, prog_name="grader", env={"_GRADER_COMPLETE": f"{shell}_source"}
        )
        assert "_GRADER_COMPLETE=" in result.stdout
