"""The hints of `grader watch`: all of an exercise, in the order in which they are turned over."""

from __future__ import annotations

from collections.abc import Mapping

from grader.course.syllabus import Exercise, HintLadder


class HintPages:
    """An exercise's hints one after the other, and at which the learner is.

    Those about `first` come first, then those about the functions after it, and at the end those
    about the functions before it. It begins at the hint about `first` that was `read` last.
    """

    def __init__(self, exercise: Exercise, first: HintLadder, read: Mapping[str, int]) -> None:
        start = exercise.hints.index(first)
        self.first = first
        self._pages = [
            (ladder, level)
            for ladder in (*exercise.hints[start:], *exercise.hints[:start])
            for level in range(1, len(ladder.levels) + 1)
        ]
        # An earlier version of the course may have had more of them.
        self._place = min(read.get(first.about, 1), len(first.levels)) - 1

    @property
    def about(self) -> str:
        """The function that the hint is about."""
        return self._pages[self._place][0].about

    @property
    def level(self) -> int:
        return self._pages[self._place][1]

    @property
    def count(self) -> int:
        """How many hints there are about this function."""
        return len(self._pages[self._place][0].levels)

    @property
    def text(self) -> str:
        ladder, level = self._pages[self._place]
        return ladder.levels[level - 1]

    @property
    def is_first(self) -> bool:
        return self._place == 0

    @property
    def is_last(self) -> bool:
        return self._place == len(self._pages) - 1

    def turn(self, pages: int) -> None:
        """Go so many hints on, or back; not beyond either end."""
        self._place = max(0, min(self._place + pages, len(self._pages) - 1))
