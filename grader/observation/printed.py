"""Catch what an answer prints.

Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

import contextlib
import io
from typing import Self

from grader.observation.record import MOST_PRINTED


class Printed(io.TextIOBase):
    """Takes what the learner prints inside a `with` block, up to a limit.

    One character more is kept than is shown: whoever shows it sees by that that something was cut.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left = MOST_PRINTED + 1
        self._redirected = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._redirected.enter_context(contextlib.redirect_stdout(self))
        self._redirected.enter_context(contextlib.redirect_stderr(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._redirected.close()

    def write(self, text: str) -> int:
        if self._left:
            self._parts.append(text[: self._left])
            self._left = max(0, self._left - len(text))
        return len(text)

    def text(self) -> str:
        return "".join(self._parts)
