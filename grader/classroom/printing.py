"""What the instructor's commands print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from grader.messages.catalog import say
from grader.messages.console import Console
from grader.messages.quantities import points

if TYPE_CHECKING:
    from grader.classroom.grade import Grade
    from grader.isolation.machine import Mechanism


def grade(console: Console, grade: Grade) -> None:
    """A submission's points, and the verdict of each test that did not pass."""
    sentence = say(
        "report.grade",
        submission=grade.submission,
        points=points(grade.earned),
        possible=grade.points,
        profile=grade.profile,
        seed=grade.seed,
    )
    console.lines([sentence])
    for result in grade.results:
        name, earned = result.exercise, points(grade.earned_in(result))
        sentence = (
            say("report.mark", exercise=name, points=earned, possible=result.points)
            if result.is_graded
            else say("report.mark_not_graded", exercise=name)
        )
        console.lines([sentence])
        console.lines(say("report.flag", flag=flag) for flag in result.flags)
        console.lines(f"  {line.removeprefix(f'{name} · ')}" for line in result.lines)


def doctor(console: Console, profile: str, mechanisms: Iterable[Mechanism]) -> None:
    """What isolation rests on here, and the strongest profile that this machine offers."""
    headings = (
        say("report.mechanism"),
        say("report.here"),
        say("report.needed_for"),
        say("report.detail"),
    )
    rows = (
        (
            mechanism.name,
            say("report.available") if mechanism.available else say("report.unavailable"),
            mechanism.needed_for,
            mechanism.detail,
        )
        for mechanism in mechanisms
    )
    console.table(rows, headings=headings)
    console.lines([say("report.profile", profile=profile)])
    if profile == "process":
        console.lines([say("report.only_a_process"), say("report.only_a_process_next")])
