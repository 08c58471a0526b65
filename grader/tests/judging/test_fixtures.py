"""What a test of the course can do with its fixtures, and what its failures look like."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.judging.inputs import RandomInputs
from grader.judging.options import RunOptions
from grader.judging.run import run_tests
from grader.tests.pytest_run import PytestRun

EXERCISE = load(ROOT).find("ex02")
TESTS = '''
import pytest
import torch


def test_length(observe, rng):
    """A quarter turn keeps the length."""
    x = rng.normal(4, 8)
    out = observe(lambda rope, x: rope.rotate_half(x), x)
    assert torch.allclose(out.norm(), x.norm()), "the length of x changes"


def test_names(observe, rng):
    """Observed outputs come back under their names."""
    x = rng.normal(4, 8)
    seen = observe(lambda rope, x: {"once": rope.rotate_half(x), "size": len(x)}, x)
    assert seen["once"].shape == x.shape and seen["size"] == 4


@pytest.mark.weight(3)
def test_weighty(check, rng):
    """This one is worth three."""
    check(lambda rope, x: rope.rotate_half(x), rng.normal(3, 8))


def test_speed(benchmark, answer):
    """This one is worth nothing."""
    benchmark(answer.rotate_half, torch.ones(2, 8))
'''
MISTAKES = '''
import torch


class twice_as_long:
    """the result is doubled"""

    def rotate_half(x):
        first, second = x.chunk(2, dim=-1)
        return 2 * torch.cat((-second, first), dim=-1)


class no_minus:
    """the minus is missing"""

    def rotate_half(x):
        return x.roll(x.shape[-1] // 2, -1)
'''

Runner = Callable[..., PytestRun]


@pytest.fixture
def course(small_course: Path) -> Path:
    paths = EXERCISE.paths(small_course)
    paths.test_file.write_text(TESTS)
    paths.mistakes.parent.mkdir()
    paths.mistakes.write_text(MISTAKES)
    return small_course


def answer(course: Path, body: str) -> str:
    folder = course / "answers"
    folder.mkdir()
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    (folder / "ex02_rope.py").write_text(f"import torch\n\n\ndef rotate_half(x):\n{lines}")
    return f"--impl={folder}"


def lines_of(run: PytestRun, test: str) -> list[str]:
    (report,) = (report for report in run.failed if report.nodeid.endswith(f"::{test}"))
    return str(report.longrepr).splitlines()


class TestObserve:
    def test_a_property_that_holds_passes(self, course: Path, run_pytest: Runner) -> None:
        run = run_pytest("--impl=solutions", root=course)
        assert (run.code, len(run.reports)) == (0, 3)

    @pytest.mark.parametrize("mode", [(), ("--isolate",)], ids=["in process", "isolated"])
    def test_one_that_does_not_is_told_by_the_test_s_sentence_and_diagnosed(
        self, mode: tuple[str, ...], course: Path, run_pytest: Runner
    ) -> None:
        wrong = answer(course, "return 2 * torch.cat((-x[..., 4:], x[..., :4]), dim=-1)")
        assert lines_of(run_pytest(wrong, *mode, root=course), "test_length") == [
            "ex02_rope · A quarter turn keeps the length",
            "  the length of x changes",
            "  this is exactly what happens if the result is doubled",
            "  next: grader hint ex02",
        ]

    def test_other_outputs_are_not_the_same_mistake(self, course: Path, run_pytest: Runner) -> None:
        run = run_pytest(answer(course, "return 3 * x"), root=course)
        assert lines_of(run, "test_length") == [
            "ex02_rope · A quarter turn keeps the length",
            "  the length of x changes",
            "  next: grader hint ex02",
        ]

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ("return x.nothing", "  AttributeError: 'Tensor' object has no attribute 'nothing'"),
            ("x += 1\nreturn x", "  the argument x was modified: leave"),
            ("return torch.rand(4, 8)", "  torch's random generator was changed: leave"),
        ],
    )
    def test_conduct_is_judged_there_too(
        self, body: str, told: str, course: Path, run_pytest: Runner
    ) -> None:
        run = run_pytest(answer(course, body), root=course)
        assert lines_of(run, "test_length")[1].startswith(told)

    def test_what_a_test_could_not_use_is_told(self, course: Path, run_pytest: Runner) -> None:
        EXERCISE.paths(course).test_file.write_text(
            "def test_it(observe, rng):\n    '''It is.'''\n"
            "    observe(lambda rope, x: rope.rotate_half(x).norm(), rng.normal(2, 4))\n"
        )
        run = run_pytest(answer(course, "pass"), root=course)
        assert lines_of(run, "test_it")[1] == "  rotate_half returned None (is a `return` missing?)"


class TestTheSameWrongUse:
    """A scenario breaks in the same words on three values and on four: they are not the same."""

    TEST = """
def test_two(check, rng):
    '''There are two.'''
    def two(rope, x):
        first, second = rope.rotate_half(x)
        return first
    check(two, rng.normal(2, 8))
"""
    MISTAKE = """
class three:
    '''there are three'''

    def rotate_half(x):
        return x, x, x
"""

    @pytest.mark.parametrize(
        ("body", "named"), [("return [x] * 4", False), ("return x, x, x", True)]
    )
    def test_is_told_apart_by_what_was_returned(
        self, body: str, named: bool, course: Path, run_pytest: Runner
    ) -> None:
        paths = EXERCISE.paths(course)
        paths.test_file.write_text(self.TEST)
        paths.mistakes.write_text(self.MISTAKE)
        told = lines_of(run_pytest(answer(course, body), root=course), "test_two")
        assert ("  this is exactly what happens if there are three" in told) == named


class TestPoints:
    def test_weights_count_and_benchmarks_do_not(self, course: Path) -> None:
        options = RunOptions(impl="solutions", variant="no_minus", course=Course.load(course))
        (outcome,) = run_tests([EXERCISE], options)
        assert {run.test.partition("::")[2]: (run.weight, run.passed) for run in outcome.runs} == {
            "test_length": (1, True),
            "test_names": (1, True),
            "test_weighty": (3, False),
        }
        assert outcome.share == pytest.approx(2 / 5)

    def test_benchmarks_run_when_asked_for(self, course: Path, run_pytest: Runner) -> None:
        run = run_pytest("--impl=solutions", "--benchmark-only", root=course)
        assert [report.nodeid for report in run.reports if report.passed] == [
            "tests/test_02_rope.py::test_speed"
        ]


class TestAnAuthorsMistake:
    """It is nobody else's: pytest shows all of it, and the learner is not told to mend it."""

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ("x = {}['nothing']", "KeyError: 'nothing'"),
            ("check(lambda rope, x: x)", "ScenarioError: the scenario takes 1 inputs"),
            ("check(lambda rope, x: 1 // 0, 1)", "ReferenceFailed: ZeroDivisionError"),
        ],
    )
    def test_is_shown_whole(self, body: str, error: str, course: Path, run_pytest: Runner) -> None:
        EXERCISE.paths(course).test_file.write_text(
            f"def test_it(check):\n    '''It is.'''\n    {body}\n"
        )
        run = run_pytest("--impl=solutions", root=course)
        assert re.search(rf"^E .*{re.escape(error)}", run.printed, re.M)
        assert f"    {body}" in run.printed
        assert "what is left to do" not in run.printed


class TestSamples:
    """Inputs depend on the seed and the test's id, and on nothing else."""

    def test_same_seed_and_test_same_numbers(self) -> None:
        draws = [RandomInputs(0, "t").normal(3, 4) for _ in range(2)]
        assert torch.equal(*draws)

    @pytest.mark.parametrize("other", [(1, "t"), (0, "u")])
    def test_another_seed_or_test_other_numbers(self, other: tuple[int, str]) -> None:
        assert not torch.equal(RandomInputs(0, "t").normal(9), RandomInputs(*other).normal(9))

    def test_the_global_generator_is_left_alone(self) -> None:
        before = torch.get_rng_state()
        rng = RandomInputs(0, "t")
        for draw in (rng.normal, rng.uniform, rng.permutation):
            draw(4)
        rng.integers(0, 5, 2)
        assert torch.equal(before, torch.get_rng_state())

    def test_their_ranges(self) -> None:
        rng = RandomInputs(0, "t")
        uniform = rng.uniform(2000, low=3.0, high=5.0)
        assert 3.0 <= uniform.min() < 3.1 and 4.9 < uniform.max() <= 5.0
        assert set(rng.integers(2, 5, 200).tolist()) == {2, 3, 4}
        assert sorted(rng.permutation(7).tolist()) == list(range(7))
        normal = rng.normal(5000, scale=2.0, offset=10.0)
        assert abs(normal.mean() - 10) < 0.2 and abs(normal.std() - 2) < 0.2
