"""The sentences a learner reads. Pure: findings in, lines out; nothing is printed here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.judging.advice import advice_for
from grader.judging.comparison import Finding
from grader.messages.catalog import say
from grader.messages.sanitize import harmless
from grader.observation.context import IN_PLACE, MEANT, SHAPES, facts
from grader.observation.deadline import BACKSTOP
from grader.observation.observe import Frame, Trouble

_FRAMES = 2
_MESSAGE_LINES = 2
_LONGEST = 200
"""Characters of a line that is the answer's or torch's own."""
_MOST_INPUTS = 10
_MOST_LINES = 4
_DEFINING = ("class ", "def ", "async def ", "@")
"""How lines at the top level begin that belong there."""
_NUMBERS = ("value", "not finite")
"""Kinds of findings that are about numbers."""


@dataclass(frozen=True)
class Failure:
    """One failed test with everything that its message needs.

    `sentence` is the test's docstring, `mistakes` the sentences of the mistakes that explain all
    that was seen. `functions` are those of the answer that it is about, the likeliest first.
    `inputs` are the names of the inputs that it failed with and what they are, `seed` the run's.
    """

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


def render(failure: Failure) -> list[str]:
    """A failed test by itself: what is wrong, which mistake it is if one is known, what is next."""
    lines = told(failure)
    if failure.mistakes:
        lines.append(f"  {explained(failure.mistakes, failure.finding.kind)}")
    return [*lines, next_step(failure)]


def told(failure: Failure) -> list[str]:
    """What is wrong, in a few lines, the first of which says which test and what it is about.

    Much of it is the answer's own text, which must not act where it is shown.
    """
    return [harmless(line) for line in _told(failure)]


def _told(failure: Failure) -> list[str]:
    trouble = failure.finding.trouble
    if trouble is None:
        return [_title(failure), *_indented(failure.finding.lines)]
    if waiting := waits_for(failure):
        return [_title(failure), f"  {waiting}"]
    if trouble.kind == "no file":
        why = _shortened(trouble.message, failure)
        return [say("messages.nothing_to_test", exercise=failure.exercise, why=why)]
    if trouble.at_load:
        return [f"{failure.exercise} · {_loading(trouble, failure)}", *_at_load(trouble, failure)]
    return [_title(failure), *_trouble(trouble, failure)]


def explained(mistakes: Sequence[str], kind: str) -> str:
    """The sentence that names the mistakes behind a failure of a kind."""
    together = say("messages.or_if").join(mistakes)
    if kind in _NUMBERS:
        return say("messages.explained_numbers", mistakes=together)
    return say("messages.explained", mistakes=together)


def details(failure: Failure) -> list[str]:
    """What it takes to see a failure again: the inputs of the run that failed, and the seed."""
    lines = [f"    {name} = {value}" for name, value in failure.inputs[:_MOST_INPUTS]]
    if len(failure.inputs) > _MOST_INPUTS:
        lines.append(say("messages.more_inputs", count=len(failure.inputs) - _MOST_INPUTS))
    if failure.seed is not None:
        lines.append(say("messages.seed", seed=failure.seed))
    return [harmless(line) for line in lines]


def next_step(failure: Failure) -> str:
    """What to do about it."""
    if failure.finding.kind == "no file":
        return say("messages.next_no_file")
    if is_about_the_file(failure.finding):
        return say("messages.next_fix_first")
    return say("messages.next_hint", short=failure.short)


def waits_for(failure: Failure) -> str | None:
    """What has to be there before the test can say anything, in words; None if it has spoken."""
    trouble = failure.finding.trouble
    if trouble is None:
        return None
    if trouble.kind == "not implemented":
        return say("messages.not_implemented", stub=stub(failure))
    if trouble.kind == "missing":
        missing = say("messages.missing", name=trouble.message, exercise=failure.exercise)
        alike = facts(trouble.context, MEANT)
        return missing + (say("messages.misspelt", name=alike[0]) if alike else "")
    if trouble.kind == "not graded":
        return say("messages.not_graded", why=trouble.message)
    if trouble.kind == "out of time":
        return say("messages.out_of_time")
    return None


def stub(failure: Failure) -> str:
    """Which function is still a stub, and where."""
    trouble = failure.finding.trouble
    assert trouble is not None
    frame = trouble.frames[-1]
    what = f"{awaited(failure)} ({_where(frame, failure)})"
    if Path(frame.path).stem not in (failure.exercise, failure.exercise.partition("_")[2]):
        what = say("messages.prerequisite", what=what)
    return what


def awaited(failure: Failure) -> str:
    """The function that is still a stub, or the name that is missing."""
    trouble = failure.finding.trouble
    assert trouble is not None
    return trouble.frames[-1].function if trouble.frames else trouble.message


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
        return say("messages.not_python", name=name)
    if trouble.kind == "forbidden import":
        return say("messages.forbidden_import", name=name)
    if trouble.kind == "timed out":
        return say("messages.import_timed_out", name=name, seconds=failure.seconds)
    return say("messages.cannot_import", name=name)


def _trouble(trouble: Trouble, failure: Failure) -> list[str]:
    """What went wrong, then the learner's own frames and nothing of ours."""
    last = trouble.frames[-1] if trouble.frames else None
    if trouble.kind == "timed out":
        return [_out_of_time(trouble.how, failure.seconds), *_frame(last, failure)]
    if trouble.kind == "out of memory":
        return [say("messages.out_of_memory"), *_frame(last, failure)]
    if trouble.kind == "forbidden":
        what = say("messages.forbidden", error=trouble.type_name, message=trouble.message)
        return [what, *_frame(last, failure)]
    if trouble.kind == "recursion":
        name = last.function if last else say("messages.a_function")
        return [say("messages.recursion", name=name), *_frame(last, failure)]
    if trouble.kind == "exited":
        how = trouble.type_name or say("messages.exit_code", code=trouble.message)
        return [say("messages.exited", how=how), *_frame(last, failure)]
    if trouble.kind == "crashed":
        return [say("messages.crashed", how=trouble.type_name)]
    if trouble.kind == "protocol":
        return [say("messages.protocol", why=trouble.message)]
    if trouble.kind == "unusable" and failure.finding.lines:
        return _indented(failure.finding.lines)
    if trouble.kind == "forbidden import":
        return [f"  {_shortened(trouble.message, failure)}"]
    if trouble.kind == "syntax":
        return [f"  {trouble.type_name}: {trouble.message}", *_marked(last, failure)]
    return [*_said(trouble, failure), *_frames(trouble.frames[-_FRAMES:], trouble, failure)]


def _said(trouble: Trouble, failure: Failure) -> Iterator[str]:
    """An error's own words, as far as they help, and what to do where no mistake says it."""
    advice = advice_for(trouble)
    message = advice.message if advice else trouble.message
    first, *more = message.splitlines()[:_MESSAGE_LINES] or [""]
    if message or not advice:
        when = say("messages.in_backward") if trouble.in_backward else ""
        yield f"  {trouble.type_name}: {_cut(first)}".rstrip(": ") + when
    yield from _indented(map(_cut, more), 4)
    if advice and not (message and failure.mistakes):
        yield from _indented(advice.lines)


def _frames(frames: Sequence[Frame], trouble: Trouble, failure: Failure) -> Iterator[str]:
    """Lines of the answer, the innermost with the shapes of what stands in it."""
    for frame in frames:
        yield from _frame(frame, failure)
    for shapes in facts(trouble.context, SHAPES)[:1]:
        yield f"      {say('messages.shapes', shapes=shapes)}"
    for line in facts(trouble.context, IN_PLACE)[:_MOST_LINES]:
        yield f"    {_cut(_shortened(line, failure))}"


def _at_load(trouble: Trouble, failure: Failure) -> Iterator[str]:
    """What went wrong while the file was imported, and the line of it that set that off."""
    top, *below = trouble.frames or (None,)
    if top is None or not below or top.text.startswith(_DEFINING):
        yield from _trouble(trouble, failure)
        return
    place = _where(top, failure)
    if trouble.type_name == "NotImplementedError":
        yield say("messages.calls_stub", place=place, name=below[-1].function)
        yield from _frame(top, failure)
    else:
        yield say("messages.calls", place=place, name=below[0].function)
        yield from _trouble(trouble, failure)


def _out_of_time(how: str, seconds: float) -> str:
    if how == "too slow":
        return say("messages.too_slow", seconds=seconds)
    if how == "waiting":
        return say("messages.waiting", seconds=seconds * BACKSTOP)
    return say("messages.timed_out", seconds=seconds)


def _frame(frame: Frame | None, failure: Failure) -> list[str]:
    if frame is None:
        return []
    place = f"    {_where(frame, failure)}"
    if frame.function and frame.function != "<module>":
        place += f" in {frame.function}"
    return [f"{place}: {_cut(frame.text)}" if frame.text else place]


def _marked(frame: Frame | None, failure: Failure) -> list[str]:
    """The place of a syntax error, its text and the caret under it."""
    if frame is None:
        return []
    return [f"    {_where(frame, failure)}", *_indented(frame.text.splitlines(), 6)]


def _where(frame: Frame, failure: Failure) -> str:
    return f"{_relative(frame.path, failure)}:{frame.line}"


def _relative(path: str, failure: Failure) -> str:
    if Path(path).is_relative_to(failure.root):
        return Path(path).relative_to(failure.root).as_posix()
    return path


def _shortened(text: str, failure: Failure) -> str:
    return text.replace(f"{failure.root}{os.sep}", "")


def _cut(line: str) -> str:
    """A line that is no longer than anybody reads."""
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


def _indented(lines: Iterable[str], by: int = 2) -> list[str]:
    return [" " * by + line for line in lines]
