"""The sentences a learner reads. Pure: findings in, lines out; nothing is printed here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.judging.advice import advice_for
from grader.judging.comparison import Finding
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line
from grader.observation.context import IN_PLACE, MEANT, SHAPES, facts
from grader.observation.deadline import BACKSTOP
from grader.observation.kind import Kind
from grader.observation.record import Frame, Interruption

_FRAMES = 2
_MESSAGE_LINES = 2
_LONGEST = 200
"""Characters of a line that is the answer's or torch's own."""
_MOST_INPUTS = 10
_MOST_LINES = 4
_DEFINING = ("class ", "def ", "async def ", "@")
"""How lines at the top level begin that belong there."""
_NUMBERS = (Kind.VALUE, Kind.NOT_FINITE)
"""Kinds of findings about numbers that an answer returns."""


@dataclass(frozen=True)
class TestFailure:
    """One failed test with everything that its message needs.

    `sentence` is the test's docstring, `mistakes` the sentences of the mistakes that explain all
    that was seen. `functions` are those of the answer that it is about, the likeliest first.
    `inputs` are the names of the inputs that it failed with and what they are, `seed` the run's.
    """

    __test__ = False  # for pytest this is no test

    exercise: str
    test: str
    sentence: str
    finding: Finding
    mistakes: tuple[str, ...] = ()
    seconds: float = 0.0
    root: Path = Path()
    functions: tuple[str, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    seed: int | None = None

    @property
    def short(self) -> str:
        """The exercise as a learner types it."""
        return self.exercise.partition("_")[0]

    @property
    def function(self) -> str:
        """The function or method that the failure is about; empty where none is known."""
        return self.functions[0] if self.functions else ""


def render(failure: TestFailure) -> list[str]:
    """A failed test by itself: what is wrong, which mistake it is if one is known, what is next."""
    lines = told(failure)
    if failure.mistakes:
        lines.append(f"  {explained(failure.mistakes, failure.finding.kind)}")
    return [*lines, next_step(failure)]


def told(failure: TestFailure) -> list[str]:
    """What is wrong, in a few lines, the first of which says which test and what it is about.

    Much of it is the answer's own text, which must not act where it is shown.
    """
    return [sanitize_line(line) for line in _told(failure)]


def _told(failure: TestFailure) -> list[str]:
    interruption = failure.finding.interruption
    condition = failure.finding.condition
    if interruption is None:
        lines = _indented(failure.finding.lines)
        if condition:
            lines = [f"  {say('conditions.differs', where=condition)}", *lines]
        return [_title(failure), *lines]
    if waiting := waits_for(failure):
        return [_title(failure), f"  {waiting}"]
    if interruption.kind is Kind.NO_FILE:
        why = _shortened(interruption.message, failure)
        return [say("messages.nothing_to_test", exercise=failure.exercise, why=why)]
    if interruption.at_load:
        return [
            f"{failure.exercise} · {_loading(interruption, failure)}",
            *_at_load(interruption, failure),
        ]
    lines = list(_interruption(interruption, failure))
    if condition:
        lines = [f"  {say('conditions.raises', where=condition)}", *lines]
    return [_title(failure), *lines]


def explained(mistakes: Sequence[str], kind: Kind) -> str:
    """The sentence that names the mistakes behind a failure of a kind."""
    together = say("messages.or_if").join(mistakes)
    if kind in _NUMBERS:
        return say("messages.explained_numbers", mistakes=together)
    return say("messages.explained", mistakes=together)


def details(failure: TestFailure) -> list[str]:
    """What it takes to see a failure again: the inputs of the run that failed, and the seed."""
    lines = [f"    {name} = {value}" for name, value in failure.inputs[:_MOST_INPUTS]]
    if len(failure.inputs) > _MOST_INPUTS:
        lines.append(say("messages.more_inputs", count=len(failure.inputs) - _MOST_INPUTS))
    if failure.seed is not None:
        lines.append(say("messages.seed", seed=failure.seed))
    return [sanitize_line(line) for line in lines]


def next_step(failure: TestFailure) -> str:
    """What to do about it."""
    if failure.finding.kind is Kind.NO_FILE:
        return say("messages.next_no_file")
    if is_about_the_file(failure.finding):
        return say("messages.next_fix_first")
    waits = failure.finding.kind is Kind.NOT_IMPLEMENTED
    earlier = unwritten_prerequisite(failure) if waits else None
    return say("messages.next_hint", short=(earlier or failure.exercise).partition("_")[0])


def waits_for(failure: TestFailure) -> str | None:
    """What has to be there before the test can say anything, in words; None if it has spoken."""
    interruption = failure.finding.interruption
    if interruption is None:
        return None
    match interruption.kind:
        case Kind.NOT_IMPLEMENTED:
            return say("messages.not_implemented", stub=stub(failure))
        case Kind.MISSING:
            name = interruption.message
            missing = say("messages.missing", name=name, exercise=failure.exercise)
            alike = facts(interruption.context, MEANT)
            return missing + (say("messages.misspelt", name=alike[0]) if alike else "")
        case Kind.NOT_GRADED:
            return say("messages.not_graded", why=interruption.message)
        case Kind.OUT_OF_TIME:
            return say("messages.out_of_time")
    return None


def stub(failure: TestFailure) -> str:
    """Which function is still a stub, and where."""
    interruption = failure.finding.interruption
    assert interruption is not None
    frame = interruption.frames[-1]
    what = f"{awaited(failure)} ({_where(frame, failure)})"
    return say("messages.prerequisite", what=what) if unwritten_prerequisite(failure) else what


def unwritten_prerequisite(failure: TestFailure) -> str | None:
    """The earlier exercise whose stub a test waits for; None if it is one of its own."""
    interruption = failure.finding.interruption
    assert interruption is not None
    name = Path(interruption.frames[-1].path).stem if interruption.frames else failure.exercise
    return None if name in (failure.exercise, failure.exercise.partition("_")[2]) else name


def awaited(failure: TestFailure) -> str:
    """The function that is still a stub, or the name that is missing."""
    interruption = failure.finding.interruption
    assert interruption is not None
    return interruption.frames[-1].function if interruption.frames else interruption.message


def is_about_the_file(finding: Finding) -> bool:
    """Whether every test of the file fails for the same reason, so that one message is enough."""
    interruption = finding.interruption
    return interruption is not None and (interruption.at_load or interruption.kind.about_the_file)


def _title(failure: TestFailure) -> str:
    return f"{failure.exercise} · {failure.sentence}"


def _loading(interruption: Interruption, failure: TestFailure) -> str:
    name = f"{failure.exercise}.py"
    match interruption.kind:
        case Kind.SYNTAX:
            return say("messages.not_python", name=name)
        case Kind.FORBIDDEN_IMPORT:
            return say("messages.forbidden_import", name=name)
        case Kind.TIMED_OUT:
            return say("messages.import_timed_out", name=name, seconds=failure.seconds)
    return say("messages.cannot_import", name=name)


def _interruption(interruption: Interruption, failure: TestFailure) -> list[str]:
    """What went wrong, then the learner's own frames and nothing of ours."""
    kind, error, message = interruption.kind, interruption.type_name, interruption.message
    last = interruption.frames[-1] if interruption.frames else None
    if kind is Kind.UNUSABLE and failure.finding.lines:
        return _indented(failure.finding.lines)
    match kind:
        case Kind.CRASHED:
            return [say("messages.crashed", how=error)]
        case Kind.PROTOCOL:
            return [say("messages.protocol", why=message)]
        case Kind.FORBIDDEN_IMPORT:
            return [f"  {_shortened(message, failure)}"]
        case Kind.SYNTAX:
            return [f"  {error}: {message}", *_marked(last, failure)]
        case Kind.TIMED_OUT:
            what = _out_of_time(interruption.how, failure.seconds)
        case Kind.OUT_OF_MEMORY:
            what = say("messages.out_of_memory")
        case Kind.FORBIDDEN:
            what = say("messages.forbidden", error=error, message=message)
        case Kind.RECURSION:
            name = last.function if last else say("messages.a_function")
            what = say("messages.recursion", name=name)
        case Kind.EXITED:
            how = error or say("messages.exit_code", code=message)
            what = say("messages.exited", how=how)
        case _:
            frames = _frames(interruption.frames[-_FRAMES:], interruption, failure)
            return [*_said(interruption, failure), *frames]
    return [what, *_frame(last, failure)]


def _said(interruption: Interruption, failure: TestFailure) -> Iterator[str]:
    """An error's own words, as far as they help, and what to do where no mistake says it."""
    advice = advice_for(interruption)
    message = advice.message if advice else interruption.message
    first, *more = message.splitlines()[:_MESSAGE_LINES] or [""]
    if message or not advice:
        when = say("messages.in_backward") if interruption.in_backward else ""
        yield f"  {interruption.type_name}: {_cut(first)}".rstrip(": ") + when
    yield from _indented(map(_cut, more), 4)
    if advice and not (message and failure.mistakes):
        yield from _indented(advice.lines)


def _frames(
    frames: Sequence[Frame], interruption: Interruption, failure: TestFailure
) -> Iterator[str]:
    """Lines of the answer, the innermost with the shapes of what stands in it."""
    for frame in frames:
        yield from _frame(frame, failure)
    for shapes in facts(interruption.context, SHAPES)[:1]:
        yield f"      {say('messages.shapes', shapes=shapes)}"
    for line in facts(interruption.context, IN_PLACE)[:_MOST_LINES]:
        yield f"    {_cut(_shortened(line, failure))}"


def _at_load(interruption: Interruption, failure: TestFailure) -> Iterator[str]:
    """What went wrong while the file was imported, and the line of it that set that off."""
    top, *below = interruption.frames or (None,)
    if top is None or not below or top.text.startswith(_DEFINING):
        yield from _interruption(interruption, failure)
        return
    place = _where(top, failure)
    if interruption.type_name == "NotImplementedError":
        yield say("messages.calls_stub", place=place, name=below[-1].function)
        yield from _frame(top, failure)
    else:
        yield say("messages.calls", place=place, name=below[0].function)
        yield from _interruption(interruption, failure)


def _out_of_time(how: str, seconds: float) -> str:
    if how == "too slow":
        return say("messages.too_slow", seconds=seconds)
    if how == "waiting":
        return say("messages.waiting", seconds=seconds * BACKSTOP)
    return say("messages.timed_out", seconds=seconds)


def _frame(frame: Frame | None, failure: TestFailure) -> list[str]:
    if frame is None:
        return []
    place = f"    {_where(frame, failure)}"
    if frame.function and frame.function != "<module>":
        place += f" in {frame.function}"
    return [f"{place}: {_cut(frame.text)}" if frame.text else place]


def _marked(frame: Frame | None, failure: TestFailure) -> list[str]:
    """The place of a syntax error, its text and the caret under it."""
    if frame is None:
        return []
    return [f"    {_where(frame, failure)}", *_indented(frame.text.splitlines(), 6)]


def _where(frame: Frame, failure: TestFailure) -> str:
    return f"{_relative(frame.path, failure)}:{frame.line}"


def _relative(path: str, failure: TestFailure) -> str:
    if Path(path).is_relative_to(failure.root):
        return Path(path).relative_to(failure.root).as_posix()
    return path


def _shortened(text: str, failure: TestFailure) -> str:
    return text.replace(f"{failure.root}{os.sep}", "")


def _cut(line: str) -> str:
    """A line that is no longer than anybody reads."""
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


def _indented(lines: Iterable[str], by: int = 2) -> list[str]:
    return [" " * by + line for line in lines]
