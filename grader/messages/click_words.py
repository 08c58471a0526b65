"""Click's own words in the learner's language: "Usage", "Missing argument" and the like.

Click asks gettext for them, which follows only the locale and only knows catalogs that were
compiled. So the functions that click's modules ask are replaced; a text that the catalog lacks
stays English.
"""

from __future__ import annotations

import gettext
import sys
from collections.abc import Callable
from typing import Any

import click

from grader.messages.catalog import translated

_HELP = "Show this message and exit."


class Command(click.Command):
    """A command that explains --help in the language of the moment."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:  # click keeps it with the words that it had at first
            option.help = translated(f"click.{_HELP}", _HELP)
        return option


def command(name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], Command]:
    """Makes a function a command of the grader, as `click.command` does."""
    return click.command(name, cls=Command, **options)


def teach_click() -> None:
    """Let click ask the course's catalog."""
    for name, module in list(sys.modules.items()):
        if name.startswith("click."):
            for function, replacement in (("_", _said), ("ngettext", _counted)):
                if hasattr(module, function):
                    setattr(module, function, replacement)


def _said(text: str) -> str:
    return translated(f"click.{text}", gettext.gettext(text))


def _counted(one: str, many: str, count: int) -> str:
    return translated(f"click.{many}", gettext.ngettext(one, many, count))
