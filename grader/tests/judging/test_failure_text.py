"""What a learner reads: word for word, and the same in both modes.

A golden file holds what a run prints below pytest's header, with measured numbers masked. To
change a message, delete its file, run the test twice and read the difference.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.tests.pytest_run import ANSWERS, PytestRun

GOLDEN = Path(__file__).parents[1] / "golden"
LONGEST = 6
"""Lines that one failed test may take."""

ALONE = "rotate_half_is"
LEAVES_TRACES = "rotate_half_is or complex_table or weights"

# What is tested of each answer: an expression for -k, the whole file where there is none.
CASES = {
    "known_mistake": "",
    "two_mistakes": "",
    "partly_implemented": "",
    "name_missing": "rotate_half_is or complex_table",
    "wrong_value": ALONE,
    "wrong_type": ALONE,
    "one_of_two_returned": "by_their_positions or one_new_token",
    "wrong_shape": ALONE,
    "wrong_dtype": "complex_form_widens",
    "not_finite": ALONE,
    "gradient_cut_off": ALONE,
    "nothing_returned": "tables_hold or rotate_half_is",
    "accepts_any_table": "complex_form_refuses",
    "input_modified": ALONE,
    "global_state_changed": LEAVES_TRACES,
    "exception": ALONE,
    "one_error_for_all": "by_their_positions or one_new_token",
    "endless_recursion": ALONE,
    "sys_exit": ALONE,
    "prints": ALONE,
    "exception_on_import": "",
    "syntax_error": "",
    "imports_a_helper": "",
    "imports_the_reference": "",
    "imports_the_solutions": "",
}
MODES = {"in process": (), "isolated": ("--isolate",)}

Runner = Callable[..., PytestRun]


def options_of(case: str, mode: str) -> list[str]:
    chosen = [f"-k={CASES[case]}"] if CASES.get(case) else []
    return [f"--impl={ANSWERS / case}", *chosen, *MODES[mode]]


def masked(printed: str) -> str:
    """What stands below the header, without measured numbers and times."""
    below = re.split(r"^collected .*\n", printed, maxsplit=1, flags=re.MULTILINE)[-1]
    below = re.sub(r"(?<=got )-?\d[\d.e+-]*(?=, want)|(?<=, want )-?\d[\d.e+-]*", "#", below)
    below = re.sub(r"\d+ of \d+ elements", "# of # elements", below)
    below = re.sub(r"largest error [^,]+, allowed [^)]+", "largest error #, allowed #", below)
    below = re.sub(r"^=+ (.*) in [\d.]+s =+$", r"\1", below, flags=re.MULTILINE)
    return below.strip() + "\n"


def assert_golden(name: str, printed: str) -> None:
    file = GOLDEN / f"{name}.txt"
    got = masked(printed)
    if not file.exists():
        file.write_text(got, encoding="utf-8")
        pytest.fail(f"{file.name} was not there and is now: read it, then run again")
    assert got == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_answer_is_told_in_these_words(case: str, mode: str, run_pytest: Runner) -> None:
    run = run_pytest(*options_of(case, mode))
    assert run.code == 1
    assert_golden(case, run.printed)
    assert all(len(str(report.longrepr).splitlines()) <= LONGEST for report in run.failed)


@pytest.mark.parametrize("mode", MODES)
def test_an_untouched_stub_takes_one_line(mode: str, run_pytest: Runner) -> None:
    assert_golden("nothing_implemented", run_pytest("--impl=grader/pristine", *MODES[mode]).printed)


@pytest.mark.parametrize("mode", MODES)
def test_a_folder_without_the_file_takes_one_message(mode: str, run_pytest: Runner) -> None:
    assert_golden("missing_file", run_pytest(f"--impl={ANSWERS}", *MODES[mode]).printed)


@pytest.mark.parametrize("mode", MODES)
def test_an_endless_loop_is_ended_and_its_place_told(
    mode: str, run_pytest: Runner, limit_seconds: Callable[[float], None]
) -> None:
    limit_seconds(1.0)
    run = run_pytest(f"--impl={ANSWERS / 'endless_loop'}", f"-k={ALONE}", *MODES[mode])
    # Which line of the loop it was at is chance.
    assert_golden(
        "endless_loop", re.sub(r":\d+ in rotate_half: .*", ":# in rotate_half", run.printed)
    )


@pytest.mark.parametrize("case", ["os_exit", "crash"])
def test_a_process_that_ends_is_told_and_the_next_test_has_a_new_one(
    case: str, run_pytest: Runner
) -> None:
    run = run_pytest(f"--impl={ANSWERS / case}", f"-k={ALONE} or weights", "--isolate")
    assert_golden(case, run.printed)


@pytest.mark.parametrize("mode", MODES)
def test_a_right_answer_says_nothing(mode: str, run_pytest: Runner) -> None:
    run = run_pytest(*options_of("right", mode))
    assert run.code == 0
    assert "what is left to do" not in run.printed
