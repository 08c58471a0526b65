"""Gather the failures of a run into as few lines as say everything, and print them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grader.messages import Failure, is_about_the_file, not_implemented, render
from grader.trial import Trial

_NAMED_TOGETHER = 2


def diagnosed(failure: Failure, trial: Trial) -> Failure:
    """The failure with the sentences of the mistakes that explain everything seen.

    Nothing is said of a stub, and nothing where more than two mistakes would do: then too little
    was seen to name one.
    """
    trouble = failure.finding.trouble
    if trouble is not None and (trouble.kind == "not implemented" or trouble.at_load):
        return failure
    candidates = trial.diagnosis.candidates()
    if not 0 < len(candidates) <= _NAMED_TOGETHER:
        return failure
    return dataclasses.replace(failure, mistakes=tuple(c.sentence for c in candidates))


def print_failures(terminal: Any, reports: Sequence[Any], trials: Mapping[str, Trial]) -> None:
    """One block per failure; one line for a file that is untouched, unreadable or missing."""
    failures = [report.course_failure for report in reports]
    passed = [report.nodeid for report in terminal.stats.get("passed", [])]
    terminal.section("what is left to do")
    for exercise in dict.fromkeys(failure.exercise for failure in failures):
        mine = [failure for failure in failures if failure.exercise == exercise]
        test_file = mine[0].test.partition("::")[0]
        nothing_passed = not any(f"/{test_file}::" in f"/{nodeid}" for nodeid in passed)
        for lines in blocks(mine, trials[exercise], nothing_passed=nothing_passed):
            terminal.write_line(lines[0], red=True)
            for line in lines[1:]:
                terminal.write_line(line)
    if any(report.sections for report in reports):
        _print_captured(terminal, reports)


def blocks(
    failures: Sequence[Failure], trial: Trial, *, nothing_passed: bool
) -> Iterator[list[str]]:
    """The failures of one exercise as blocks of lines."""
    first = failures[0]
    stubs = [f for f in failures if f.finding.kind == "not implemented"]
    if len(stubs) == len(failures) and nothing_passed:
        yield [_untouched(first, len(failures))]
        return
    about_file = [failure for failure in failures if is_about_the_file(failure.finding)]
    if about_file:
        yield render(about_file[0])
        failures = [failure for failure in failures if not is_about_the_file(failure.finding)]
    for failure in failures:
        if failure.finding.kind != "not implemented":
            yield render(diagnosed(failure, trial))
    yield from _stubs_by_function(stubs)


def _untouched(first: Failure, count: int) -> str:
    trouble = first.finding.trouble
    assert trouble is not None
    if not trouble.frames:
        return f"{first.exercise} · nothing implemented yet: {trouble.message}"
    path = trouble.frames[-1].path
    name = Path(path).relative_to(first.root) if Path(path).is_relative_to(first.root) else path
    return (
        f"{first.exercise} · nothing implemented yet: open {name} and start with "
        f"{trouble.frames[-1].function} (line {trouble.frames[-1].line}); "
        f"{count} tests wait · next: grader hint {first.short}"
    )


def _stubs_by_function(stubs: Sequence[Failure]) -> Iterator[list[str]]:
    waiting: dict[str, list[Failure]] = {}
    for failure in stubs:
        waiting.setdefault(not_implemented(failure), []).append(failure)
    for what, failures in waiting.items():
        line = f"{failures[0].exercise} · {what}"
        if len(failures) > 1:
            line += f"; {len(failures)} tests wait for it"
        yield [line]


def _print_captured(terminal: Any, reports: Sequence[Any]) -> None:
    """What the answer printed, after the verdicts: once per test that failed."""
    for report in reports:
        for title, content in report.sections:
            if content.strip():
                terminal.section(f"{title} · {report.nodeid.rpartition('::')[2]}", sep="-")
                terminal.write_line(content.rstrip())
