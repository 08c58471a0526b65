"""What installed clones have in their metadata, and what an older `grader update` looks for."""

import ast
import tomllib
from importlib import import_module

from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MOST_ENTRIES = 24


def test_the_command_is_found_where_installed_clones_look_for_it() -> None:
    assert PROJECT["scripts"] == {"grader": "grader.cli:main"}
    assert callable(import_module("grader.cli").main)


def test_pytest_finds_the_early_plugin_where_installed_clones_look_for_it() -> None:
    assert PROJECT["entry-points"] == {"pytest11": {"minimind-course-early": "grader.early"}}
    assert callable(import_module("grader.early").pytest_load_initial_conftests)


def test_conftest_loads_the_plugin_and_nothing_else() -> None:
    """A learner's clone keeps its conftest.py, which is not theirs to edit, through updates."""
    _, statement = ast.parse((ROOT / "conftest.py").read_text(encoding="utf-8")).body
    assert ast.unparse(statement) == "pytest_plugins = ('grader.plugin',)"
    assert callable(import_module("grader.plugin").pytest_configure)


def test_an_older_update_finds_the_syllabus_and_the_stubs() -> None:
    """Where it does not, it takes exercises for removed and deletes those nobody has touched."""
    assert (ROOT / "grader" / "curriculum.toml").is_file()
    stubs = {file.name for file in (ROOT / "grader" / "pristine").iterdir() if file.suffix == ".py"}
    assert stubs == {exercise.answer_file for exercise in load(ROOT).exercises}


def test_the_grader_s_folder_is_a_table_of_contents() -> None:
    entries = [entry.name for entry in (ROOT / "grader").iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES
