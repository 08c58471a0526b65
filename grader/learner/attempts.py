"""A learner's own runs of pytest go into the history too, so that every attempt counts there.

An attempt is a run of all tests of an exercise on the file in `exercises/`: some of the tests say
nothing about the whole. What it comes to is remembered and no more: `grader` alone gives points.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from grader.course.files import file_hash
from grader.course.stubs import is_untouched
from grader.judging.outcome import Outcome, result_of
from grader.judging.run import RunObserver
from grader.learner.history import History, RunRecord


class Attempts(RunObserver):
    """Watches a run of pytest and remembers it once all has been said about it."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.time()
        self._items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._items = session.items

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        attempts = list(self._attempts())
        if not attempts or self.session is None:
            return
        with closing(History.open(self.session.course.root)) as history:
            history.record_runs(attempts)
            if history.problem:
                terminalreporter.write_line(history.problem, yellow=True)

    def _attempts(self) -> Iterator[RunRecord]:
        assert self.session is not None
        course = self.session.course
        for trial in self.session.trials.values():
            exercise = trial.exercise
            paths = course.paths(exercise)
            tests = {run.test.partition("::")[2].partition("[")[0] for run in trial.runs.values()}
            wanted = {
                name
                for item in self._items
                if isinstance(item, pytest.Function) and item.path == paths.test_file
                for name in _tests_in(item)
            }
            if tests != wanted or is_untouched(exercise, course):
                continue
            outcome = Outcome.of(trial, self.session, self.seconds[paths.test_file.name])
            answer = file_hash(paths.stub)
            result = result_of(outcome, course.root, when=self._began, file_hash=answer)
            yield RunRecord.of(result, "pytest")


def _tests_in(item: pytest.Function) -> Iterator[str]:
    """The tests of an item's module, without its benchmarks."""
    for name, value in vars(item.module).items():
        if name.startswith("test_") and inspect.isfunction(value):
            if "benchmark" not in inspect.signature(value).parameters:
                yield name
