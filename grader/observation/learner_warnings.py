"""Warnings of Python and torch, each pointing at the learner's line that caused it.

They are printed beside what the answer prints, one a line in a form of their own, and taken out of
it again by `split`. Runs beside learner code: standard library only.
"""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import Any

_MOST = 10
"""Warnings of one run, and of what one test printed: an answer may print their form itself."""
_LONGEST = 200
_PREFIX = "warning: "
_NOT_FOR_LEARNERS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    ImportWarning,
    ResourceWarning,
    BytesWarning,
)
_INTERNAL = re.compile(r"\s*\(?(?:function operator\(\)|Triggered internally).*", re.DOTALL)


@contextlib.contextmanager
def pointing_at(learner_files: Collection[str]) -> Iterator[None]:
    """Print the warnings that the learner's code causes inside the block; no others are shown."""
    said: set[str] = set()

    def show(
        message: Warning | str, category: type[Warning], file: str, line: int, *_: Any, **__: Any
    ) -> None:
        where = _learner_line(learner_files) or ((file, line) if file in learner_files else None)
        if where is None or len(said) >= _MOST:
            return
        text = _INTERNAL.sub("", str(message)).partition("\n")[0][:_LONGEST]
        told = f"{_PREFIX}{where[0]}:{where[1]}: {category.__name__}: {text}"
        if told not in said:
            said.add(told)
            print(told, file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for category in _NOT_FOR_LEARNERS:
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("default", "invalid escape")  # until Python 3.11 deprecated only
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _learner_line(learner_files: Collection[str]) -> tuple[str, int] | None:
    """The innermost line of the learner's that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename in learner_files:
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


def split(printed: str) -> tuple[list[str], str]:
    """The warnings in what was printed, without their prefix, and all the rest."""
    lines = printed.splitlines(keepends=True)
    found = [line[len(_PREFIX) :].rstrip("\n") for line in lines if line.startswith(_PREFIX)]
    return found[:_MOST], "".join(line for line in lines if not line.startswith(_PREFIX))
