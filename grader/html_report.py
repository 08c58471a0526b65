"""The report worth looking at: one HTML file that needs nothing else, not even a script.

Everything that comes from a learner passes through `harmless` and jinja2's escaping; the only
markup that is taken as it is are the pictures, which matplotlib made of numbers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from grader.account import Account, Work, state
from grader.harmless import harmless
from grader.report import points

if TYPE_CHECKING:
    from grader.pictures.painting import Picture

TEMPLATE = "report.html"
NEEDED = ("jinja2", "matplotlib")
"""Modules of the extra `report`."""

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_ATTEMPTS = 48
_LOWEST_BAR = 8
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing. A script would not run even if there were one."""


@dataclass(frozen=True)
class _Bar:
    """One attempt: how many per cent of the tests passed, and whether that was all of them."""

    height: int
    done: bool
    label: str


def page(account: Account, pictures: Mapping[str, Picture], journey: Picture | None) -> str:
    """The whole HTML file; `pictures` are those of exercises by id."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "attempts": attempt_bars,
        "duration": duration,
        "harmless": harmless,
        "moment": moment,
        "percent": percent,
        "points": points,
        "state": state,
    }
    return environment.get_template(TEMPLATE).render(
        account=account, pictures=pictures, journey=journey, policy=_POLICY
    )


def attempt_bars(work: Work) -> Sequence[_Bar]:
    """The newest attempts, each as a bar as high as the part of the tests that passed."""
    bars = []
    for run in work.attempts[-_MOST_ATTEMPTS:]:
        share = run.passed / run.tests if run.tests else 0.0
        height = max(_LOWEST_BAR, min(100, round(100 * share)))
        bars.append(_Bar(height, run.done, f"{moment(run.when)}: {run.passed} of {run.tests}"))
    return bars


def percent(value: Fraction, whole: int) -> str:
    """A part of a whole as a width in CSS."""
    return f"{float(100 * value / whole) if whole else 0.0:.2f}%"


def duration(seconds: float) -> str:
    """ "less than a minute", "12 min", "3 h 5 min"."""
    minutes = round(seconds / 60)
    if minutes == 0:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def moment(when: float) -> str:
    """A time on this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
