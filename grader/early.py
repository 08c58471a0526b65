"""Loaded by pytest before any conftest.py: refuses `--impl DIR`, which would execute DIR's own.

An entry-point plugin sees every pytest run of its environment, so this one does nothing else.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(args: list[str]) -> None:
    refuse_space(args)


def refuse_space(args: list[str]) -> None:
    """Raise a usage error if `--impl` is followed by a space instead of an equals sign."""
    if "--impl" in args:
        raise pytest.UsageError(
            "write --impl=DIR, with an equals sign: after a space pytest takes DIR for a folder "
            "of tests and runs the conftest.py in it"
        )
