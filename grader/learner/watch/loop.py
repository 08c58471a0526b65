"""The loop of `grader watch`: keys, saves and verdicts in, one screen out."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from watchfiles import watch as changes_in

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.learner.history import BackgroundHistory
from grader.learner.settings import chosen_path
from grader.learner.watch.judge_client import Judge, JudgeEnded
from grader.learner.watch.keys import RawKeys
from grader.learner.watch.screen import Screen
from grader.learner.watch.session import Session
from grader.learner.watch.verdict import Verdict
from grader.messages.catalog import say

_TICK = 0.25
"""Seconds after which the time of a long run is shown again, and on Windows the screen's size is
looked at; elsewhere a signal tells it."""
_STEP, _DEBOUNCE = 15, 50
"""Milliseconds in which a save must be followed by no other, and the longest wait for that."""


class NoTerminal(Exception):
    """There is nothing to draw on or no keyboard."""


@dataclass(frozen=True)
class _Saved:
    exercises: frozenset[Exercise]


@dataclass(frozen=True)
class _Stopped:
    """Files are watched no more; why."""

    why: str


@dataclass(frozen=True)
class _Resized:
    """The terminal may have another size."""


_Event = str | _Saved | _Stopped | _Resized | Verdict | JudgeEnded
_Events = queue.SimpleQueue[_Event]


def watch(course: Course, first: Exercise | None = None) -> Session:
    """Check every save until the learner quits; the session as it was left.

    Raises NoTerminal where there is none.
    """
    screen = Screen()
    if not (screen.is_terminal and sys.stdin.isatty()):
        raise NoTerminal
    events: _Events = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        judges = stack.enter_context(closing(_Judges(course.root, events)))
        history = stack.enter_context(closing(BackgroundHistory.open(course.root)))
        path = chosen_path(course)
        session = Session(course, path, history, judges.ask, first)
        stack.enter_context(_watching_files(course, events.put))
        stack.enter_context(_obeying_signals(events.put))
        while not session.is_over:
            with screen, RawKeys(events.put):
                _run_until_suspended(session, screen, events)
            if not session.is_over:
                _suspend()
    return session


def _suspend() -> None:
    """Stop, as Ctrl-Z would have done before the keys were taken; returns when told to go on."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(0, signal.SIGTSTP)  # the whole job, whatever started this command
    signal.signal(signal.SIGTSTP, handler)


def _run_until_suspended(session: Session, screen: Screen, events: _Events) -> None:
    screen.draw(session)
    while not session.is_over:
        try:
            event = events.get(timeout=_patience(session))
        except queue.Empty:
            if screen.was_resized or session.seconds_running is not None:
                screen.draw(session)
            continue
        if event == "suspend":
            if hasattr(signal, "SIGTSTP"):
                return
            continue
        is_to_record = _take(event, session)
        if events.empty():
            screen.draw(session)
        if is_to_record:
            assert isinstance(event, Verdict) and event.record is not None
            session.history.record_run(event.record)


def _patience(session: Session) -> float | None:
    """Seconds after which the screen may be out of date though nothing was heard of, if any."""
    if session.seconds_running is None and hasattr(signal, "SIGWINCH"):
        return None
    return _TICK


def _take(event: _Event, session: Session) -> bool:
    """Let the session take an event; whether it is a verdict that the history should hold."""
    if isinstance(event, str):
        session.press(event)
    elif isinstance(event, _Saved):
        others = sorted(event.exercises, key=lambda exercise: exercise.id)
        session.saved(session.exercise if session.exercise in event.exercises else others[0])
    elif isinstance(event, _Stopped):
        session.notice = event.why
    elif isinstance(event, JudgeEnded):
        session.judge_ended(event)
    elif isinstance(event, Verdict):
        return session.judged(event)
    return False


class _Judges:
    """One judge at a time, and another one after that has ended."""

    def __init__(self, root: Path, events: _Events) -> None:
        self._root = root
        self._events = events
        self._judge = Judge(root, self._heard)
        self._has_ended = False

    def ask(self, exercise: Exercise, number: int) -> None:
        if self._has_ended:
            self._has_ended = False
            self._judge = Judge(self._root, self._heard)
        self._judge.ask(exercise, number)

    def _heard(self, said: Verdict | JudgeEnded) -> None:
        self._has_ended = isinstance(said, JudgeEnded)
        self._events.put(said)

    def close(self) -> None:
        self._judge.close()


@contextlib.contextmanager
def _watching_files(course: Course, put: Callable[[_Event], None]) -> Iterator[None]:
    """Hear of every change of a learner's file, in a thread."""
    stop = threading.Event()
    arguments = (course, put, stop)
    thread = threading.Thread(target=_watch_files, args=arguments, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch_files(course: Course, put: Callable[[_Event], None], stop: threading.Event) -> None:
    exercises = {exercise.answer_file: exercise for exercise in course.exercises}
    folder = course.root / "exercises"
    watching = changes_in(
        folder,
        watch_filter=None,
        step=_STEP,
        debounce=_DEBOUNCE,
        stop_event=stop,
        recursive=False,
        raise_interrupt=False,
    )
    try:
        for changes in watching:
            names = {Path(path).name for _, path in changes}
            if saved := frozenset(exercises[name] for name in names if name in exercises):
                put(_Saved(saved))
    except OSError as error:
        put(_Stopped(say("watch.not_watched", folder=folder, error=error)))


_EVENT_OF_SIGNAL: dict[str, _Event] = {
    "SIGTERM": "interrupt",
    "SIGHUP": "interrupt",
    "SIGTSTP": "suspend",
    "SIGWINCH": _Resized(),
}


@contextlib.contextmanager
def _obeying_signals(put: Callable[[_Event], None]) -> Iterator[None]:
    """Leave the terminal as it was when asked to end or stop, or when the connection is lost.

    And hear of another size of it.
    """
    before = {}
    for name, event in _EVENT_OF_SIGNAL.items():
        if number := getattr(signal, name, None):  # Windows lacks some
            before[number] = signal.signal(number, lambda *_, event=event: put(event))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
