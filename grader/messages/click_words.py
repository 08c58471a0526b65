"""Click's own words in the learner's language: "Usage", "Missing argument" and the like.

Click asks gettext for them, which knows the locale alone and only catalogues that were compiled. So
what its modules ask is replaced; a text that the catalogue lacks stays English.
"""

from __future__ import annotations

import gettext
import sys

from grader.messages.catalog import translated


def teach_click() -> None:
    """Let click ask the course's catalogue."""
    for name, module in list(sys.modules.items()):
        if name.startswith("click."):
            for asked, answer in (("_", _said), ("ngettext", _counted)):
                if hasattr(module, asked):
                    setattr(module, asked, answer)


def _said(text: str) -> str:
    return translated(f"click.{text}", gettext.gettext(text))


def _counted(one: str, many: str, count: int) -> str:
    return translated(f"click.{many}", gettext.ngettext(one, many, count))
