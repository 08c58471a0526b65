"""Runs of pytest inside this one: torch is imported once, a run takes a fraction of a second."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from grader.curriculum import ROOT, Limits, load
from grader.launching import start_zygote
from grader.tests.pytest_run import PytestRun, run_pytest_here


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
    return partial(run_pytest_here, zygote=zygote)


@pytest.fixture
def limit_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give ex02 another time limit per call than the syllabus does."""

    def limit(seconds: float) -> None:
        syllabus = load(ROOT)
        exercise = syllabus.find("ex02")
        limits = exercise.limits
        scale = seconds / limits.call_seconds
        short = replace(exercise, limits=Limits(limits.seconds * scale, limits.memory_mb))
        changed = replace(syllabus, exercises=(short,))
        monkeypatch.setattr("grader.plugin.load", lambda root: changed)

    return limit
