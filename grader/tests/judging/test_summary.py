"""What a run's failures come to: which function each is about, which mistakes are behind it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grader.classroom.grade import grade
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.judging.comparison import Finding
from grader.judging.failure_text import TestFailure, details
from grader.judging.summary import diagnosed
from grader.observation.kind import Kind
from grader.tests.pytest_run import ANSWERS, PytestRun

RIGHT = (ANSWERS / "right" / "ex02_rope.py").read_text(encoding="utf-8")

Tried = Callable[..., PytestRun]


@pytest.fixture
def tried(run_pytest: Callable[..., PytestRun], tmp_path: Path) -> Tried:
    """Run the tests of ex02 on the right answer with some text put after it."""

    def run(change: str, *options: str) -> PytestRun:
        (tmp_path / "ex02_rope.py").write_text(f"{RIGHT}\n\n{change}")
        return run_pytest(f"--impl={tmp_path}", *options)

    return run


def failures(run: PytestRun) -> list[TestFailure]:
    assert run.trial is not None
    return [diagnosed(report.course_failure, run.trial) for report in run.failed]


class TestWhichFunctionAFailureIsAbout:
    BROKEN = """
def rotate_half(x):
    def halves():
        return x.chunk(1, dim=-1)[1]
    return halves()
"""

    def test_the_innermost_of_the_answer_that_was_running(self, tried: Tried) -> None:
        (failure,) = failures(tried(self.BROKEN, "-k=by_their_positions"))
        assert failure.function == "rotate_half"
        assert failure.functions == ("rotate_half", "apply_rotary_pos_emb")

    @pytest.mark.parametrize("mode", [(), ("--isolate",)], ids=["in process", "isolated"])
    def test_else_the_last_that_the_scenario_asked_for(
        self, mode: tuple[str, ...], tried: Tried
    ) -> None:
        wrong = "def interleaved_to_half(weight, n_heads):\n    return weight\n"
        (failure,) = failures(tried(wrong, "-k=weights", *mode))
        assert failure.function == "interleaved_to_half"

    def test_the_stub_that_is_not_written_yet(self, run_pytest: Callable[..., PytestRun]) -> None:
        run = run_pytest("--impl=grader/pristine", "-k=weights")
        assert [failure.function for failure in failures(run)] == ["interleaved_to_half"]


class TestWhatIsAlike:
    TWO_LINES = """
def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    if q.shape[1] > 1:
        q = q.view(-1, 7, 11)
    return q.view(-1, 13), k
"""

    def test_the_same_error_in_two_lines_is_told_twice(self, tried: Tried) -> None:
        printed = tried(self.TWO_LINES, "-k=by_their_positions or one_new_token").printed
        assert printed.count("RuntimeError: shape") == 2
        assert "more test fails like this" not in printed

    def test_errors_of_one_line_are_told_once_whatever_the_sizes(self, tried: Tried) -> None:
        one = self.TWO_LINES.replace("q.shape[1] > 1", "False")
        printed = tried(one, "-k=by_their_positions or one_new_token").printed
        assert printed.count("RuntimeError: shape") == 1
        assert "and 1 more test fails like this" in printed

    def test_wrong_numbers_of_two_functions_are_two(self, tried: Tried) -> None:
        change = "def rotate_half(x):\n    return x * 1.5\n\n"
        change += "def interleaved_to_half(weight, n_heads):\n    return weight * 1.5\n"
        printed = tried(change, "-k=rotate_half_is or weights").printed
        assert printed.count("got ") == 2


CHANGES_ITS_ARGUMENT = """
def rotate_half(x):
    return x * 1.5

def interleaved_to_half(weight, n_heads):
    heads = weight.unflatten(0, (n_heads, -1, 2))
    out = torch.cat((heads[:, :, 0], heads[:, :, 1]), dim=1).flatten(0, 1)
    with torch.no_grad():
        weight.zero_()
    return out
"""


def test_a_changed_argument_comes_before_numbers_that_are_off(tried: Tried) -> None:
    """It says what to mend, and wrong numbers elsewhere may come of it."""
    printed = tried(CHANGES_ITS_ARGUMENT, "-k=rotate_half_is or weights").printed
    assert 0 < printed.index("was modified") < printed.index("got ")


def test_details_are_the_inputs_and_the_seed() -> None:
    inputs = tuple((f"x{n}", "float32 [1]: 0") for n in range(12))
    failure = TestFailure("ex99_x", "t", "It holds", Finding(Kind.VALUE, ()), inputs=inputs, seed=3)
    lines = details(failure)
    assert lines[0] == "    x0 = float32 [1]: 0"
    assert lines[-2:] == ["    and 2 more inputs", "    repeat with --seed=3"]
    assert len(lines) == 12


def test_a_grade_names_the_mistake_and_shows_one_example(zygote: Any) -> None:
    file = Path(__file__).parents[1] / "screens" / "lost_keepdim" / "ex01_rmsnorm.py"
    result = grade(file, Course.load(ROOT), profile="process", seed=1, zygote=zygote).results[0]
    named = "this is exactly what happens if the mean loses its axis"
    assert result.lines[0].startswith(f"ex01_rmsnorm · {named}")
    assert result.lines[-1] == "  and 7 more tests fail like this"
    failed = [test for test in result.tests if not test.passed]
    assert len(failed) == 8
    assert all(test.message[0].strip().startswith(named) for test in failed)


def test_an_unwritten_prerequisite_is_said_to_be_one(
    run_pytest: Callable[..., PytestRun], tmp_path: Path
) -> None:
    """The learner's block is written: it is RMSNorm that all of its tests wait for."""
    for solution in (ROOT / "solutions").glob("ex*.py"):
        shutil.copy(solution, tmp_path)
    shutil.copy(ROOT / "grader" / "pristine" / "ex01_rmsnorm.py", tmp_path)
    printed = run_pytest(f"--impl={tmp_path}", "--own", tests="test_10_block.py").printed
    assert "ex10_block · the prerequisite RMSNorm.__init__ (" in printed
    assert "is not implemented yet; 8 tests are waiting for it\n  next: grader hint ex01" in printed
    assert "nothing implemented" not in printed
