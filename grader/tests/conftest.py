"""Runs of pytest inside this one: torch is imported once, a run takes a fraction of a second."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.isolation.launch import start_zygote
from grader.observation.answer import forget
from grader.tests.pytest_run import PytestRun, run_pytest_here

# What tests read is English, whatever the maintainer speaks; processes they start inherit it.
os.environ["GRADER_LANG"] = "en"

COPIED = (
    "conftest.py",
    "pyproject.toml",
    "exercises/ex02_rope.py",
    "grader/curriculum.toml",
    "grader/pristine/ex02_rope.py",
    "lessons/02_rope.md",
    "minimind_ref/config.py",
    "minimind_ref/rope.py",
    "solutions/ex02_rope.py",
    "tests/support.py",
)


@pytest.fixture(autouse=True)
def real_packages() -> Iterator[None]:
    """A run in this process leaves packages that hold one answer in the place of whole folders."""
    yield
    for package in ("exercises", "solutions"):
        if getattr(sys.modules.get(package), "__path__", None) == []:
            forget(package)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Any]:
    """One warm process for all isolated runs; None where forking is not safe."""
    warm = start_zygote(ROOT)
    yield warm
    if warm is not None:
        warm.close()


@pytest.fixture
def run_pytest(zygote: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PytestRun]:
    """`run_pytest_here` in a terminal of 100 columns, with a warm process to fork from."""
    monkeypatch.setenv("COLUMNS", "100")
    # This may be one of several processes that share the tests; the learner's run is not.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return partial(run_pytest_here, zygote=zygote)


@pytest.fixture
def small_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the course with ex02 alone and no tests of it, which the plugin is at home in."""
    for name in COPIED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr("grader.plugin.ROOT", tmp_path)
    kept = _forget_tests()
    yield tmp_path
    _forget_tests()
    sys.modules.update(kept)


def _forget_tests() -> dict[str, Any]:
    """The copy's tests have the names of the course's."""
    names = [n for n in sys.modules if n == "tests" or n.startswith("tests.")]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture
def limit_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give ex02 another time limit per call than the syllabus does."""

    def limit(seconds: float) -> None:
        syllabus = load(ROOT)
        exercise = syllabus.find("ex02")
        limits = exercise.limits
        scale = seconds / limits.call_seconds
        short = replace(exercise, limits=replace(limits, seconds=limits.seconds * scale))
        changed = replace(syllabus, exercises=(short,))
        monkeypatch.setattr("grader.course.course.load", lambda root: changed)

    return limit
