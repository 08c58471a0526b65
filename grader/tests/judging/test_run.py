"""Running pytest on an exercise: whose answer it is, where a debugger opens, what tools read."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from grader.course.syllabus import ROOT
from grader.plugin import sentence_of
from grader.proof.figures.terminal import copied_course
from grader.tests.processes import BACKSTOP
from grader.tests.pytest_run import ANSWERS, PytestRun

USAGE_ERROR = 4
IDS = [
    "test_tables_hold_the_angle_of_every_position_and_pair",
    "test_default_tables_reach_position_32767",
    "test_rotate_half_is_a_quarter_turn_of_every_pair",
    "test_queries_and_keys_are_turned_by_their_positions",
    "test_one_new_token_turns_by_the_row_it_is_given",
    "test_half_precision_is_widened_before_the_turn",
    "test_queries_and_keys_keep_their_own_dtypes",
    "test_a_table_of_the_wrong_length_is_refused",
    "test_complex_table_holds_every_angle_once",
    "test_complex_form_turns_neighbouring_pairs",
    "test_complex_form_widens_half_precision",
    "test_complex_form_refuses_a_table_of_the_wrong_length",
    "test_weights_are_reordered_head_by_head",
]

Runner = Callable[..., PytestRun]


def run_apart(*options: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run pytest as a command of its own, for what depends on its command line or its input."""
    return apart("pytest", *options, stdin=stdin, **environment)


def graded_apart(**environment: str) -> subprocess.CompletedProcess:
    """Grade the worked answer of ex02 as a command of its own."""
    return apart("grader", "grade", "solutions/ex02_rope.py", **environment)


def apart(
    module: str, *arguments: str, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess:
    # pytest-benchmark refuses to measure beside pytest-xdist, which may well run these tests here.
    alone = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=alone | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=BACKSTOP,
    )


class TestWhoseAnswers:
    @pytest.mark.parametrize(
        ("options", "header"),
        [
            ([], "answers: exercises (your answers), in this process, seed 0"),
            (["--impl=solutions"], "answers: solutions, in this process, seed 0"),
            (
                ["--impl=minimind_ref", "--seed=7"],
                "answers: minimind_ref (the reference), in this process, seed 7",
            ),
            (
                ["--impl=solutions", "--variant=no_minus", "--own"],
                "answers: solutions with no_minus, prerequisites of the same folder, "
                "in this process, seed 0",
            ),
            ([f"--impl={ANSWERS}"], f"answers: {ANSWERS}, in this process, seed 0"),
        ],
    )
    def test_the_header_says_it(self, options: list[str], header: str, run_pytest: Runner) -> None:
        assert header in run_pytest("--collect-only", *options).printed.splitlines()

    def test_what_was_tested_is_not_taken_for_the_package_afterwards(
        self, run_pytest: Runner
    ) -> None:
        run_pytest("--impl=solutions", "-k=rotate_half_is")
        assert importlib.import_module("solutions.ex02_rope").__spec__ is not None

    def test_the_header_says_that_the_answer_runs_apart(self, run_pytest: Runner) -> None:
        printed = run_pytest("--collect-only", "--isolate", "--impl=solutions").printed
        assert re.search(r"^answers: solutions, in a separate process \(\w+\), ", printed, re.M)

    def test_a_folder_that_is_not_there_is_refused(self, run_pytest: Runner) -> None:
        run = run_pytest("--impl=nowhere")
        assert run.code == USAGE_ERROR
        assert "--impl=nowhere: no such folder; give exercises, solutions," in run.printed

    def test_a_variant_that_is_not_there_is_refused_with_those_that_are(
        self, run_pytest: Runner
    ) -> None:
        run = run_pytest("--impl=solutions", "--variant=nothing_of_the_kind")
        assert run.code == USAGE_ERROR
        assert "ex02_rope has no mistake or alternative 'nothing_of_the_kind'" in run.printed
        assert "neighbouring_pairs" in run.printed
        assert len(run.reports) == 0

    @pytest.mark.parametrize("through", ["the command line", "PYTEST_ADDOPTS"])
    def test_a_space_is_refused_before_the_folder_s_conftest_runs(
        self, through: str, tmp_path: Path
    ) -> None:
        trap = tmp_path / "it ran"
        (tmp_path / "conftest.py").write_text(f"open({str(trap)!r}, 'w').close()\n")
        if through == "PYTEST_ADDOPTS":
            done = run_apart(PYTEST_ADDOPTS=f"--impl {tmp_path}")
        else:
            done = run_apart("--impl", str(tmp_path))
        assert done.returncode == USAGE_ERROR
        assert "write --impl=DIR, with an equals sign" in done.stderr
        assert not trap.exists()


@pytest.mark.parametrize("options", [[], ["--benchmark-only"]], ids=["without", "with"])
def test_pytest_benchmark_is_loaded_for_who_asks_for_it(options: list[str]) -> None:
    """It starts seven processes, which whoever waits for a verdict would wait for as well."""
    done = run_apart("--trace-config", "--collect-only", "tests/test_05_kv_cache.py", *options)
    assert done.returncode == 0
    assert ("pytest_benchmark.plugin" in done.stdout) == bool(options)


class TestSeed:
    def test_a_random_seed_is_another_each_time_and_is_told(self, run_pytest: Runner) -> None:
        seeds = set()
        for _ in range(2):
            printed = run_pytest("--collect-only", "--seed=random").printed
            seeds.add(re.search(r", seed (\d+)$", printed, re.M)[1])
        assert len(seeds) == 2

    def test_the_seed_decides_the_inputs(self, run_pytest: Runner) -> None:
        wrong = f"--impl={ANSWERS / 'wrong_value'}", "-k=rotate_half_is"
        told = [str(run_pytest(*wrong, f"--seed={seed}").failed[0].longrepr) for seed in (1, 1, 2)]
        assert told[0] == told[1] != told[2]

    def test_what_is_no_number_is_refused(self, run_pytest: Runner) -> None:
        run = run_pytest("--seed=x")
        assert run.code == USAGE_ERROR
        assert "--seed=x: give a whole number or the word random" in run.printed


class TestDevice:
    @pytest.mark.parametrize("device", ["banana", "meta"])
    def test_one_that_cannot_compute_is_refused(self, device: str, run_pytest: Runner) -> None:
        run = run_pytest(f"--device={device}")
        assert run.code == USAGE_ERROR
        assert f"--device={device} cannot be used here: " in run.printed

    def test_under_lock_no_driver_can_be_reached(
        self, run_pytest: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grader.judging.session._usable", lambda text: text)
        run = run_pytest("--device=cuda", "--isolate", "--sandbox=light")
        assert run.code == USAGE_ERROR
        assert "--device=cuda: an answer in a sandbox (light)" in run.printed


class TestSelection:
    def test_ids_are_stable(self, run_pytest: Runner) -> None:
        """Scores, histories and bookmarks of editors hang on them."""
        printed = run_pytest("--collect-only", "-q").printed
        assert re.findall(r"^tests/test_02_rope\.py::(.*)$", printed, re.M) == IDS

    def test_x_stops_at_the_first_failure(self, run_pytest: Runner) -> None:
        run = run_pytest("-x", f"--impl={ANSWERS / 'known_mistake'}")
        assert [report.outcome for report in run.reports] == ["passed", "passed", "failed"]
        assert "stopping after 1 failures" in run.printed

    def test_k_leaves_the_inputs_of_the_rest_as_they_were(self, run_pytest: Runner) -> None:
        wrong = f"--impl={ANSWERS / 'known_mistake'}"
        alone = run_pytest(wrong, "-k=one_new_token").failed[0].longrepr
        among_others = run_pytest(wrong).failed
        numbers = [line for line in str(alone).splitlines() if "got" in line]
        assert numbers
        assert any(numbers[0] in str(report.longrepr) for report in among_others)


class TestWhatToolsRead:
    """An editor shows `report.longrepr`, a server reads the XML: both get the learner's message."""

    MESSAGE = (
        "ex02_rope · Queries and keys at position s turn by row s of the tables, "
        "in every head alike\n"
        r"  q turned\[0, 0, 0, 0\]: got \S+, want \S+   \(720 of 720 elements differ; .*\)\n"
        r"  these are exactly the numbers you get if neighbouring pairs \(x0, x1\) are .*\n"
        "  next: grader hint ex02"
    )
    TEST = "test_queries_and_keys_are_turned_by_their_positions"

    @pytest.mark.parametrize("mode", [(), ("--isolate",)], ids=["in process", "isolated"])
    def test_a_report_s_longrepr_is_the_message(
        self, mode: tuple[str, ...], run_pytest: Runner
    ) -> None:
        run = run_pytest(f"--impl={ANSWERS / 'known_mistake'}", *mode)
        (report,) = (report for report in run.failed if report.nodeid.endswith(self.TEST))
        assert re.fullmatch(self.MESSAGE, str(report.longrepr))
        assert report.longreprtext.strip() == str(report.longrepr)

    def test_junit_xml_holds_the_message(self, run_pytest: Runner, tmp_path: Path) -> None:
        file = tmp_path / "junit.xml"
        run_pytest(f"--impl={ANSWERS / 'known_mistake'}", f"--junitxml={file}")
        suite = ElementTree.parse(file).getroot().find("testsuite")
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("13", "5", "0")
        failure = suite.find(f"testcase[@name='{self.TEST}']/failure")
        assert re.search(self.MESSAGE, failure.text)


class TestDebugger:
    ANSWER = """
def rotate_half(x):
    mine = "in the learner's frame"
    return x.split("not a size")  # raises in torch's own Python


def interleaved_to_half(weight, n_heads):
    return weight
"""

    def test_it_opens_in_the_learner_s_frame_or_in_the_test(self, tmp_path: Path) -> None:
        (tmp_path / "ex02_rope.py").write_text(self.ANSWER)
        done = run_apart(
            "--pdb",
            f"--impl={tmp_path}",
            "-k=rotate_half_is or weights",
            "tests/test_02_rope.py",
            stdin="p mine\nc\np check\nq\n",
        )
        assert '(Pdb) "in the learner\'s frame"' in done.stdout
        assert re.search(r"^> .*test_02_rope\.py\(\d+\)test_weights_are_re", done.stdout, re.M)
        assert "(Pdb) <grader.judging.fixtures.Check object" in done.stdout


class TestVerdicts:
    @pytest.mark.parametrize("mode", [(), ("--isolate",)], ids=["in process", "isolated"])
    @pytest.mark.parametrize(
        "statement",
        [
            "import unittest; raise unittest.SkipTest('all is well')",
            "__import__('pytest').skip('all is well')",
            "__import__('pytest').xfail('all is well')",
            "raise GeneratorExit",
        ],
    )
    def test_an_answer_cannot_leave_a_test_but_by_failing_it(
        self, statement: str, mode: tuple[str, ...], run_pytest: Runner, tmp_path: Path
    ) -> None:
        (tmp_path / "ex02_rope.py").write_text(f"def rotate_half(x):\n    {statement}\n")
        run = run_pytest(f"--impl={tmp_path}", "-k=rotate_half_is", *mode)
        assert [report.outcome for report in run.reports] == ["failed"]
        assert run.code == 1
        assert "rotate_half turns (a, b) into (-b, a)" in str(run.failed[0].longrepr)


class TestTheGraderSOwnRuns:
    @pytest.mark.parametrize("options", ["-x -k nothing", "-p no:such --lf --no-such-option"])
    def test_what_somebody_set_for_pytest_leaves_no_test_out(self, options: str) -> None:
        done = graded_apart(PYTEST_ADDOPTS=options, PYTEST_PLUGINS="no_such_plugin")
        assert done.returncode == 0, done.stderr
        assert "100 of 100 points" in done.stdout

    def test_a_plugin_that_somebody_has_installed_leaves_no_test_out(self, tmp_path: Path) -> None:
        entry = tmp_path / "drops_tests-1.0.dist-info" / "entry_points.txt"
        entry.parent.mkdir()
        entry.write_text("[pytest11]\ndrops_tests = drops_tests\n")
        entry.with_name("METADATA").write_text("Name: drops-tests\nVersion: 1.0\n")
        (tmp_path / "drops_tests.py").write_text(
            "def pytest_collection_modifyitems(items):\n    items.clear()\n"
        )
        dropped = run_apart(
            "--collect-only", "-q", "tests/test_02_rope.py", PYTHONPATH=str(tmp_path)
        )
        assert "::" not in dropped.stdout, "the plugin was not loaded at all"
        assert "100 of 100 points" in graded_apart(PYTHONPATH=str(tmp_path)).stdout

    @pytest.mark.parametrize(
        ("text", "told"),
        [("def (", "ERROR tests/test_02_rope.py"), ("", "no test of ex02_rope was run")],
        ids=["no Python", "no tests"],
    )
    def test_tests_that_cannot_be_run_are_told_as_the_course_s_fault(
        self, text: str, told: str, tmp_path: Path
    ) -> None:
        course = copied_course(ROOT, tmp_path / "course")
        shutil.copy(ROOT / "solutions" / "ex02_rope.py", course / "exercises")
        shutil.copy(ROOT / "solutions" / "ex01_rmsnorm.py", course / "exercises")
        (course / "tests" / "test_02_rope.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "grader"], cwd=course, capture_output=True, text=True
        )
        assert done.returncode == 3
        assert told in done.stderr and "git restore" in done.stderr
        assert "Traceback" not in done.stderr


class TestTheTitleOfATest:
    def test_is_its_first_paragraph_in_one_line(self) -> None:
        def written() -> None:
            """It halves,
            and rounds.

            Why is no part of it.
            """

        def plain() -> None: ...

        titles = [
            sentence_of(cast(Any, SimpleNamespace(function=function, name="its name")))
            for function in (written, plain)
        ]
        assert titles == ["It halves, and rounds", "its name"]
