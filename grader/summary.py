"""Gather the failures of a run into as few lines as say everything, and print them."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from grader.catalogue import say
from grader.harmless import harmless
from grader.messages import (
    Failure,
    explained,
    is_about_the_file,
    next_step,
    render,
    stub,
    told,
    waits_for,
)
from grader.observing import MOST_PRINTED
from grader.trial import Trial

PRINTED = "printed by the answer"
"""The section of a report that holds what the answer printed in a process of its own."""

_PRINTED = (PRINTED, "Captured stdout call", "Captured stderr call")
_MOST_LINES = 1_000
"""Lines of what an answer printed in one test that are shown."""


def diagnosed(failure: Failure, trial: Trial) -> Failure:
    """The failure with the sentences of the mistakes that explain it."""
    mistakes = trial.diagnosis.named(failure.test)
    return dataclasses.replace(failure, mistakes=tuple(m.sentence for m in mistakes))


def printed_lines(printed: str) -> list[str]:
    """What an answer printed in a process of its own, safe to show, and not without end."""
    lines = printed[:MOST_PRINTED].splitlines()
    shown = [harmless(line) for line in lines[:_MOST_LINES]]
    if len(printed) > MOST_PRINTED or len(lines) > _MOST_LINES:
        shown.append(say("summary.printed_cut", characters=MOST_PRINTED, lines=_MOST_LINES))
    return shown


def print_failures(terminal: Any, reports: Sequence[Any], trials: Mapping[str, Trial]) -> None:
    """What is left to do in each exercise; a file that nothing can be run of takes one message."""
    failures = [report.course_failure for report in reports]
    passed = [report.nodeid for report in terminal.stats.get("passed", [])]
    _section(terminal, say("summary.left_to_do"))
    for exercise in dict.fromkeys(failure.exercise for failure in failures):
        mine = [failure for failure in failures if failure.exercise == exercise]
        test_file = mine[0].test.partition("::")[0]
        nothing_passed = not any(f"/{test_file}::" in f"/{nodeid}" for nodeid in passed)
        for line in block(mine, trials[exercise], nothing_passed=nothing_passed):
            terminal.write_line(line, red=not line.startswith(" "))
    if terminal.config.option.showcapture != "no":
        _print_captured(terminal, reports)


def block(failures: Sequence[Failure], trial: Trial, *, nothing_passed: bool) -> Iterator[str]:
    """The failures of one exercise: what each says, each mistake once, and what to do next once."""
    first = failures[0]
    if nothing_passed and all(f.finding.kind == "not implemented" for f in failures):
        yield say(
            "summary.nothing_implemented",
            exercise=first.exercise,
            stub=stub(first),
            waiting=_tests_wait(len(failures)),
            short=first.short,
        )
        return
    about_file = [f for f in failures if is_about_the_file(f.finding)]
    if about_file:
        yield from render(about_file[0])
        return
    wrong = [diagnosed(f, trial) for f in failures if waits_for(f) is None]
    for mistakes in dict.fromkeys(f.mistakes for f in wrong):
        alike = [f for f in wrong if f.mistakes == mistakes]
        yield from _gathered(map(told, alike))
        yield from explained(mistakes, len(alike))
    for what, count in Counter(filter(None, map(waits_for, failures))).items():
        waiting = _tests_wait(count)
        yield say("summary.waits_for", exercise=first.exercise, what=what, waiting=waiting)
    yield next_step(first)


def _gathered(messages: Iterable[Sequence[str]]) -> Iterator[str]:
    """Titles with what stands below them; what several have in common stands there once."""
    titles: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for title, *lines in messages:
        titles[tuple(lines)].append(title)
    for common, those in titles.items():
        yield from (*those, *common)


def _tests_wait(count: int) -> str:
    return say("summary.test_waits") if count == 1 else say("summary.tests_wait", count=count)


def _section(terminal: Any, title: str, sep: str = "=") -> None:
    """A rule with a title in it; pytest takes every character for one column wide."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in title)
    width = terminal.config.get_terminal_writer().fullwidth
    terminal.section(title, sep=sep, fullwidth=width - wide)


def _print_captured(terminal: Any, reports: Sequence[Any]) -> None:
    """What the answer printed, after the verdicts: once per test that failed, in both modes."""
    for report in reports:
        printed = "".join(text for title, text in report.sections if title in _PRINTED)
        if printed.strip():
            test = report.nodeid.rpartition("::")[2]
            _section(terminal, say("summary.printed", test=test), sep="-")
            terminal.write_line(printed.rstrip())
