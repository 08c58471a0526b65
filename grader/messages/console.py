"""The terminal, as commands print on it: lines, tables, advice, warnings and errors.

What a command says is written in the `printing` module of its package; primitives are here. Only
`grader watch` does without them: it draws the whole screen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum
from typing import NoReturn

import click
from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

_CONTINUED = "  "


class Wordiness(Enum):
    """How much is said: `quiet` leaves out tables and advice, `verbose` leaves out nothing."""

    QUIET = "quiet"
    USUAL = "usual"
    VERBOSE = "verbose"


class Console:
    """Standard output and standard error; plain where they are no terminal or NO_COLOR is set.

    `is_quiet` and `is_verbose` say what the command line asked for. `output` is for what only rich
    can print, such as a progress bar.
    """

    def __init__(self) -> None:
        context = click.get_current_context(silent=True)
        wordiness = context.find_object(Wordiness) if context else None
        self.is_quiet = wordiness is Wordiness.QUIET
        self.is_verbose = wordiness is Wordiness.VERBOSE
        self.output = RichConsole(highlight=False, soft_wrap=True)
        self._errors = RichConsole(stderr=True, highlight=False, soft_wrap=True)

    def error(self, message: str) -> None:
        """A command could not do what it was asked to do."""
        self._errors.print(message, style="red", markup=False)

    def warning(self, message: str) -> None:
        """Something is wrong, but the command did its work; prints nothing if empty."""
        if message:
            self._errors.print(message, style="yellow", markup=False)

    def remedy(self, message: str) -> None:
        """What to do about an error."""
        self._errors.print(message, markup=False)

    def stop(self, message: str, code: int) -> NoReturn:
        """End the command with an error and an exit code."""
        self.error(message)
        sys.exit(code)

    def lines(self, lines: Iterable[str], style: str | None = None) -> None:
        """Lines exactly as they are; a terminal that is too narrow breaks them anywhere."""
        for line in lines:
            self.output.print(line, style=style, markup=False)

    def advice(self, lines: Iterable[str]) -> None:
        """What to do next, which --quiet leaves out."""
        if not self.is_quiet:
            self.lines(lines)

    def table(
        self, rows: Iterable[Iterable[str]], title: str = "", headings: Iterable[str] = ()
    ) -> None:
        """Columns without borders."""
        table = Table(
            *headings,
            title=title,
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
            show_header=bool(headings),
        )
        for row in rows:
            table.add_row(*row)
        self.output.print(table)

    def fitted(self, line: str) -> None:
        """A line broken between words to fit a terminal; what goes on below is indented."""
        self.lines(self.rows(line) if self.output.is_terminal else [line])

    def rows(self, line: str) -> list[str]:
        """The rows that a line takes on a terminal of this width."""
        words = line.lstrip()
        margin = " " * (len(line) - len(words))
        width = max(1, self.output.width - len(margin) - len(_CONTINUED))
        first, *rest = Text(words).wrap(self.output, width) or [Text()]
        continued = (f"{margin}{_CONTINUED}{row.plain.rstrip()}" for row in rest)
        return [f"{margin}{first.plain.rstrip()}", *continued]
