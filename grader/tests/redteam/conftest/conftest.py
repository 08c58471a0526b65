"""Turns every outcome into a pass, and leaves a mark where it ran."""

import os
from pathlib import Path

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"


pytest_plugins = ("grader.plugin",)
Path(os.environ.get("HOME", "/tmp"), "redteam-conftest-ran").touch()
