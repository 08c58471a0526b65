"""What `grader capstone` and `grader chat` show: a curve that grows, samples, and a conversation.

On a terminal the last lines are redrawn with every step; elsewhere a line is printed now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from grader.learner.capstone.record import recent
from grader.messages.catalog import say
from grader.messages.console import Console
from grader.messages.sanitize import sanitize_line

if TYPE_CHECKING:
    from grader.course.syllabus import Exercise
    from grader.learner.capstone.assemble import Unfit
    from grader.learner.capstone.recipe import Recipe
    from grader.learner.capstone.record import Run, Sample, Samples, Step
    from grader.learner.capstone.train import Speaker
    from grader.learner.history import RunRecord

_WIDEST, _HEIGHT = 72, 8
_SECONDS = 0.1
"""Between two drawings of the curve."""
_LINE_EVERY = 50
"""Steps between two lines where there is no terminal."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of Braille's dots, by row and column of one character."""


class Screen:
    """The learner's terminal; as a context it shows a training."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._drawn = 0.0
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Screen:
        output = self._console.output
        if output.is_terminal and not self._console.is_quiet:
            self._live = Live(console=output, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
            self._live = None

    def stop(self, message: str) -> NoReturn:
        """End the command with an error."""
        self._console.stop(message, 1)

    def preparing(self, what: str) -> None:
        """Something begins that takes a while."""
        self._console.advice([what])

    def put_away(self, backup: Path | None) -> None:
        """Where the old training is now, if there was one."""
        if backup is not None:
            self._console.lines([say("capstone.put_away", backup=backup)])

    def not_begun(self, exercises: Sequence[Exercise]) -> None:
        """Parts that are missing, the first of which comes next."""
        for exercise in exercises:
            self._console.error(say("capstone.not_begun", exercise=exercise.id))
        self._console.remedy(say("report.go_on", short=exercises[0].short))

    def unfit(self, unfit: Unfit) -> None:
        """A part that is not ready, how that shows, and what to do next."""
        exercise = unfit.exercise
        why = sanitize_line(str(unfit))
        self._console.error(say("capstone.not_ready", exercise=exercise.id, why=why))
        file = exercise.paths(Path()).test_file.as_posix()
        self._console.remedy(say("capstone.not_ready_next", short=exercise.short, file=file))

    def tests(self, left: Sequence[tuple[Exercise, RunRecord | None]]) -> None:
        """Parts whose tests do not all pass, or have not been run; the training starts anyway."""
        if not left:
            return
        states = [
            say("capstone.tests_of", short=e.short, passed=run.passed, tests=run.tests)
            if run
            else say("capstone.tests_not_run", short=e.short)
            for e, run in left
        ]
        self._console.warning(say("capstone.tests_left", states=", ".join(states)))

    def checked(self, exercises: Sequence[Exercise]) -> None:
        """The parts that answer as the reference does."""
        names = ", ".join(exercise.short for exercise in exercises)
        self._console.advice([say("capstone.checked", names=names)])

    def before(self, written: Samples) -> None:
        """What the model wrote before it learned anything."""
        self._console.advice([say("capstone.before"), *_lines(written.shown[:1])])

    def stepped(self, steps: Sequence[Step], recipe: Recipe) -> None:
        """A step was made; these are all so far."""
        now, count = time.monotonic(), len(steps)
        self._began = self._began or (now, count)
        if self._live is None:
            if count % _LINE_EVERY == 0:
                loss = recent(steps, recipe.window)
                line = say("capstone.step", step=count, steps=recipe.steps, loss=loss)
                self._console.advice([line])
            return
        if now - self._drawn >= _SECONDS:
            self._drawn = now
            began, first = self._began
            rate = (count - first) / (now - began) if now > began else 0.0
            self._live.update(self._picture(steps, recipe, rate), refresh=True)

    def _picture(self, steps: Sequence[Step], recipe: Recipe, rate: float) -> Group:
        width = min(_WIDEST, max(10, self._console.output.width - 8))
        losses = [step.loss for step in steps]
        count, loss = len(steps), recent(steps, recipe.window)
        numbers = [say("capstone.step", step=count, steps=recipe.steps, loss=loss)]
        if recipe.target is not None:
            numbers.append(say("capstone.target", target=recipe.target))
        if rate:
            left = (recipe.steps - count) / rate
            minutes, seconds = divmod(round(left), 60)
            numbers.append(say("capstone.left", rate=rate, time=f"{minutes}:{seconds:02}"))
        bar = ProgressBar(total=recipe.steps, completed=count, width=width)
        return Group(*map(Text, labelled_curve(losses, width)), bar, Text(" · ".join(numbers)))

    def stopping(self) -> None:
        """Somebody has interrupted; the step at hand is finished first."""
        self._console.lines([say("capstone.stopping")])

    def interrupted(self, step: int, steps: int) -> None:
        """That the training was stopped, and how it goes on."""
        self._console.lines([say("capstone.interrupted", step=step, steps=steps)])
        self._console.advice([say("capstone.interrupted_next")])

    def finished(self, run: Run, steps: Sequence[Step]) -> None:
        """What came out: the curve, samples before and after, the score, and what to do now."""
        width = min(_WIDEST, max(10, self._console.output.width - 8))
        if not self._console.is_quiet and steps:
            self._console.lines(labelled_curve([step.loss for step in steps], width))
        loss = recent(steps, run.recipe["window"]) if steps else 0.0
        seconds = steps[-1].seconds if steps else 0.0
        self._console.lines(
            [
                say(
                    "capstone.result",
                    parameters=run.parameters,
                    steps=len(steps),
                    seconds=seconds,
                    loss=loss,
                )
            ]
        )
        if run.recipe["target"] is not None and not run.reached:
            target = run.recipe["target"]
            self._console.warning(say("capstone.not_reached", target=target))
        self._console.advice([say("capstone.before"), *_lines(run.before.shown[:1])])
        self._console.advice([say("capstone.after"), *_lines(run.after.shown)])
        if run.after.score is not None and run.before.score is not None:
            self._console.lines(
                [
                    say(
                        "capstone.score",
                        count=run.after.count,
                        before=100 * run.before.score,
                        after=100 * run.after.score,
                    )
                ]
            )
        self._console.advice([say("capstone.chat_next"), say("capstone.report_next")])

    def chat(
        self,
        run: Run,
        speaker: Speaker,
        openings: Sequence[str],
        temperature: float | None,
        seed: int,
    ) -> None:
        """Complete what is given, else what is typed, until there is no more."""
        if openings:
            self._complete(speaker, " ".join(openings), temperature, seed)
            return
        if not run.finished:
            self._console.warning(say("capstone.chat_unfinished", step=run.step))
        hello = say("capstone.chat_file") if run.file else say("capstone.chat_hello")
        self._console.advice([hello, say("capstone.chat_quit")])
        for number, opening in enumerate(_typed()):
            self._complete(speaker, opening, temperature, seed + number)

    def _complete(
        self, speaker: Speaker, opening: str, temperature: float | None, seed: int
    ) -> None:
        click.echo(opening, nl=False)
        try:
            for piece in speaker.stream(opening, temperature, seed):
                click.echo("\n".join(map(sanitize_line, piece.split("\n"))), nl=False)
                sys.stdout.flush()
        except KeyboardInterrupt:  # enough of this one
            pass
        click.echo()


def _typed() -> Iterable[str]:
    """Lines that somebody types or that come through a pipe, up to the first empty one."""
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not line:
            return
        yield line


def _lines(samples: Iterable[Sample]) -> list[str]:
    """Samples, indented; a long one goes on in the same line."""
    lines = []
    for sample in samples:
        first, *rest = sample.text.splitlines() or [""]
        lines += [f"  · {sanitize_line(first)}", *(f"    {sanitize_line(line)}" for line in rest)]
    return lines


def labelled_curve(losses: Sequence[float], width: int) -> list[str]:
    """The loss by step, with its highest and lowest value at the side."""
    rows = curve(losses, width, _HEIGHT)
    top, bottom = max(losses), min(losses)
    labels = {0: f"{top:6.2f}", len(rows) - 1: f"{bottom:6.2f}"}
    return [f"{labels.get(row, ' ' * 6)} {line}" for row, line in enumerate(rows)]


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """Numbers as a line of Braille dots, `height` lines of `width` characters.

    Each column of dots is the mean of its share of the values; a step from one column to the next
    is filled, so that the line does not break.
    """
    columns, rows = 2 * width, 4 * height
    count = min(columns, len(values))
    means = []
    for column in range(count):
        first, end = column * len(values) // count, (column + 1) * len(values) // count
        share = values[first : max(end, first + 1)]
        means.append(sum(share) / len(share))
    low, high = min(means), max(means)
    scale = (rows - 1) / (high - low) if high > low else 0.0
    places = [round((high - mean) * scale) for mean in means]
    cells = [[0] * width for _ in range(height)]
    for column, place in enumerate(places):
        before = places[column - 1] if column else place
        for row in range(min(before, place), max(before, place) + 1):
            cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
    return ["".join(chr(0x2800 + cell) for cell in line).rstrip("\u2800") for line in cells]
