"""The sentences a learner reads. Pure: findings in, lines out; nothing is printed here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.comparing import Finding
from grader.observing import Frame, Trouble

_FRAMES = 4
_MESSAGE_LINES = 3


@dataclass(frozen=True)
class Failure:
    """One failed test with everything that its message needs.

    `sentence` is the test's docstring, `mistakes` the sentences of the mistakes that explain all
    that was seen.
    """

    exercise: str
    test: str
    sentence: str
    finding: Finding
    mistakes: tuple[str, ...] = ()
    seconds: float = 0.0
    root: Path = Path()

    @property
    def short(self) -> str:
        """The exercise as a learner types it."""
        return self.exercise.partition("_")[0]


def render(failure: Failure) -> list[str]:
    """A failed test in a few lines, the first of which says which and what it is about."""
    trouble = failure.finding.trouble
    if trouble is None:
        return [_title(failure), *_indented(failure.finding.lines), *_advice(failure)]
    if trouble.kind == "not implemented":
        return [f"{failure.exercise} · {failure.sentence}: {not_implemented(failure)}"]
    if trouble.kind == "no file":
        return [f"{failure.exercise} · not implemented: {trouble.message}"]
    if trouble.at_load:
        return [f"{failure.exercise} · {_loading(trouble, failure)}", *_told(trouble, failure)]
    return [_title(failure), *_told(trouble, failure), *_advice(failure)]


def not_implemented(failure: Failure) -> str:
    """Which function is still a stub, and where."""
    trouble = failure.finding.trouble
    assert trouble is not None
    frame = trouble.frames[-1]
    what = f"{frame.function} is not implemented yet ({_where(frame, failure)})"
    if Path(frame.path).stem not in (failure.exercise, failure.exercise.partition("_")[2]):
        what = f"prerequisite {Path(frame.path).stem}: {what}"
    return what


def is_about_the_file(finding: Finding) -> bool:
    """Whether every test of the file fails for the same reason, so that one message is enough."""
    return finding.trouble is not None and (
        finding.trouble.at_load or finding.trouble.kind == "no file"
    )


def _title(failure: Failure) -> str:
    return f"{failure.exercise} · {failure.sentence}"


def _loading(trouble: Trouble, failure: Failure) -> str:
    name = f"{failure.exercise}.py"
    if trouble.kind == "syntax":
        return f"{name} is not valid Python"
    if trouble.kind == "forbidden import":
        return f"{name} imports what it may not"
    if trouble.kind == "timed out":
        return f"{name} was still being imported after {failure.seconds:g} s"
    return f"{name} cannot be imported"


def _told(trouble: Trouble, failure: Failure) -> list[str]:
    """What went wrong, then the learner's own frames and nothing of ours."""
    last = trouble.frames[-1] if trouble.frames else None
    if trouble.kind == "missing":
        return [
            f"  {trouble.message} is missing: define it in {failure.exercise}.py, as the stub does"
        ]
    if trouble.kind == "timed out":
        line = f"  still running after {failure.seconds:g} s: is there a loop that never ends?"
        return [line, *_frame(last, failure)]
    if trouble.kind == "recursion":
        name = last.function if last else "a function"
        return [f"  {name} calls itself without end", *_frame(last, failure)]
    if trouble.kind == "exited":
        how = trouble.type_name or f"exit code {trouble.message}"
        return [f"  the answer ended the program ({how})", *_frame(last, failure)]
    if trouble.kind == "crashed":
        return [f"  the answer crashed its process ({trouble.type_name})"]
    if trouble.kind == "protocol":
        return [f"  the answer disturbed the worker's stream: {trouble.message}"]
    if trouble.kind == "unusable" and failure.finding.lines:
        return _indented(failure.finding.lines)
    if trouble.kind == "forbidden import":
        return [f"  {_shortened(trouble.message, failure)}"]
    if trouble.kind == "syntax":
        return [*_frame(last, failure), f"  {trouble.type_name}: {trouble.message}"]
    lines = trouble.message.splitlines()[:_MESSAGE_LINES] or [""]
    when = " (in the backward pass)" if trouble.in_backward else ""
    told = [f"  {trouble.type_name}: {lines[0]}{when}".rstrip(": "), *_indented(lines[1:], 4)]
    for frame in trouble.frames[-_FRAMES:]:
        told += _frame(frame, failure)
    return told


def _frame(frame: Frame | None, failure: Failure) -> list[str]:
    if frame is None:
        return []
    place = f"    {_where(frame, failure)}"
    if frame.function and frame.function != "<module>":
        place += f" in {frame.function}"
    return [place, *(f"      {line}" for line in frame.text.splitlines())]


def _where(frame: Frame, failure: Failure) -> str:
    return f"{_relative(frame.path, failure)}:{frame.line}"


def _relative(path: str, failure: Failure) -> str:
    try:
        return (
            Path(os.path.relpath(path, failure.root)).as_posix()
            if (Path(path).is_relative_to(failure.root))
            else path
        )
    except ValueError:  # another drive on Windows
        return path


def _shortened(text: str, failure: Failure) -> str:
    return text.replace(f"{failure.root}{os.sep}", "")


def _advice(failure: Failure) -> list[str]:
    lines = []
    if failure.mistakes:
        lines.append(
            f"  this is exactly what comes out when {' — or when '.join(failure.mistakes)}"
        )
    lines.append(f"  next: grader hint {failure.short}")
    return lines


def _indented(lines: Sequence[str], by: int = 2) -> list[str]:
    return [" " * by + line for line in lines]
