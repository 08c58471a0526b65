"""One run of pytest inside this one, and what was seen of it."""

import contextlib
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from grader.course.answers import UsageError
from grader.course.syllabus import ROOT
from grader.judging.session import course_session
from grader.judging.trial import Trial
from grader.plugin import typed_options

ANSWERS = Path(__file__).parent / "answers"
_expectations: dict[Any, Any] = {}
_LEFT_OUT = ("unraisableexception", "threadexception", "faulthandler", "hypothesispytest", "anyio")
"""Plugins that have nothing to do with the course and take half of a run's time."""


@dataclass
class PytestRun:
    """How a run of pytest ended, what it printed, and the report of every test that was called."""

    code: int = 0
    printed: str = ""
    reports: list[pytest.TestReport] = field(default_factory=list)
    trial: Trial | None = None

    @property
    def failed(self) -> list[pytest.TestReport]:
        return [report for report in self.reports if report.failed]

    @property
    def named(self) -> dict[str, set[str]]:
        """The mistakes by which each failed test is explained, after the whole run."""
        assert self.trial is not None
        return {
            run.test.partition("::")[2]: {m.id for m in self.trial.diagnosis.explaining(run.test)}
            for run in self.trial.runs.values()
            if not run.passed
        }


class _Watch:
    """The plugin that collects the reports, and lends the run what other runs have made."""

    def __init__(self, run: PytestRun, zygote: Any, expectations: dict[Any, Any] | None) -> None:
        self._run = run
        self._lent = {"zygote": zygote, "cache": expectations}

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        try:
            options = replace(typed_options(config), **self._lent)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        config.pluginmanager.register(options)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._run.reports.append(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        trials = course_session(session.config).trials
        self._run.trial = next(iter(trials.values()), None)


def run_pytest_here(
    *options: str, zygote: Any = None, root: Path = ROOT, tests: str = "test_02_rope.py"
) -> PytestRun:
    """Run pytest with options on tests, those of ex02 mostly, as a learner does in the course."""
    run = PytestRun()
    said = io.StringIO()
    arguments = [f"--rootdir={root}", "-c", str(root / "pyproject.toml"), *options]
    # What is imported here already cannot be rewritten again.
    arguments += [f"-pno:{plugin}" for plugin in _LEFT_OUT]
    if "--benchmark-only" not in options:
        arguments.append("-pno:benchmark")
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    arguments.append(str(root / "tests" / tests))
    # What the reference says is kept for the course's own tests alone.
    expectations = _expectations if root == ROOT else None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        run.code = int(pytest.main(arguments, plugins=[_Watch(run, zygote, expectations)]))
    run.printed = said.getvalue()
    return run
