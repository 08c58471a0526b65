"""Gather the failures of a run into as few lines as say everything, and print them."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from grader.judging.advice import advice_for
from grader.judging.comparison import listed
from grader.judging.diagnosis import Evidence
from grader.judging.failure_text import (
    TestFailure,
    awaited,
    details,
    explained,
    is_about_the_file,
    next_step,
    stub,
    told,
    unwritten_prerequisite,
    waits_for,
)
from grader.judging.trial import Trial
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line
from grader.observation.conditions import map_tensors
from grader.observation.kind import Kind
from grader.observation.learner_warnings import split
from grader.observation.record import MOST_PRINTED

_COLUMNS, _FOLD = 80, 17
"""A small screen: its columns, and the rows that are left of its 24 for what is wrong."""
_VALUES = 4
_WARNINGS = 20
PRINTED = "printed by the answer"
"""The section of a report that holds what the answer printed in a process of its own."""

_PRINTED = (PRINTED, "Captured stdout call", "Captured stderr call")
_MOST_LINES = 1_000
"""Lines of what an answer printed in one test that are shown."""


def diagnosed(failure: TestFailure, trial: Trial) -> TestFailure:
    """The failure with all that the trial knows of it: its functions, the mistakes behind it."""
    mistakes = trial.diagnosis.named(failure.test)
    evidence = trial.diagnosis.last(failure.test)
    return dataclasses.replace(
        failure,
        mistakes=tuple(m.sentence for m in mistakes),
        functions=tuple(dict.fromkeys(_functions(failure, evidence))),
        inputs=tuple(_inputs(evidence)) if evidence else (),
    )


def _functions(failure: TestFailure, evidence: Evidence | None) -> Iterator[str]:
    """Where it broke, from the inside out, then what the scenario asked for, the last first."""
    interruption = failure.finding.interruption
    for frame in reversed(interruption.frames if interruption else ()):
        name = frame.function.partition(".<locals>")[0]
        if name and not name.startswith("<"):
            yield name
    for call in reversed(evidence.seen.calls if evidence else ()):
        yield call.name


def _inputs(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Every input of a run by its name, with its dtype, shape and first values."""
    for name, value in evidence.request.inputs.items():
        tensors: list[tuple[str, str]] = []

        def note(name: str, tensor: Tensor, tensors: list[tuple[str, str]] = tensors) -> Tensor:
            tensors.append((name, _described(tensor)))
            return tensor

        map_tensors(note, value, name)
        yield from tensors or [(name, repr(value)[:_COLUMNS])]


def _described(tensor: Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    first = tensor.flatten()[:_VALUES].tolist()
    values = ", ".join(str(n) if isinstance(n, int) else f"{n:.4g}" for n in first)
    more = ", …" if tensor.numel() > _VALUES else ""
    return f"{dtype} {list(tensor.shape)}: {values}{more}"


def printed_lines(printed: str) -> list[str]:
    """What an answer printed in a process of its own, safe to show, and not without end."""
    lines = printed[:MOST_PRINTED].splitlines()
    shown = [sanitize_line(line) for line in lines[:_MOST_LINES]]
    if len(printed) > MOST_PRINTED or len(lines) > _MOST_LINES:
        shown.append(say("summary.printed_cut", characters=MOST_PRINTED, lines=_MOST_LINES))
    return shown


def print_failures(terminal: Any, reports: Sequence[Any], trials: Mapping[str, Trial]) -> None:
    """What is left to do in each exercise; a file that nothing can be run of takes one message."""
    failures = [report.course_failure for report in reports]
    passed = [report.nodeid for report in terminal.stats.get("passed", [])]
    verbose = terminal.config.option.verbose > 0
    if terminal.config.option.showcapture != "no":
        _print_captured(terminal, reports)
    _section(terminal, say("summary.left_to_do"))
    for exercise in dict.fromkeys(failure.exercise for failure in failures):
        mine = [failure for failure in failures if failure.exercise == exercise]
        test_file = mine[0].test.partition("::")[0]
        nothing_passed = not any(f"/{test_file}::" in f"/{nodeid}" for nodeid in passed)
        for line in block(mine, trials[exercise], nothing_passed=nothing_passed, verbose=verbose):
            terminal.write_line(line, red=not line.startswith(" "))


def block(
    failures: Sequence[TestFailure], trial: Trial, *, nothing_passed: bool, verbose: bool = False
) -> Iterator[str]:
    """The failures of one exercise: each named mistake, what else is wrong, what to do next.

    Of what fails alike one example is shown. So much is said as a small screen holds, with
    `verbose` all of it, and the inputs of the examples.
    """
    first = failures[0]
    nothing_written = all(f.finding.kind is Kind.NOT_IMPLEMENTED for f in failures)
    if nothing_passed and nothing_written and not unwritten_prerequisite(first):
        yield say(
            "summary.nothing_implemented",
            exercise=first.exercise,
            stub=stub(first),
            waiting=_tests_wait(len(failures)),
            short=first.short,
        )
        return
    yield from findings(failures, trial, math.inf if verbose else _FOLD, verbose=verbose)
    about_file = [f for f in failures if is_about_the_file(f.finding)]
    yield next_step((about_file or failures)[0])


def findings(
    failures: Sequence[TestFailure], trial: Trial, rows: float = math.inf, *, verbose: bool = False
) -> Iterator[str]:
    """What is wrong, in about so many rows, and what is not there yet."""
    for failure in failures:
        if is_about_the_file(failure.finding):
            yield from told(failure)
            return
    wrong = [diagnosed(f, trial) for f in failures if waits_for(f) is None]
    waiting = [sanitize_line(line) for line in _waiting([f for f in failures if waits_for(f)])]
    yield from _fitted(_gathered(wrong), rows - sum(map(_rows, waiting)), verbose)
    yield from waiting


def _gathered(failures: Iterable[TestFailure]) -> list[list[TestFailure]]:
    """Failures that are alike in one list; first those whose cause is known."""
    groups: defaultdict[tuple[object, ...], list[TestFailure]] = defaultdict(list)
    for failure in failures:
        groups[_likeness(failure)].append(failure)
    return sorted(groups.values(), key=lambda alike: _clearness(alike[0]))


def _clearness(failure: TestFailure) -> int:
    """How surely a failure's cause is known: the less, the surer."""
    if failure.mistakes:
        return 0
    if failure.finding.kind in (Kind.MODIFIED, Kind.DISTURBED):
        return 1  # what was touched is said, and other numbers may well come of it
    interruption = failure.finding.interruption
    advice = advice_for(interruption) if interruption else None
    return 1 if advice and not advice.message else 2


def _likeness(failure: TestFailure) -> tuple[object, ...]:
    """Equal for failures with the same mistakes behind them; else for those of a kind that happen
    at the same line, whatever the sizes, or to the same function where no line is known."""
    if failure.mistakes:
        return failure.mistakes
    finding, interruption = failure.finding, failure.finding.interruption
    broke_on_it = interruption and interruption.kind is Kind.UNUSABLE and finding.lines
    if finding.kind is Kind.TYPE or broke_on_it:
        return ("a call returned something of another kind",)
    if interruption is None:
        text = finding.lines if finding.kind in (Kind.PROPERTY, Kind.PLAIN_VALUE) else ()
        return (finding.kind, failure.function, *text)
    if interruption.frames:
        frame = interruption.frames[-1]
        return (interruption.kind, interruption.type_name, frame.path, frame.line)
    advice = advice_for(interruption)
    why = advice.key if advice else _words(interruption.message)
    return (interruption.kind, interruption.type_name, why)


def _words(message: str) -> str:
    return re.sub(r"\d+", "#", message)


def _fitted(groups: Sequence[Sequence[TestFailure]], rows: float, verbose: bool) -> Iterator[str]:
    """One example of each group, as long as they fit into some rows; the first one always."""
    for place, alike in enumerate(groups):
        lines = list(_example(alike, verbose))
        rows -= sum(map(_rows, lines))
        if place and rows < 0:
            count = sum(map(len, groups[place:]))
            one = count == 1
            yield say("summary.fails_too") if one else say("summary.fail_too", count=count)
            return
        yield from lines


def _rows(line: str) -> int:
    """How many rows of a small screen a line takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in line)
    return -(-(len(line) + wide) // _COLUMNS) or 1


def _example(alike: Sequence[TestFailure], verbose: bool) -> Iterator[str]:
    """What some failures have in common, and the first of them."""
    first, *others = alike
    lines = told(first)
    if verbose:
        lines += details(first)
    if first.mistakes:
        yield f"{first.exercise} · {explained(first.mistakes, first.finding.kind)}"
        title, *lines = lines
        lines = [title.removeprefix(f"{first.exercise} · "), *lines]
        lines = [f"  {line}" for line in lines]
    yield from lines
    if len(others) == 1:
        yield say("summary.alike_one")
    elif others:
        yield say("summary.alike", count=len(others))


def _waiting(failures: Sequence[TestFailure]) -> Iterator[str]:
    """What tests wait for: the first of each kind in a line of its own, the others by name."""
    for kind in dict.fromkeys(failure.finding.kind for failure in failures):
        alike = [failure for failure in failures if failure.finding.kind == kind]
        first, names = alike[0], [waits_for(failure) for failure in alike]
        later = [failure for failure, name in zip(alike, names, strict=True) if name != names[0]]
        waiting = _tests_wait(len(alike) - len(later))
        yield say("summary.waits_for", exercise=first.exercise, what=names[0], waiting=waiting)
        if later:
            others = listed(list(dict.fromkeys(map(awaited, later))))
            yield say("summary.then", names=others, waiting=_tests_wait(len(later)))


def _tests_wait(count: int) -> str:
    return say("summary.test_waits") if count == 1 else say("summary.tests_wait", count=count)


def _section(terminal: Any, title: str, sep: str = "=") -> None:
    """A rule with a title in it; pytest takes every character for one column wide."""
    terminal.ensure_newline()
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in title)
    width = terminal.config.get_terminal_writer().fullwidth
    terminal.section(title, sep=sep, fullwidth=width - wide)


def print_warnings(terminal: Any, root: Path) -> None:
    """The warnings that answers caused, in tests that passed too, each once."""
    reports = [*terminal.stats.get("passed", []), *terminal.stats.get("failed", [])]
    found = dict.fromkeys(line for report in reports for line in split(_printed(report))[0])
    if found:
        _section(terminal, say("summary.warnings"))
    for line in list(found)[:_WARNINGS]:
        terminal.write_line(sanitize_line(line.removeprefix(f"{root}{os.sep}")), yellow=True)


def _printed(report: Any) -> str:
    """What an answer printed in a test, in both modes."""
    texts = (text for title, text in report.sections if title in _PRINTED)
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)


def _print_captured(terminal: Any, reports: Sequence[Any]) -> None:
    """What the answer printed in tests that failed, above the verdicts, which stay in view."""
    already: set[str] = set()
    for report in reports:
        printed = split(_printed(report))[1].strip("\n")
        if printed.strip() and printed not in already:
            already.add(printed)
            test = report.nodeid.rpartition("::")[2]
            _section(terminal, say("summary.printed", test=test), sep="-")
            terminal.write_line(printed.rstrip())
