"""The report worth looking at: one HTML file that needs nothing else, not even a script.

Everything that comes from a learner passes through `sanitize_line` and jinja2's escaping; the only
markup that is taken as it is are the pictures, which matplotlib made of numbers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.titles import exercise_title, part_plan, part_title, path_title
from grader.learner.report.portfolio import ExerciseRecord, Portfolio, state
from grader.messages.catalog import language, say, sentences
from grader.messages.quantities import duration, points
from grader.messages.sanitize import sanitize_line

if TYPE_CHECKING:
    from markupsafe import Markup

    from grader.learner.capstone.record import Run
    from grader.learner.report.pictures.picture import Picture

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


@dataclass(frozen=True)
class CapstonePage:
    """The model that a learner has trained, and the picture of its training."""

    title: str
    run: Run
    picture: Picture | None


def page(
    portfolio: Portfolio,
    pictures: Mapping[str, Picture],
    journey: Picture | None,
    capstone: CapstonePage | None = None,
    timed: Mapping[str, Picture] | None = None,
) -> str:
    """The whole HTML file; `pictures` are those of exercises by id, `timed` those of benchmarks."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["say"] = _say
    environment.filters |= {
        "attempts": attempt_bars,
        "duration": duration,
        "sanitize_line": sanitize_line,
        "moment": moment,
        "percent": percent,
        "plan": part_plan,
        "points": points,
        "state": state,
        "time": time_taken,
        "title": exercise_title,
        "title_of_part": part_title,
        "title_of_path": path_title,
    }
    return environment.get_template(TEMPLATE).render(
        portfolio=portfolio,
        pictures=pictures,
        timed=timed or {},
        journey=journey,
        capstone=capstone,
        policy=_POLICY,
    )


def _say(key: str, /, **values: object) -> Markup:
    """`say` for the template: what is put in is escaped, but for markup of the template's own."""
    from markupsafe import escape

    return escape(sentences(language())[key]).format(**values)


def attempt_bars(record: ExerciseRecord) -> Sequence[_Bar]:
    """The newest attempts, each as a bar as high as the part of the tests that passed."""
    bars = []
    for run in record.attempts[-_MOST_ATTEMPTS:]:
        share = run.passed / run.tests if run.tests else 0.0
        height = max(_LOWEST_BAR, min(100, round(100 * share)))
        label = say("html.attempt", when=moment(run.when), passed=run.passed, tests=run.tests)
        bars.append(_Bar(height, run.done, label))
    return bars


def percent(value: Fraction, whole: int) -> str:
    """A part of a whole as a width in CSS."""
    return f"{float(100 * value / whole) if whole else 0.0:.2f}%"


def time_taken(seconds: float) -> str:
    """Seconds in words: "less than a minute", "3 h 5 min"."""
    minutes = round(seconds / 60)
    return duration(minutes) if minutes else say("html.under_a_minute")


def moment(when: float) -> str:
    """A time on this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
