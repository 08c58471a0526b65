"""The terminal of `grader watch`: two lines above, the page, and two lines below it."""

from __future__ import annotations

import os
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.text import Text

from grader.learner.watch import pages
from grader.learner.watch.session import Session
from grader.messages.catalog import say

_WIDEST_LESSON = 100
_Lines = list[list[Segment]]


class Screen:
    """Shows a session on the terminal's other screen, and leaves the first one as it was."""

    def __init__(self) -> None:
        # Some shells export the size that the terminal had when they were started.
        unsized = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self._console = Console(highlight=False, _environ=unsized)
        self._context = self._console.screen(hide_cursor=True)
        self._shown: tuple[int, int] = (0, 0)

    @property
    def is_terminal(self) -> bool:
        """Whether there is anything to draw on."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> Screen:
        self._context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.__exit__(kind, error, trace)

    @property
    def was_resized(self) -> bool:
        """Whether the terminal has another size than when it was drawn on last."""
        return self._shown != (self._console.width, self._console.height)

    def draw(self, session: Session) -> None:
        """Show the session as it is now."""
        width, height = self._shown = self._console.width, self._console.height
        above = [*self._set(pages.header(session)), *self._set(pages.title(session))]
        above += self._set("")
        below = [*self._set(pages.status(session)), *self._set(_key_line(session, width))]
        rows = max(1, height - len(above) - len(below) - 1)
        page = self._set(pages.body(session), _WIDEST_LESSON)
        shown = _window(page, rows, session)
        shown += [*self._set("")] * (rows - len(shown))
        lines = [*above, *shown, *self._set(self._place(session, page)), *below]
        self._console.update_screen_lines(lines[:height])

    def _set(self, content: RenderableType, widest: int = 10_000) -> _Lines:
        """Content as lines as wide as the terminal, set no wider than it can be read."""
        width = self._console.width
        options = self._console.options.update(width=min(width, widest), height=None)
        lines = self._console.render_lines(content, options)
        return [Segment.adjust_line_length(line, width) for line in lines]

    def _place(self, session: Session, page: _Lines) -> Text:
        """Which part of a page is shown that is longer than the screen."""
        last = session.offset + session.rows
        if session.offset == 0 and last >= len(page):
            return Text()
        first, last, count = session.offset + 1, min(last, len(page)), len(page)
        said = say("watch.lines", first=first, last=last, count=count)
        return Text(f"{said} · {say('watch.space')}" if last < count else said, "dim")


def _window(page: _Lines, rows: int, session: Session) -> _Lines:
    """The lines of a page that fit, from where the learner has scrolled to."""
    session.rows = rows
    focus = pages.focus(session)
    if focus is not None:
        session.offset = min(max(session.offset, focus - rows + 1), focus)
    session.offset = max(0, min(session.offset, len(page) - rows))
    return page[session.offset : session.offset + rows]


def _key_line(session: Session, width: int) -> Text:
    """The keys that fit into a line."""
    text = Text(no_wrap=True)
    for key, what in pages.keys(session):
        if text.cell_len + cell_len(f"  {key} {what}") > width:
            break
        text.append("  " if text else "")
        text.append(key, style="bold").append(f" {what}")
    return text
