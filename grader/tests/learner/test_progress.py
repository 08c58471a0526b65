"""`grader`: where the learner is, what stands in the way, and the commands that need no name."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as Done
from rich.console import Console as RichConsole

from grader.cli import main
from grader.course.course import Course
from grader.course.files import file_hash
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner import printing
from grader.learner.history import History, RunRecord
from grader.learner.progress import ExerciseProgress, Progress, current_exercise
from grader.messages.console import Console
from grader.observation.kind import Kind
from grader.results.record import ExerciseResult, TestResult

SYLLABUS = load(ROOT)
QUICK, CORE, FULL = SYLLABUS.paths
NORM, ROPE, ATTENTION, *_ = SYLLABUS.exercises

COLOUR = re.compile(r"\x1b\[[\d;]*m")

Grader = Callable[..., Done]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the course in which every stub is as it was handed out."""
    for exercise in SYLLABUS.exercises:
        here, there = exercise.paths(ROOT), exercise.paths(tmp_path)
        for file, copies in (
            (here.pristine, (there.pristine, there.stub)),
            (here.solution, (there.solution,)),
            (here.lesson, (there.lesson,)),
        ):
            for copy in copies:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    syllabus = (ROOT / "grader" / "curriculum.toml").read_bytes()
    (tmp_path / "grader" / "curriculum.toml").write_bytes(syllabus)
    monkeypatch.setattr("grader.course.arguments.ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def history(clone: Path) -> Iterator[History]:
    with closing(History.open(clone)) as history:
        yield history


@pytest.fixture
def grader(clone: Path) -> Grader:
    def run(*words: str, **environment: str) -> Done:
        return CliRunner().invoke(main, words, catch_exceptions=False, env=environment)

    return run


def ran(
    clone: Path, exercise: object, command: str = "pytest", passed: int = 1, edit: str = ""
) -> RunRecord:
    """A run of ten tests on the file as it is, or as it is after an edit."""
    stub = exercise.paths(clone).stub
    if edit:
        stub.write_text(edit, encoding="utf-8")
    counts = passed, 10, "0"
    return RunRecord(exercise.id, command, 1e9, 1.0, *counts, (), (), file_hash(stub))


class TestSums:
    def test_they_are_made_from_runs_as_from_results(self) -> None:
        """A screen that runs nothing itself has the same figures as one that does."""
        counts = 8, 10, str(NORM.points * Fraction(4, 5))
        run = RunRecord(NORM.id, "watch", 1e9, 1.0, *counts, (), (), "00")
        half = ExerciseProgress(NORM, run=run)
        assert (half.started, half.passed, half.tests) == (True, 8, 10)
        assert (half.share, half.done) == (Fraction(4, 5), False)
        progress = Progress((half, ExerciseProgress(ROPE)), 0)
        assert progress.points == NORM.points * Fraction(4, 5)
        assert (progress.done, progress.next) == (0, half)
        assert progress.minutes_left == NORM.minutes + ROPE.minutes

    def test_a_run_that_passed_when_the_points_were_others_is_done(self) -> None:
        run = RunRecord(NORM.id, "watch", 1e9, 1.0, 10, 10, str(NORM.points - 1), (), (), "00")
        done = ExerciseProgress(NORM, run=run)
        progress = Progress((done, ExerciseProgress(ROPE)), 0)
        assert (progress.done, progress.minutes_left) == (1, ROPE.minutes)


class TestCurrentExercise:
    def current(self, clone: Path, history: History, path: object = FULL) -> str | None:
        found = current_exercise(Course(clone, SYLLABUS), path, history)
        return found and found.short

    def test_at_first_it_is_the_first(self, clone: Path, history: History) -> None:
        assert self.current(clone, history) == "ex01"

    def test_it_is_where_the_learner_stopped(self, clone: Path, history: History) -> None:
        history.record_run(ran(clone, ROPE))
        history.record_run(ran(clone, ATTENTION))
        assert self.current(clone, history) == "ex03"
        history.record_run(ran(clone, ROPE))
        assert self.current(clone, history) == "ex02"

    def test_after_a_pass_it_is_the_first_that_is_not_done(
        self, clone: Path, history: History
    ) -> None:
        history.record_run(ran(clone, NORM, passed=10))
        history.record_run(ran(clone, ATTENTION, passed=10))
        assert self.current(clone, history) == "ex02"

    def test_what_has_changed_since_the_pass_is_not_done(
        self, clone: Path, history: History
    ) -> None:
        history.record_run(ran(clone, NORM, passed=10))
        NORM.paths(clone).stub.write_text("# begun again\n")
        assert self.current(clone, history) == "ex01"

    def test_off_the_path_nobody_stops(self, clone: Path, history: History) -> None:
        history.record_run(ran(clone, ROPE))
        assert self.current(clone, history, QUICK) == "ex01"

    def test_at_the_end_there_is_none(self, clone: Path, history: History) -> None:
        history.record_run(ran(clone, NORM, passed=10))
        assert self.current(clone, history, QUICK) is None

    @pytest.mark.parametrize("command", ["progress", "report"])
    def test_the_report_of_all_that_is_begun_moves_nobody(
        self, command: str, clone: Path, history: History
    ) -> None:
        """After a change of the course or the language every file is run again."""
        history.record_run(ran(clone, ATTENTION, "watch", edit="# begun\n"))
        history.record_run(ran(clone, ROPE, "watch", edit="# begun\n"))
        for exercise in (ROPE, ATTENTION):
            history.record_run(ran(clone, exercise, command))
        assert self.current(clone, history) == "ex02"
        history.record_run(ran(clone, ATTENTION, command, edit="# worked on\n"))
        assert self.current(clone, history) == "ex03"


class TestWithoutAName:
    """`hint`, `show`, `reset` and `solution` mean the current exercise."""

    @pytest.fixture(autouse=True)
    def at_rope(self, clone: Path, history: History) -> None:
        history.record_run(ran(clone, ROPE, edit="# mine\n"))

    def test_a_hint(self, grader: Grader) -> None:
        assert grader("hint").stdout == grader("hint", "ex02").stdout

    def test_the_lesson(self, grader: Grader) -> None:
        assert "Rotary position embedding" in grader("show").stdout

    def test_the_worked_answer(self, grader: Grader, clone: Path) -> None:
        refused = grader("solution")
        assert (refused.exit_code, "ex02_rope" in refused.stderr) == (1, True)
        shown = grader("solution", "--give-up").stdout
        assert shown == ROPE.paths(clone).solution.read_text(encoding="utf-8")

    def test_a_reset_says_which_and_keeps_the_edits(self, grader: Grader, clone: Path) -> None:
        printed = grader("reset").stdout
        assert "ex02_rope is the stub again; your edits are in" in printed
        assert "back: grader reset ex02 --undo" in printed
        (backup,) = (clone / ".grader" / "backups").iterdir()
        assert backup.read_text() == "# mine\n"
        assert "ex02_rope" in grader("reset", "--undo").stdout
        assert ROPE.paths(clone).stub.read_text() == "# mine\n"

    @pytest.mark.parametrize("command", ["hint", "show", "reset", "solution"])
    def test_where_all_is_done_one_must_be_named(
        self, command: str, grader: Grader, clone: Path, history: History
    ) -> None:
        grader("path", "quick")
        history.record_run(ran(clone, NORM, passed=10))
        before = {file: file.read_bytes() for file in (clone / "exercises").iterdir()}
        result = grader(command)
        assert result.exit_code == 2
        assert "name the one you mean" in result.stderr
        assert before == {file: file.read_bytes() for file in (clone / "exercises").iterdir()}

    def test_nothing_waits_for_torch(self, clone: Path) -> None:
        program = (
            "import pathlib, sys\n"
            "import grader.cli\n"
            f"grader.course.arguments.ROOT = pathlib.Path({str(clone)!r})\n"
            "try:\n"
            "    grader.cli.main(['hint'])\n"
            "finally:\n"
            "    print('torch' in sys.modules, file=sys.stderr)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
        )
        assert done.stderr == "False\n"
        assert re.match(r"ex02_rope · .*hint 1 of", done.stdout)


TESTS = (
    TestResult("t", "It holds", 1, Kind.PASSED),
    TestResult("u", "Rows turn", 1, Kind.VALUE),
    TestResult("v", "Columns turn", 1, Kind.VALUE),
)
RESULT = ExerciseResult("ex02_rope", 100, 1234, "light", 0.0, 1.0, "", TESTS)
VALUE = (
    "ex02_rope · Rows turn",
    "  cos[1]: got 1, want 2",
    "  these are exactly the numbers you get if a is b; it should be c",
    "ex02_rope · Columns turn",
    "  sin[1]: got 1, want 2",
    "  next: grader hint ex02",
)
MISTAKE = (
    "ex02_rope · these are exactly the numbers you get if a is b; it should be c",
    "  Rows turn",
    "    cos[1]: got 1, want 2",
    "  and 1 more test fails like this",
    "  next: grader hint ex02",
)
SYNTAX = (
    "ex02_rope · ex02_rope.py is not valid Python",
    "  SyntaxError: expected ':'",
    "    exercises/ex02_rope.py:6",
    "      def rotate_half(x)",
    "                        ^",
    "  next: fix this first; no test can run until then",
)
NOTHING = ("ex02_rope · nothing implemented yet: begin with a · next: grader hint ex02",)
CRASHED = (
    "ex02_rope · Rows turn",
    "  the answer crashed its process (SIGSEGV): pytest without --isolate shows the line",
    "  next: grader hint ex02",
)
NOT_GRADED = ("ex02_rope · Rows turn", "  not graded, and not your fault: it has failed")


class TestTheScreen:
    @pytest.fixture
    def shown(self, grader: Grader, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
        def show(*words: str, standing: ExerciseProgress, **environment: str) -> list[str]:
            progress = Progress((ExerciseProgress(NORM), standing), 1234)
            monkeypatch.setattr("grader.learner.progress.measure", lambda *_: progress)
            return grader(*words, **environment).stdout.splitlines()

        return show

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (VALUE, [*VALUE[:3], VALUE[-1]]),
            (SYNTAX, [*SYNTAX[:4], "  next: grader watch ex02"]),
            (MISTAKE, [MISTAKE[0], *MISTAKE[2:]]),
            (NOTHING, [*NOTHING]),
            (CRASHED, [*CRASHED]),
            (NOT_GRADED, [*NOT_GRADED, "  next: grader watch ex02"]),
            ((), ["  next: grader watch ex02"]),
        ],
    )
    def test_what_stands_in_the_way_and_the_command_that_goes_on(
        self, lines: tuple[str, ...], expected: list[str], shown: Callable[..., list[str]]
    ) -> None:
        standing = ExerciseProgress(ROPE, replace(RESULT, lines=lines))
        printed = shown(standing=standing)
        assert any(printed[n : n + len(expected)] == expected for n in range(len(printed)))
        assert "  or   grader watch, which checks every save at once" not in printed
        assert not any("Columns" in line or "^" in line for line in printed)

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_on_a_small_terminal_it_takes_a_few_rows_and_breaks_no_word(
        self,
        language: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        long = "mistake " * 15
        lines = (f"ex02_rope · {long}", f"  {long}", f"  {long}", "  next: grader hint ex02")
        result = replace(RESULT, lines=lines)
        monkeypatch.setenv("GRADER_LANG", language)
        monkeypatch.setattr(
            "grader.messages.console.RichConsole",
            partial(RichConsole, width=80, force_terminal=True),
        )
        course = Course.load()
        full = course.syllabus.paths[-1]
        printing.next_exercise(Console(), ExerciseProgress(ROPE, result), course, full)
        rows = COLOUR.sub("", capsys.readouterr().out).splitlines()
        end = next(n for n, row in enumerate(rows) if "grader watch ex02" in row or "hint" in row)
        assert end == 4
        assert all(len(row) <= 80 for row in rows[:end])
        assert {*" ".join(rows[:end]).split()} == {"ex02_rope", "·", "mistake"}
        assert all(row.startswith("  ") for row in rows[1:end])

    def test_the_next_exercise_says_it_too(
        self, grader: Grader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        progress = Progress((ExerciseProgress(ROPE, replace(RESULT, lines=VALUE)),), 1234)
        monkeypatch.setattr("grader.learner.progress.measure", lambda *_: progress)
        lines = grader("next").stdout.splitlines()
        assert lines[:4] == [*VALUE[:3], VALUE[-1]]
        assert lines[4] == "next: Rotary position embedding (about 1 h)"
        assert grader("-q", "next").stdout == "ex02_rope\n"

    def test_verbose_says_all_of_it(self, shown: Callable[..., list[str]]) -> None:
        at_length = *VALUE[:2], "    q = float32 [2, 3]: 1, 2", VALUE[2]
        result = replace(RESULT, lines=VALUE[:3], details=at_length)
        printed = shown("-v", standing=ExerciseProgress(ROPE, result))
        place = printed.index(at_length[0])
        assert printed[place : place + 4] == [*at_length]
        assert "  ex02_rope · not yet: Columns turn" in printed
        assert "  ex02_rope · not yet: Rows turn" not in printed  # it is said above
        assert any("seed 1234" in line and "run" in line for line in printed)

    def test_what_is_done_says_nothing(self, shown: Callable[..., list[str]]) -> None:
        done = replace(RESULT, tests=TESTS[:1], lines=VALUE)
        assert not any("got 1" in line for line in shown(standing=ExerciseProgress(ROPE, done)))

    def test_a_kept_result_by_another_hand_is_harmless(
        self, shown: Callable[..., list[str]]
    ) -> None:
        hostile = replace(RESULT, lines=("\x1b[2J::error", "  a\x07"), details=("\x1b]0;",))
        for words in ((), ("-v",)):
            assert not {"\x1b", "\x07"} & set(
                "\n".join(shown(*words, standing=ExerciseProgress(ROPE, hostile)))
            )

    def test_a_file_that_is_gone_comes_back_by_a_reset(
        self, shown: Callable[..., list[str]], clone: Path
    ) -> None:
        printed = shown(standing=ExerciseProgress(ROPE, is_missing=True))
        place = printed.index("ex02_rope · exercises/ex02_rope.py is missing")
        assert printed[place + 1] == "  next: grader reset ex02 puts the stub back"
        assert any("ex02_rope" in line and "file missing" in line for line in printed)

    def test_a_gone_file_is_measured_as_that(self, grader: Grader, clone: Path) -> None:
        ROPE.paths(clone).stub.unlink()
        assert "exercises/ex02_rope.py is missing" in grader().stdout

    def test_the_first_screen_ends_with_watch(self, grader: Grader) -> None:
        lines = grader().stdout.splitlines()
        assert lines[-1] == "  or   grader watch, which checks every save at once"
        assert len(lines) <= 23
        assert all(len(line) <= 80 for line in lines)
        assert any(line.startswith("Data: 0 of 2 exercises done, 0/240 points") for line in lines)
