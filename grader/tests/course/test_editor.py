"""What stands ready for an editor and for coding assistants fits the course as it is."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grader.cli import main
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.judging.comparison import Finding
from grader.judging.failure_text import TestFailure, render
from grader.observation.kind import Kind
from grader.observation.record import Frame, Interruption
from grader.tests.pytest_run import PytestRun

SYLLABUS = load(ROOT)
EXERCISE = SYLLABUS.find("ex02")

Runner = Callable[..., PytestRun]


def read(name: str) -> Any:
    """A file for the editor; it is plain JSON, although editors would allow comments."""
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


TASKS = {task["label"]: task for task in read(".vscode/tasks.json")["tasks"]}


def test_the_test_explorer_finds_the_tests_of_every_exercise() -> None:
    """In the way that VS Code asks: its own root folder, nothing captured, then each test by id."""
    settings = read(".vscode/settings.json")
    assert settings["python.testing.pytestEnabled"]
    options = [f"--rootdir={ROOT}", "--capture=no", "--collect-only", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *settings["python.testing.pytestArgs"]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    for exercise in SYLLABUS.exercises:
        assert f"{exercise.paths(Path()).test_file.as_posix()}::" in done.stdout


class TestCheckThisExercise:
    def test_it_runs_the_tests_of_the_file_that_is_open(self, run_pytest: Runner) -> None:
        task = TASKS["check this exercise"]
        assert task["args"] == ["-m", "pytest", "${relativeFile}"]
        run = run_pytest(
            "--impl=solutions", "-k=rotate_half_is or new_layer", "exercises/ex01_rmsnorm.py"
        )
        assert run.code == 0
        ran = {report.nodeid.partition("::")[0] for report in run.reports}
        assert ran == {"tests/test_01_rmsnorm.py", "tests/test_02_rope.py"}

    def test_the_file_of_a_solution_is_no_exercise(self, run_pytest: Runner) -> None:
        run = run_pytest(
            "--impl=solutions", "-k=rotate_half_is or new_layer", "solutions/ex01_rmsnorm.py"
        )
        assert {report.nodeid.partition("::")[0] for report in run.reports} == {
            "tests/test_02_rope.py"
        }

    def test_it_marks_the_learner_s_line(self) -> None:
        pattern = TASKS["check this exercise"]["problemMatcher"]["pattern"]
        path = str(ROOT / "exercises" / "ex02_rope.py")
        frame = Frame(path, 12, "rotate_half", "return x.split(2, 'no')")
        interruption = Interruption(Kind.EXCEPTION, "TypeError", "no such axis", (frame,))
        finding = Finding(Kind.EXCEPTION, (), interruption)
        lines = render(TestFailure(EXERCISE.id, "t", "A fact", finding, root=ROOT))
        (found,) = filter(None, (re.match(pattern["regexp"], line) for line in lines))
        marked = found[pattern["file"]], found[pattern["line"]], found[pattern["message"]]
        assert marked == ("exercises/ex02_rope.py", "12", "return x.split(2, 'no')")


def test_every_task_is_a_command_that_there_is() -> None:
    for task in TASKS.values():
        _, module, *words = task["args"]
        if module == "grader" and words:
            assert words[0] in main.commands


def test_the_container_installs_what_the_readme_says() -> None:
    container = read(".devcontainer/devcontainer.json")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    index = re.search(r"--index-url (\S+)", readme)
    assert index and container["containerEnv"]["PIP_EXTRA_INDEX_URL"] == index[1]
    assert "pip install -c constraints.txt -e ." in container["postCreateCommand"]
    assert "pip install -q -c constraints.txt -e ." in readme


def test_assistants_are_sent_to_commands_and_files_that_there_are() -> None:
    text = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`grader (\w+)", text))
    assert named <= set(main.commands)
    folders = set(re.findall(r"`([a-z_/]+)/`", text))
    assert {"solutions", "minimind_ref", "tests/mistakes", "exercises"} <= folders
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
