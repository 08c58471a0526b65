"""The sentences a learner reads. Pure: findings in, lines out; nothing is printed here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.catalogue import say
from grader.comparing import Finding
from grader.deadline import BACKSTOP
from grader.harmless import harmless
from grader.observing import Frame, Trouble

_FRAMES = 2
_MESSAGE_LINES = 2


@dataclass(frozen=True)
class Failure:
    """One failed test with everything that its message needs.

    `sentence` is the test's docstring, `mistakes` the sentences of the mistakes that explain all
    that was seen. `functions` are those of the answer that it is about, the likeliest first.
    """

    exercise: str
    test: str
    sentence: str
    finding: Finding
    mistakes: tuple[str, ...] = ()
    seconds: float = 0.0
    root: Path = Path()
    functions: tuple[str, ...] = ()

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
    return [*told(failure), *explained(failure.mistakes), next_step(failure)]


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
        return [f"{failure.exercise} · {_loading(trouble, failure)}", *_trouble(trouble, failure)]
    return [_title(failure), *_trouble(trouble, failure)]


def explained(mistakes: Sequence[str], failures: int = 1) -> list[str]:
    """The sentence that names the mistakes, for one failure or for several at once."""
    if not mistakes:
        return []
    together = say("messages.or_when").join(mistakes)
    if failures == 1:
        return [say("messages.explained_one", mistakes=together)]
    return [say("messages.explained_many", count=failures, mistakes=together)]


def next_step(failure: Failure) -> str:
    """What to do about it."""
    if failure.finding.kind == "no file":
        return say("messages.next_no_file")
    if is_about_the_file(failure.finding):
        return say("messages.next_mend_first")
    return say("messages.next_hint", short=failure.short)


def waits_for(failure: Failure) -> str | None:
    """What has to be there before the test can say anything, in words; None if it has spoken."""
    trouble = failure.finding.trouble
    if trouble is None:
        return None
    if trouble.kind == "not implemented":
        return say("messages.not_implemented", stub=stub(failure))
    if trouble.kind == "missing":
        return say("messages.missing", name=trouble.message, exercise=failure.exercise)
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
    what = f"{frame.function} ({_where(frame, failure)})"
    if Path(frame.path).stem not in (failure.exercise, failure.exercise.partition("_")[2]):
        what = say("messages.prerequisite", what=what)
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
    lines = trouble.message.splitlines()[:_MESSAGE_LINES] or [""]
    when = say("messages.in_backward") if trouble.in_backward else ""
    what = f"  {trouble.type_name}: {lines[0]}".rstrip(": ") + when
    frames = [line for frame in trouble.frames[-_FRAMES:] for line in _frame(frame, failure)]
    return [what, *_indented(lines[1:], 4), *frames]


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
    return [f"{place}: {frame.text}" if frame.text else place]


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


def _indented(lines: Sequence[str], by: int = 2) -> list[str]:
    return [" " * by + line for line in lines]
