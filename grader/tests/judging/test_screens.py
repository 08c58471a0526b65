"""What is in view on a terminal of 80 columns and 24 rows: the line that helps, in every case.

A golden file holds both screens: the end of what `pytest` prints, where a terminal stands after it,
and the beginning of the page of `grader watch`. To change one, delete it, run twice and read it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.judging.failure_text import TestFailure
from grader.judging.summary import block
from grader.learner.history import History, RunRecord
from grader.learner.watch import pages
from grader.learner.watch.session import Session
from grader.learner.watch.verdict import Verdict
from grader.tests.pytest_run import ANSWERS, PytestRun

GOLDEN = Path(__file__).parents[1] / "golden" / "80x24"
SCREENS = Path(__file__).parents[1] / "screens"
COLUMNS, ROWS = 80, 24
PROMPT = 1
"""The row below all that pytest prints, in which the shell waits."""
WATCH_ROWS = 18
"""The rows of the page in `grader watch`; the others are its head and its foot."""

Runner = Callable[..., PytestRun]


@dataclass(frozen=True)
class Case:
    """An answer, and the words that help with it."""

    exercise: str
    helps: str
    options: tuple[str, ...] = ()
    answers: Path = SCREENS


CASES = {
    "named_mistake": Case("ex02", "you get if the exponent is i/d"),
    "lost_keepdim": Case("ex01", "happens if the mean loses its axis"),
    "returned_none": Case("ex02", "precompute_freqs_cis returned None"),
    "in_place": Case("ex01", "write x = x * y, not x *= y"),
    "syntax_error": Case("ex02", "SyntaxError: expected ':'", answers=ANSWERS),
    "partly_stub": Case("ex01", "(exercises/ex01_rmsnorm.py:#) is not implemented yet"),
    "everything_wrong": Case("ex02", "cos[0, 0]: got #, want #"),
    "not_implemented": Case("ex02", "begin with precompute_freqs_cis", answers=ROOT / "grader"),
    "two_mistakes": Case("ex02", "if queries are turned and keys are not", answers=ANSWERS),
    "crash": Case("ex02", "the answer crashed its process (", ("--isolate",)),
    "top_level_call": Case("ex01", "and rms_norm_backward is not written yet: take the line away"),
    "top_level_error": Case("ex01", "calls RMSNorm.forward while the file is imported"),
    "plain_weight": Case("ex01", "weight is a plain tensor"),
    "no_super": Case("ex01", "write super().__init__() as the first line"),
    "misspelt": Case("ex01", "known names: eps, weight"),
    "numpy_used": Case("ex01", "stay in torch: numpy has no gradients"),
    "warns": Case("ex01", "exercises/ex01_rmsnorm.py:#: UserWarning: Implicit dimension choice"),
}
"""Below each name lies the answer; most are right but for one thing."""


def folder(name: str) -> Path:
    case = CASES[name]
    return case.answers / ("pristine" if name == "not_implemented" else name)


@pytest.fixture
def run(run_pytest: Runner, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], PytestRun]:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def run_case(name: str, *options: str) -> PytestRun:
        case = CASES[name]
        tests = load(ROOT).find(case.exercise).paths(ROOT).test_file.name
        return run_pytest(f"--impl={folder(name)}", *case.options, *options, tests=tests)

    return run_case


def masked(text: str, name: str) -> str:
    """A text as a learner has it, without numbers that another machine may compute otherwise."""
    text = text.replace(folder(name).relative_to(ROOT).as_posix(), "exercises")
    text = re.sub(r"(?<=got )-?\d[\d.e+-]*(?=, want)|(?<=, want )-?\d[\d.e+-]*", "#", text)
    text = re.sub(r"largest error [^,]+, allowed [^)]+", "largest error #, allowed #", text)
    text = re.sub(r"\d+ of \d+ elements", "# of # elements", text)
    text = re.sub(r"(?<=\.py):\d+", ":#", text)
    return re.sub(r" in [\d.]+s =+$", " =", text, flags=re.MULTILINE)


def rows_of(text: str) -> Iterator[str]:
    """The rows that a terminal breaks a text into."""
    for line in text.splitlines():
        for start in range(0, max(1, len(line)), COLUMNS):
            yield line[start : start + COLUMNS]


def pytest_screen(run: PytestRun, name: str) -> list[str]:
    """What a terminal shows when pytest has ended."""
    printed = masked(run.printed, name)
    rows = list(rows_of(printed))[-(ROWS - PROMPT) :]
    below = [place for place, row in enumerate(rows) if row.startswith("collected ")]
    return rows[below[-1] + 1 :] if below else rows


def watch_screen(run: PytestRun, name: str, history: History) -> list[str]:
    """The page of `grader watch` as far as it is in view."""
    assert run.trial is not None
    exercise = run.trial.exercise
    failures: list[TestFailure] = [report.course_failure for report in run.failed]
    nothing_passed = len(failures) == len(run.reports)
    lines = tuple(block(failures, run.trial, nothing_passed=nothing_passed)) if failures else ()
    record = RunRecord(exercise.id, "watch", 1e9, 1.0, 0, len(run.reports), "0", (), (), "00")
    course = Course.load(ROOT)
    session = Session(course, course.syllabus.paths[0], history, lambda *_: None, exercise)
    session.verdicts[exercise.id] = Verdict(
        1, exercise.id, record=record, lines=tuple(masked(line, name) for line in lines)
    )
    console = Console(width=COLUMNS, color_system=None)
    rendered = console.render_lines(pages.body(session))
    rows = ["".join(segment.text for segment in row).rstrip() for row in rendered]
    verdict = rows.index("") if "" in rows else len(rows)  # what stands below is not about it
    return rows[: min(verdict, WATCH_ROWS)]


def unbroken(rows: list[str]) -> str:
    """The words on a screen, wherever a line was broken."""
    return re.sub(r"\s+", "", "".join(rows))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", CASES)
def test_the_line_that_helps_is_in_view(
    name: str, run: Callable[[str], PytestRun], history: History
) -> None:
    done = run(name)
    terminal, page = pytest_screen(done, name), watch_screen(done, name, history)
    words = unbroken([CASES[name].helps])
    assert words in unbroken(terminal)
    if done.failed:
        assert words in unbroken(page)
    file = GOLDEN / f"{name}.txt"
    shown = "\n".join(
        [*_ruled("pytest", terminal), *(_ruled("grader watch", page) if done.failed else [])]
    )
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown + "\n", encoding="utf-8")
        pytest.fail(f"{file.name} was not there and is now: read it, then run again")
    assert shown + "\n" == file.read_text(encoding="utf-8")


def _ruled(title: str, rows: list[str]) -> list[str]:
    return [f"[{title}]", *(row.rstrip() for row in rows)]


def test_there_are_no_other_golden_screens() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(CASES)


class TestVerbose:
    def test_shows_the_inputs_of_the_example_and_the_seed(
        self, run: Callable[..., PytestRun]
    ) -> None:
        printed = run("lost_keepdim", "-v", "--seed=7").printed
        assert re.search(r"^      x = float32 \[3, 12\]: \S+, \S+, \S+, \S+, …$", printed, re.M)
        assert "      repeat with --seed=7\n" in printed

    def test_shows_every_group_that_the_screen_leaves_out(
        self, run: Callable[..., PytestRun]
    ) -> None:
        assert "other tests fail in other ways" in run("everything_wrong").printed
        verbose = run("everything_wrong", "-v").printed
        assert "other tests fail" not in verbose
        assert "interleaved_to_half puts each head's" in verbose
