"""Compiled functions run as they are written: compiling takes longer than every test together.

Where an answer is judged nothing is compiled. Runs beside learner code: standard library and torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def compile_nothing() -> Iterator[None]:
    """Within it, `torch.compile` gives back what it is given."""
    real = torch.compile
    compile_nothing_more()
    try:
        yield
    finally:
        torch.compile = real


def compile_nothing_more() -> None:
    """From here on, for good, `torch.compile` gives back what it is given."""
    torch.compile = _as_it_is


def _as_it_is(model: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`torch.compile(f)`, `@torch.compile` and `@torch.compile(fullgraph=True)`."""
    return _as_it_is if model is None else model
