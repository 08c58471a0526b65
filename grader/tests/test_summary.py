"""What a run's failures come to: which function each is about, which mistakes are behind it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from grader.messages import Failure
from grader.summary import diagnosed
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


def failures(run: PytestRun) -> list[Failure]:
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
