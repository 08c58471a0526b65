"""The figures of `grader watch`: how soon after a save its verdict is seen, and what idling costs.

Measured in a real terminal, on a copy of the course.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

from grader.course.answers import read_source
from grader.course.files import replace_file
from grader.course.syllabus_file import load
from grader.course.variants import read_variants
from grader.proof.figures.figure import Figure, Measured, Stage, stages
from grader.proof.figures.terminal import Terminal, copied_course
from grader.proof.figures.timing import slowness

_SAVES, _QUICK_SAVES = 50, 8
_MISTAKES = 3
_PAUSE = 0.3
"""Seconds between a verdict and the next save: far less than anybody takes."""
_IDLE_SECONDS, _QUICK_IDLE_SECONDS = 20.0, 5.0
_LONGEST_SETTLING, _SETTLED = 10, 0.02
"""Seconds after a verdict until idling is measured, unless less of a processor is used before."""
_ENDLESS = "\n\ndef rotate_half(x):\n    while True:\n        pass\n"


def figures(root: Path, quick: bool) -> Measured:
    """Milliseconds from a save to its verdict, of a newer save amid a run, and idle CPU."""
    with tempfile.TemporaryDirectory() as folder:
        course = copied_course(root, Path(folder) / "course")
        slower = slowness(course, quick)
        yield Figure("watch.this machine is slower by", slower, "x")
        with Terminal(course, "watch", "ex02") as terminal:
            learner = _Learner(terminal, load(root).find("ex02").paths(course).stub)
            answers = _answers(root)
            warm = [learner.milliseconds(answer) for answer in answers]
            yield Figure("watch.first verdict of a kind, at most", max(warm), "ms")
            saves = _QUICK_SAVES if quick else _SAVES
            times = []
            for stage, answer in stages("saves", [*itertools.islice(cycle(answers), saves)]):
                yield stage
                times.append(learner.milliseconds(answer))
            yield Figure(
                f"watch.{saves} saves, median", statistics.median(times), "ms", 150 * slower
            )
            percentile = statistics.quantiles(times, n=20, method="inclusive")[-1]
            yield Figure(f"watch.{saves} saves, 95th percentile", percentile, "ms", 300 * slower)
            learner.save(answers[0] + _ENDLESS)
            terminal.wait_for("checking")
            newer = learner.milliseconds(answers[0])
            yield Figure("watch.a save while an endless run is under way", newer, "ms")
            if sys.platform == "linux":
                yield Stage("idling", 0, 1)
                for _ in range(_LONGEST_SETTLING):  # it makes ready for the next save
                    if _used(terminal, 1.0) < _SETTLED:
                        break
                share = _used(terminal, _QUICK_IDLE_SECONDS if quick else _IDLE_SECONDS)
                yield Figure("watch.idle CPU of all its processes", share * 100, "%", 1)


def _used(terminal: Terminal, seconds: float) -> float:
    """The share of a processor that all processes of a command use meanwhile."""
    before, began = sum(terminal.processes().values()), time.monotonic()
    terminal.read_for(seconds)
    return (sum(terminal.processes().values()) - before) / (time.monotonic() - began)


def _answers(root: Path) -> list[str]:
    """The worked answer, and some mistakes that people make."""
    paths = load(root).find("ex02").paths(root)
    solution = read_source(paths.solution)
    mistakes = [v for v in read_variants(paths.mistakes) if not v.undetectable]
    return [solution.text, *(v.applied_to(solution).text for v in mistakes[:_MISTAKES])]


class _Learner:
    """Saves one answer after the other, each like none before it; every save is one run."""

    def __init__(self, terminal: Terminal, file: Path) -> None:
        self._terminal = terminal
        self._file = file
        self._runs = 1
        terminal.wait_for("· run 1 at")

    def save(self, answer: str) -> float:
        """Save at once, as editors do; when that was."""
        self._runs += 1
        saved = time.perf_counter()
        replace_file(self._file, f"{answer}\n# {self._runs}\n".encode())
        return saved

    def milliseconds(self, answer: str) -> float:
        """How long after a save its verdict can be read."""
        saved = self.save(answer)
        seen = self._terminal.wait_for(f"· run {self._runs} at")
        self._terminal.read_for(_PAUSE)
        return (seen - saved) * 1000
