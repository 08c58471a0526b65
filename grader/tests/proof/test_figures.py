"""The figures: told as soon as they are measured, and what the busy machine's are made of."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from grader.cli import main
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.judging.comparison import Finding
from grader.judging.trial import Run
from grader.messages.console import Console
from grader.observation.kind import Kind
from grader.observation.record import Interruption
from grader.proof import printing
from grader.proof.figures.busy import burning, loses, was_too_busy
from grader.proof.figures.figure import Figure, Measured, Stage, stages
from grader.proof.figures.isolation import right_answers
from grader.tests.processes import children, eventually, is_running

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_figure_is_printed_before_the_next_is_measured(capsys: pytest.CaptureFixture) -> None:
    printed: list[str] = []

    def measured() -> Measured:
        for stage, number in stages("rounds", range(2)):
            yield stage
            printed.append(capsys.readouterr().out)
            yield Figure(f"figure {number}", 1.5, "s", 1)
        printed.append(capsys.readouterr().out)

    names = [figure.name for figure in printing.figures(Console(), measured())]
    assert names == ["figure 0", "figure 1"]
    assert "… rounds: 2" in printed[0]
    assert [line.split() for line in printed[1].splitlines()] == [
        ["figure", "0", "1.5", "s", "1", "NO"]
    ]
    assert "figure 1" in printed[2]


class TestCommand:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
        """Benches that say what they were asked for; the second is interrupted."""
        asked: list[tuple[str, bool]] = []

        def first(root: Path, quick: bool) -> Measured:
            asked.append(("first", quick))
            yield Figure("first.figure", 3, "s", 4)

        def second(root: Path, quick: bool) -> Measured:
            asked.append(("second", quick))
            yield Stage("rounds", 0, 9)
            raise KeyboardInterrupt

        monkeypatch.setattr("grader.proof.figures.BENCHES", {"first": first, "second": second})
        return asked

    def test_all_are_measured_where_none_is_named(self, asked: list[tuple[str, bool]]) -> None:
        done = CliRunner().invoke(main, ["bench", "--quick"])
        assert asked == [("first", True), ("second", True)]
        assert "quick:" in done.output and "first.figure" in done.output

    def test_those_that_are_named(self, asked: list[tuple[str, bool]]) -> None:
        done = CliRunner().invoke(main, ["bench", "first"])
        assert asked == [("first", False)]
        assert done.exit_code == 0 and "quick" not in done.output

    def test_what_was_measured_before_the_end_is_kept(
        self, asked: list[tuple[str, bool]], tmp_path: Path
    ) -> None:
        file = tmp_path / "figures.json"
        done = CliRunner().invoke(main, ["bench", "first", "second", "--json", str(file)])
        assert done.exit_code != 0
        assert [row["name"] for row in json.loads(file.read_text())] == ["first.figure"]


def run(passed: bool, interruption: Interruption | None = None) -> Run:
    finding = (
        None
        if passed
        else Finding(interruption.kind if interruption else Kind.VALUE, (), interruption)
    )
    return Run("test", passed=passed, finding=finding)


UNGRADED = Interruption(Kind.NOT_GRADED, message="the machine was too busy")


@pytest.mark.parametrize(
    ("runs", "lost", "ungraded"),
    [
        ([run(True), run(True)], False, False),
        ([run(True), run(False)], True, False),
        ([run(True), run(False, Interruption(Kind.TIMED_OUT))], True, False),
        ([run(True), run(False, UNGRADED)], False, True),
        ([run(False), run(False, UNGRADED)], True, True),
        ([], True, False),
    ],
)
def test_a_point_is_lost_unless_the_machine_was_too_busy(
    runs: list[Run], lost: bool, ungraded: bool
) -> None:
    outcome: Any = SimpleNamespace(runs=tuple(runs))
    assert (loses(outcome), was_too_busy(outcome)) == (lost, ungraded)


@ON_LINUX
class TestBurners:
    def test_none_is_left(self) -> None:
        with pytest.raises(ZeroDivisionError), burning(2) as burners:
            assert all(is_running(burner.pid) for burner in burners)
            Fraction(1, 0)
        assert not any(is_running(burner.pid) for burner in burners)

    def test_not_even_where_the_bench_is_killed(self) -> None:
        program = (
            "import sys; from grader.proof.figures.busy import burning\n"
            "with burning(2): print(flush=True); sys.stdin.read()"
        )
        measuring = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert measuring.stdout is not None
        measuring.stdout.readline()
        burners = children(measuring.pid)
        measuring.kill()
        measuring.communicate()
        assert len(burners) == 2
        assert eventually(lambda: not any(map(is_running, burners)))


def test_a_bench_is_imported_only_when_it_measures() -> None:
    """Each is a module of that name, and the table of names waits for none of them."""
    program = (
        "import importlib.util, sys\n"
        "from grader.proof.figures import BENCHES\n"
        "modules = [f'grader.proof.figures.{name}' for name in BENCHES]\n"
        "print({'torch', *modules} & set(sys.modules))\n"
        "print(len(modules), all(map(importlib.util.find_spec, modules)))"
    )
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n11 True\n", done.stderr


def test_every_exercise_has_right_answers_to_measure() -> None:
    answers = right_answers(Course.load(ROOT))
    assert {exercise.id for exercise, _ in answers} == {e.id for e in load(ROOT).exercises}
    assert len(answers) >= 4 * len(load(ROOT).exercises)
