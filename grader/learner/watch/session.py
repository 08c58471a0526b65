"""What `grader watch` knows and does: keys, saves and verdicts come in, a page to show comes out.

Nothing here touches the terminal; see `screen` for that, and `pages` for what is on it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Literal

from grader.course.course import Course
from grader.course.files import file_hash
from grader.course.stubs import MissingFile, reset
from grader.course.syllabus import Exercise, LearningPath
from grader.course.titles import exercise_title
from grader.learner.hints import first_hints
from grader.learner.history import History
from grader.learner.progress import current_exercise
from grader.learner.watch.hints import HintPages
from grader.learner.watch.judge_client import JudgeEnded
from grader.learner.watch.standings import WatchProgress
from grader.learner.watch.verdict import Verdict
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line

Page = Literal["verdict", "hint", "lesson", "diff", "list", "keys", "reset", "end"]
Ask = Callable[[Exercise, int], None]

_FILTERS = ("all", "unfinished", "done")
_CURSOR = {"down": 1, "j": 1, "up": -1, "k": -1}


class Listing:
    """The list of exercises: which are shown, and at which the cursor is."""

    def __init__(self, standings: WatchProgress, at: Exercise | None = None) -> None:
        self._standings = standings
        self.filter = _FILTERS[0]
        self.search = ""
        self.is_searching = False
        self.cursor = standings.exercises.index(at) if at in standings.exercises else 0

    @property
    def exercises(self) -> list[Exercise]:
        """The exercises that the filter and the search leave."""
        words = self.search.casefold().split()
        return [
            e
            for e in self._standings.exercises
            if self.filter == "all" or self._standings.is_done(e) == (self.filter == "done")
            if all(word in f"{e.id} {e.title} {exercise_title(e)}".casefold() for word in words)
        ]

    def press(self, key: str) -> Exercise | None:
        """Take a key; the exercise that was chosen by it, if one was."""
        chosen = self.exercises[self.cursor] if self.cursor < len(self.exercises) else None
        if self.is_searching:
            self._type(key)
        elif key == "enter":
            return chosen
        elif key == "/":
            self.is_searching = True
        elif key == "f":
            self.filter = _FILTERS[(_FILTERS.index(self.filter) + 1) % len(_FILTERS)]
        elif key in _CURSOR:
            self.cursor += _CURSOR[key]
        self.cursor = max(0, min(self.cursor, len(self.exercises) - 1))
        return None

    def forget_search(self) -> None:
        """Show what the filter leaves."""
        self.search = ""
        self.is_searching = False

    def _type(self, key: str) -> None:
        if key == "escape":
            self.forget_search()
        elif key == "enter":
            self.is_searching = False
        elif key == "backspace":
            self.search = self.search[:-1]
        elif len(key) == 1:
            self.search += key


class Session:
    """One learner at one terminal."""

    def __init__(
        self,
        course: Course,
        path: LearningPath,
        history: History,
        ask: Ask,
        first: Exercise | None = None,
    ) -> None:
        self.path = path
        self.course = course
        self.history = history
        self.standings = WatchProgress(course, path, history)
        self.listing = Listing(self.standings)
        self.verdicts: dict[str, Verdict] = {}
        self.hints: HintPages | None = None
        self.notice = ""
        # The screen keeps the first line that is shown within the page, and says how many are.
        self.offset = 0
        self.rows = 1
        self.page: Page = "verdict"
        self.is_over = False
        self._ask = ask
        self._numbers = itertools.count(1)
        self._asked: dict[str, str] = {}
        self._pending: tuple[int, Exercise, float] | None = None
        # Read once: the disk may sleep when a key is pressed.
        self._runs = history.runs()
        self._seen_hints = history.hints()
        self._solutions = history.solutions()
        current = first or current_exercise(course, path, history)
        self.exercise = current or self.standings.exercises[-1]
        if current is None:
            self.page = "end"
        else:
            self.run(self.exercise)

    @property
    def verdict(self) -> Verdict | None:
        """The last verdict on the exercise that is shown."""
        return self.verdicts.get(self.exercise.id)

    @property
    def seconds_running(self) -> float | None:
        """How long the exercise that is shown has been running; None while it is not."""
        if self._pending is None or self._pending[1] != self.exercise:
            return None
        return time.monotonic() - self._pending[2]

    @property
    def may_see_solution(self) -> bool:
        """Whether the reference's way may be shown: after a pass, or to whoever gave up."""
        return self.standings.is_done(self.exercise) or self.exercise.id in self._solutions

    def run(self, exercise: Exercise) -> None:
        """Ask for a run; one under way is abandoned."""
        number = next(self._numbers)
        self._asked[exercise.id] = file_hash(self.course.paths(exercise).stub)
        self._pending = number, exercise, time.monotonic()
        self._ask(exercise, number)

    def saved(self, exercise: Exercise) -> None:
        """A learner's file was saved: if it is another now, show its exercise and run it."""
        if self._asked.get(exercise.id) == file_hash(self.course.paths(exercise).stub):
            return  # some editors write twice; r checks again what is as it was
        self.notice = ""
        if exercise == self.exercise:
            self._turn_to("verdict")
        else:
            self._show(exercise)
        self.run(exercise)

    def judged(self, verdict: Verdict) -> bool:
        """Take a verdict; whether it is to be recorded, as those that are out of date are not."""
        if self._pending is None or verdict.number != self._pending[0]:
            return False
        self._pending = None
        self.verdicts[verdict.exercise] = verdict
        self.standings.note(verdict)
        if verdict.record is not None:
            self._runs.append(verdict.record)
        if verdict.exercise == self.exercise.id and self.page == "verdict":
            self.offset = 0
        if (unchecked := self.standings.unchecked()) is not None:
            self.run(unchecked)
        return verdict.record is not None

    def judge_ended(self, ended: JudgeEnded) -> None:
        """Say that nothing can be checked; a run that is asked for starts another judge."""
        self._pending = None
        last = (ended.said.strip().splitlines() or [say("watch.without_a_word")])[-1]
        what = say("watch.judge_ended", last=sanitize_line(last))
        self.verdicts[self.exercise.id] = Verdict(0, self.exercise.id, problem=what)

    def press(self, key: str) -> None:
        """Do what a key stands for on the page that is shown."""
        self.notice = ""
        if key == "interrupt" or (key == "q" and not self._is_typing):
            self.is_over = True
        elif self.page == "list":
            self._press_in_list(key)
        elif self.page == "reset":
            self._confirm(key)
        elif key in ("escape", "enter"):
            self._turn_to("verdict")
        elif key in _KEYS:
            _KEYS[key](self)

    @property
    def _is_typing(self) -> bool:
        return self.page == "list" and self.listing.is_searching

    def _press_in_list(self, key: str) -> None:
        if key == "escape" and self.listing.search:
            self.listing.forget_search()
        elif key in ("escape", "l") and not self._is_typing:
            self._turn_to("verdict")
        elif (chosen := self.listing.press(key)) is not None:
            self._open(chosen)

    def _confirm(self, key: str) -> None:
        self._turn_to("verdict")
        if key != "y":
            self.notice = say("watch.not_reset")
            return
        try:
            backup = reset(self.exercise, self.course)
        except (MissingFile, OSError) as error:
            self.notice = say("watch.reset_failed", why=sanitize_line(str(error).splitlines()[0]))
            return
        self.run(self.exercise)
        self.notice = say("watch.is_stub")
        if backup:
            self.notice = say("watch.is_stub_again", short=self.exercise.short)

    def _turn_to(self, page: Page) -> None:
        self.page = page
        self.offset = 0

    def _show(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self._turn_to("verdict")

    def _open(self, exercise: Exercise) -> None:
        self._show(exercise)
        self.run(exercise)

    def _hint(self) -> None:
        """The hint that was read last, and from there always the next.

        Another function that fails now is helped first.
        """
        if self.page == "hint" and self.hints is not None:
            self.hints.turn(1)
        else:
            runs = [run for run in self._runs if run.exercise == self.exercise.id]
            first = first_hints(self.exercise, self.course, runs)
            if self.hints is None or self.hints.first != first:
                read = self._seen_hints.get(self.exercise.id, {})
                self.hints = HintPages(self.exercise, first, read)
        self._show_hint(self.hints)

    def _previous_hint(self) -> None:
        if self.page == "hint" and self.hints is not None:
            self.hints.turn(-1)
            self._show_hint(self.hints)

    def _show_hint(self, hints: HintPages) -> None:
        self._turn_to("hint")
        seen = self._seen_hints.setdefault(self.exercise.id, {})
        if hints.level > seen.get(hints.about, 0):
            seen[hints.about] = hints.level
            self.history.record_hint(self.exercise.id, hints.about, hints.level)

    def _next(self) -> None:
        following = self.standings.after(self.exercise)
        if following is not None:
            self._open(following)
        elif self.standings.is_done(self.exercise):
            self._turn_to("end")
        else:
            self.notice = say("watch.last_left")

    def _previous(self) -> None:
        previous = self.standings.before(self.exercise)
        if previous is None:
            self.notice = say("watch.first_of_path")
        else:
            self._open(previous)

    def _diff(self) -> None:
        self._solutions |= self.history.solutions()  # somebody may have given up elsewhere
        if not self.may_see_solution:
            self.notice = say("watch.after_a_pass", short=self.exercise.short)
            return
        self._turn_to("diff")
        if self.exercise.id not in self._solutions:
            self._solutions[self.exercise.id] = False
            self.history.record_solution(self.exercise.id, gave_up=False)

    def _list(self) -> None:
        self.listing = Listing(self.standings, self.exercise)
        self._turn_to("list")

    def _toggle(self, page: Page) -> None:
        self._turn_to("verdict" if self.page == page else page)

    def _rerun(self) -> None:
        self._turn_to("verdict")
        self.run(self.exercise)

    def _scroll(self, lines: int) -> None:
        self.offset = max(0, self.offset + lines)


_TO_THE_END = 1_000_000
_KEYS: dict[str, Callable[[Session], None]] = {
    "h": Session._hint,
    "H": Session._previous_hint,
    "s": lambda session: session._toggle("lesson"),
    "d": Session._diff,
    "n": Session._next,
    "p": Session._previous,
    "l": Session._list,
    "r": Session._rerun,
    "x": lambda session: session._turn_to("reset"),
    "?": lambda session: session._toggle("keys"),
    "j": lambda session: session._scroll(1),
    "k": lambda session: session._scroll(-1),
    "down": lambda session: session._scroll(1),
    "up": lambda session: session._scroll(-1),
    " ": lambda session: session._scroll(session.rows),
    "page down": lambda session: session._scroll(session.rows),
    "page up": lambda session: session._scroll(-session.rows),
    "home": lambda session: session._scroll(-_TO_THE_END),
    "end": lambda session: session._scroll(_TO_THE_END),
}
