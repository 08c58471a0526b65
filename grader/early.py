"""Loaded by pytest before any conftest.py, for the three things that cannot wait.

`--impl DIR` is refused, which would execute DIR's own conftest.py; for `--isolate` the zygote is
started, which then imports torch while pytest does; and pytest-benchmark, which pyproject.toml
blocks, is loaded for who asks for it. An entry-point plugin sees every pytest run of its
environment, so this one does nothing else, and imports as little.
"""

from __future__ import annotations

import pytest

from grader.course.syllabus import ROOT
from grader.messages.catalog import say


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    refuse_space(args)
    plugins = early_config.pluginmanager
    if plugins.is_blocked("benchmark") and any(arg.startswith("--benchmark-") for arg in args):
        plugins.import_plugin("pytest_benchmark.plugin")
    # Who runs pytest by `pytest.main` with plugins of their own, as the grader does, has a zygote.
    from_the_shell = not early_config.invocation_params.plugins
    if from_the_shell and "--isolate" in args and early_config.rootpath == ROOT:
        from grader.isolation import launch

        launch.start()


def refuse_space(args: list[str]) -> None:
    """Raise a usage error if `--impl` is followed by a space instead of an equals sign."""
    if "--impl" in args:
        raise pytest.UsageError(say("answers.space"))
