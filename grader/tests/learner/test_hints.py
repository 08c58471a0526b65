"""Which hints come first: those about what fails, then about what is not written."""

import textwrap
from pathlib import Path

import pytest

from grader.course.course import Course
from grader.course.syllabus import ROOT, HintLadder
from grader.course.syllabus_file import load
from grader.learner.hints import first_hints, unwritten_functions
from grader.learner.history import RunRecord

ROPE = load(ROOT).find("ex02")
SOLUTION = ROPE.paths(ROOT).solution.read_text(encoding="utf-8")
STUB = ROPE.paths(ROOT).pristine.read_text(encoding="utf-8")
UNWRITTEN_TABLES = (
    f"{SOLUTION}\n\ndef precompute_pos_cis(dim, end, theta):\n    raise NotImplementedError\n"
)


def ran(*failing: str, tests: int = 13) -> RunRecord:
    passed = 0 if failing or not tests else tests
    return RunRecord("ex02_rope", "watch", 1e9, 1.0, passed, 13, "0", (), (), "00", failing)


def first_hints_for(file: Path, runs: list[RunRecord]) -> HintLadder:
    return first_hints(ROPE, Course(file.parent.parent, load(ROOT)), runs)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The learner's file in a course of ex02 alone; it is the worked answer."""
    paths = ROPE.paths(tmp_path)
    for path, text in ((paths.pristine, STUB), (paths.stub, SOLUTION)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return paths.stub


class TestFirst:
    @pytest.mark.parametrize(
        ("runs", "about"),
        [
            ([ran("rotate_half", "interleaved_to_half")], "rotate_half"),
            ([ran("rotate_half"), ran("apply_rotary_complex")], "apply_rotary_complex"),
            # A file with a syntax error passes nothing and says nothing of any function.
            ([ran("rotate_half"), ran(tests=0)], "rotate_half"),
            ([ran("rotate_half"), ran()], "precompute_freqs_cis"),
            ([ran("a_function_of_an_earlier_course")], "precompute_freqs_cis"),
            ([], "precompute_freqs_cis"),
        ],
    )
    def test_the_newest_run_that_says_anything_decides(
        self, runs: list[RunRecord], about: str, file: Path
    ) -> None:
        assert first_hints_for(file, runs).about == about

    def test_what_is_written_and_wrong_comes_before_what_is_not_written(self, file: Path) -> None:
        file.write_text(
            SOLUTION.replace(
                "    angles = _for", "    raise NotImplementedError\n    angles = _for"
            )
        )
        assert unwritten_functions(file) == ["precompute_freqs_cis"]
        runs = [ran("precompute_freqs_cis", "rotate_half")]
        assert first_hints_for(file, runs).about == "rotate_half"
        assert first_hints_for(file, runs[:0]).about == "precompute_freqs_cis"
        runs = [ran("precompute_freqs_cis")]
        assert first_hints_for(file, runs).about == "precompute_freqs_cis"

    def test_without_a_run_it_is_the_first_that_is_not_written(self, file: Path) -> None:
        file.write_text(UNWRITTEN_TABLES, encoding="utf-8")
        assert first_hints_for(file, []).about == "precompute_pos_cis"

    def test_of_a_stub_that_was_put_back_no_earlier_run_says_anything(self, file: Path) -> None:
        file.write_text(STUB, encoding="utf-8")
        runs = [ran("interleaved_to_half")]
        assert first_hints_for(file, runs).about == "precompute_freqs_cis"

    def test_a_file_that_is_gone_or_broken_ends_nothing(self, file: Path) -> None:
        runs = [ran("rotate_half")]
        for text in ("def broken(:\n", "\0", "(" * 1000):
            file.write_text(text)
            assert first_hints_for(file, runs).about == "rotate_half"
        file.unlink()
        assert first_hints_for(file, runs).about == "rotate_half"
        assert first_hints_for(file, []).about == "precompute_freqs_cis"


@pytest.mark.parametrize(
    ("body", "unwritten"),
    [
        ('    """Text."""\n    # your code here\n    raise NotImplementedError\n', True),
        ("    x = 1\n    raise NotImplementedError('later')\n", True),
        ("    if x:\n        raise NotImplementedError\n    return 1\n", False),
        ("    raise ValueError\n", False),
        ("    raise\n", False),
        ("    return NotImplementedError\n", False),
    ],
)
def test_a_stub_raises_in_a_line_of_its_own(body: str, unwritten: bool, tmp_path: Path) -> None:
    file = tmp_path / "ex.py"
    function = f"def f(self, x):\n{body}"
    nested = f"class A:\n class B:\n{textwrap.indent(function, '  ')}"
    file.write_text(nested)
    assert unwritten_functions(file) == (["A.B.f"] if unwritten else [])
    file.write_text(function)
    assert unwritten_functions(file) == (["f"] if unwritten else [])
