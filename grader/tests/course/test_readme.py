"""README.md says what is: its sample, commands, exercises, links and pins are compared."""

import os
import re
import subprocess
import sys

import pytest

import grader
from grader.cli import main
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.messages.quantities import duration

README = (ROOT / "README.md").read_text(encoding="utf-8")
MISTAKE = "exponent_without_two"


def fenced(mark: str) -> list[str]:
    """The commands of the block that .ci/run and the workflow find by its mark."""
    found = re.search(rf"<!-- ci: {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"no block is marked {mark}"
    return [line for part in found[1].split("&&") if (line := part.strip())]


def untimed(text: str) -> str:
    """The text without the seconds that a run took, on which the rule around them depends."""
    return re.sub(r"=+ (.*) in [\d.]+s =+", r"\1", text).strip()


def test_sample_is_what_pytest_prints() -> None:
    """With the mistake put over the solution; COLUMNS is what pytest takes off a terminal."""
    test_file = "tests/test_02_rope.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", test_file, "--impl=solutions", f"--variant={MISTAKE}"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    heading = re.escape(" what is left to do ")
    printed = re.search(rf"^=+{heading}.*", done.stdout, re.DOTALL | re.MULTILINE)
    sample = re.search(
        rf"^```text\n\$ pytest {test_file}\n(.*?)```", README, re.DOTALL | re.MULTILINE
    )
    assert printed and sample, done.stdout
    assert untimed(sample[1]) == untimed(printed[0])


def test_exercises_are_those_of_the_syllabus() -> None:
    rows = re.findall(r"^\| \[(ex\d\d_\w+)\]\((.*?)\) \| (.*?) \| (\d+) \|$", README, re.MULTILINE)
    expected = [
        (e.id, e.paths(ROOT).lesson.relative_to(ROOT).as_posix(), e.title, str(e.points))
        for e in load(ROOT).exercises
    ]
    assert rows == expected


def test_a_path_takes_as_long_as_its_exercises() -> None:
    told = {id: time for id, time in re.findall(r"`(\w+)`[^`(]*\(([^)]* min)\)", README)}
    assert told == {path.id: duration(path.minutes) for path in load(ROOT).paths}


def test_commands_are_those_that_there_are() -> None:
    documented = set(re.findall(r"^\| `grader (\w+)", README, re.MULTILINE))
    assert documented == {name for name, command in main.commands.items() if not command.hidden}


PAGES = ["README.md", "CONTRIBUTING.md", "docs/running-a-course.md", "docs/writing-tests.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text(encoding="utf-8"))
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_the_cpu_build_is_the_pinned_one() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    line = re.search(r"^pip install -q (torch==\S+) --index-url", README, re.MULTILINE)
    assert line and line[1] in pins
    assert line.start() < README.index("<!-- ci: setup -->")  # whoever reads on has CUDA by then


@pytest.mark.parametrize("block", ["setup", "test"])
def test_windows_does_the_same(block: str) -> None:
    unix, windows = fenced(block), fenced(f"{block}, Windows")[0].splitlines()
    assert unix[:2] == ["python3 -m venv .venv", ". .venv/bin/activate"]
    assert windows[:2] == ["python -m venv .venv", r".venv\Scripts\Activate.ps1"]
    assert unix[2:] == windows[2:]


def test_the_map_of_the_grader_names_each_of_its_modules() -> None:
    named = set(re.findall(r"`(\w+)`", grader.__doc__ or ""))
    folder = ROOT / "grader"
    there = {file.stem for file in folder.glob("*.py")} - {"__init__", "__main__"}
    there |= {file.parent.name for file in folder.glob("*/__init__.py")}
    assert named == there
