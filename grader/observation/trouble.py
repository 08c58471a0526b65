"""Sort what interrupted an answer by what a learner has to do about it.

Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

import errno
import linecache
import opcode
import traceback
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType, TracebackType

import torch

from grader.observation.calls import MissingName
from grader.observation.context import context_of
from grader.observation.deadline import Deadline, OutOfTime
from grader.observation.kind import Kind
from grader.observation.record import (
    FRAMES_LIMIT,
    LONGEST_TEXT,
    Frame,
    Interruption,
    Observation,
)

_RAISE = opcode.opmap["RAISE_VARARGS"]


def interruption_of(
    error: BaseException,
    learner_files: frozenset[str],
    timeouts: tuple[type[BaseException], ...] = (OutOfTime,),
    *,
    in_backward: bool = False,
    at_load: bool = False,
) -> Interruption:
    """Sort an exception by what a learner has to do about it."""
    frames = tuple(learner_frames(error.__traceback__, learner_files))
    kind = _kind(error, frames, learner_files, timeouts, at_load)
    try:
        message = str(error)
    except Exception:
        message = "its message cannot be shown"
    if kind == Kind.SYNTAX:
        frames = _syntax_frame(error)
        message = getattr(error, "msg", message)
    return Interruption(
        kind,
        type(error).__name__,
        message[:LONGEST_TEXT],
        _shortened(frames),
        in_backward,
        at_load,
        context_of(error, learner_files),
    )


def _kind(
    error: BaseException,
    frames: tuple[Frame, ...],
    learner_files: frozenset[str],
    timeouts: tuple[type[BaseException], ...],
    at_load: bool,
) -> Kind:
    if type(error) in timeouts:  # what pytest.xfail raises is a kind of what a timeout does
        return Kind.TIMED_OUT
    stub = isinstance(error, NotImplementedError) and _raised_in(error, learner_files)
    if stub and not at_load:  # at load it is the line at the top level that is wrong
        return Kind.NOT_IMPLEMENTED
    if isinstance(error, MissingName):
        return Kind.MISSING
    if isinstance(error, RecursionError):
        return Kind.RECURSION
    if isinstance(error, SystemExit):
        return Kind.EXITED
    if _is_out_of_memory(error):
        return Kind.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return Kind.FORBIDDEN
    if at_load:
        if isinstance(error, SyntaxError) and not frames:
            return Kind.SYNTAX
        return Kind.CANNOT_LOAD
    return Kind.EXCEPTION if frames else Kind.UNUSABLE


def _is_out_of_memory(error: BaseException) -> bool:
    """Python's MemoryError, or the RuntimeError of torch's allocator on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _raised_in(error: BaseException, learner_files: frozenset[str]) -> bool:
    """Whether a `raise` of the learner's own ends here: torch raises NotImplementedError too.

    What torch's C++ raises has the line that called it for its innermost frame.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_code.co_filename not in learner_files:
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE


def learner_frames(start: TracebackType | None, learner_files: frozenset[str]) -> Iterator[Frame]:
    """The frames of a traceback that lie in the learner's files, outermost first."""
    for frame, line in traceback.walk_tb(start):
        if frame.f_code.co_filename in learner_files:
            yield _frame(frame, line)


def end_at_learner(start: TracebackType | None, learner_files: frozenset[str]) -> None:
    """Cut what a traceback has below the learner's innermost frame: a debugger opens at its end."""
    innermost = None
    while start is not None:
        if start.tb_frame.f_code.co_filename in learner_files:
            innermost = start
        start = start.tb_next
    if innermost is not None:
        innermost.tb_next = None


def _frame(frame: FrameType, line: int) -> Frame:
    path = frame.f_code.co_filename
    return Frame(path, line, frame.f_code.co_qualname, linecache.getline(path, line).strip())


def _syntax_frame(error: BaseException) -> tuple[Frame, ...]:
    """The place of a syntax error; the caret's line stands under the text."""
    assert isinstance(error, SyntaxError)
    text = (error.text or "").rstrip("\n")
    caret = ""
    if error.offset:
        stripped = len(text) - len(text.lstrip())
        caret = "\n" + " " * max(0, error.offset - 1 - stripped) + "^"
    return (Frame(error.filename or "", error.lineno or 0, "", text.strip() + caret),)


def _shortened(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The outermost and the innermost frames: a recursion has a thousand."""
    if len(frames) <= FRAMES_LIMIT:
        return frames
    return frames[:1] + frames[1 - FRAMES_LIMIT :]


def timed_out(seen: Observation, deadline: Deadline) -> Observation:
    """What was seen; where the answer took too long, that is all there is to say of it."""
    interruption = seen.interruption
    if interruption is not None and interruption.kind is Kind.TIMED_OUT:
        return replace(seen, interruption=replace(interruption, how=deadline.how))
    if deadline.is_over and interruption is None:
        too_slow = Interruption(Kind.TIMED_OUT, how="too slow")
        return Observation(interruption=too_slow, printed=seen.printed)
    return seen
