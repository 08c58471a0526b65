"""Everything that the commands print. No other module of the grader writes to the terminal."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

if TYPE_CHECKING:  # what is printed is made elsewhere: a hint must not wait for torch
    from grader.bench import Figure
    from grader.conclusions import Conclusion, Margin
    from grader.curriculum import Curriculum, Exercise
    from grader.doctor import Mechanism
    from grader.grading import Grade, Verdict
    from grader.progress import Progress, Standing
    from grader.stubs import StubResult, Undone


_BAR = 24


class Report:
    """Prints to one console; plain where the output is no terminal or NO_COLOR is set."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def error(self, message: str) -> None:
        """A command could not do what was asked."""
        self._errors.print(message, style="red", markup=False)

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(line, markup=False)

    def progress(self, progress: Progress, curriculum: Curriculum) -> None:
        """One screen: what is done, what is next, what it is worth."""
        share = progress.points / progress.possible if progress.possible else Fraction(0)
        filled = int(share * _BAR)
        self._console.print(
            f"MiniMind  {'█' * filled}{'░' * (_BAR - filled)}  "
            f"{_points(progress.points)} of {progress.possible} points",
            markup=False,
        )
        for part in curriculum.parts:
            mine = [s for s in progress.standings if s.exercise.part == part.id]
            if mine:
                self._part(part.title, mine)
        self.next(progress.next)

    def _part(self, title: str, standings: Sequence[Standing]) -> None:
        table = _plain_table(title, 5)
        for standing in standings:
            exercise = standing.exercise
            table.add_row(
                "✓" if standing.done else "·",
                exercise.id,
                exercise.title,
                _state(standing),
                f"{_points(standing.points)}/{exercise.points}",
            )
        self._console.print(table)

    def next(self, standing: Standing | None) -> None:
        """Where to go on: the lesson to read, the file to edit, the tests to run."""
        if standing is None:
            self.lines(["all done: every point is yours"])
            return
        exercise = standing.exercise
        paths = exercise.paths(Path())
        self.lines(
            [
                f"next: {exercise.title} (about {exercise.minutes} min)",
                f"  read {paths.lesson.as_posix()}",
                f"  edit {paths.stub.as_posix()}",
                f"  run  pytest {paths.test_file.as_posix()}",
            ]
        )

    def syllabus(self, curriculum: Curriculum, untouched: Container[str]) -> None:
        """Every exercise under its part, and what is planned."""
        for part in curriculum.parts:
            mine = [e for e in curriculum.exercises if e.part == part.id]
            if part.planned:
                self.lines([f"{part.title}: planned. {part.planned}"])
            elif mine:
                table = _plain_table(part.title, 5)
                for exercise in mine:
                    state = "not started" if exercise.id in untouched else "started"
                    points, minutes = f"{exercise.points} points", f"{exercise.minutes} min"
                    table.add_row(exercise.id, exercise.title, points, minutes, state)
                self._console.print(table)

    def lesson(self, text: str) -> None:
        """A lesson, set for the terminal."""
        console = Console()  # unlike messages, a lesson is set to the width of the terminal
        console.print(Markdown(text), width=min(console.width, 100))

    def reset(self, exercise: Exercise, backup: Path | None) -> None:
        if backup is None:
            self.lines([f"{exercise.id} is the stub again; there were no edits to keep"])
            return
        self.lines(
            [
                f"{exercise.id} is the stub again; your edits are in {backup}",
                f"  back: grader reset {exercise.short} --undo",
            ]
        )

    def restored(self, exercise: Exercise, undone: Undone) -> None:
        self.lines([f"{exercise.id} is again what it was: {undone.restored}"])
        if undone.backup:
            self.lines([f"  what stood there meanwhile is in {undone.backup}"])

    def grade(self, grade: Grade) -> None:
        """A submission's points, and the verdict of each test that did not pass."""
        self.lines(
            [
                f"{grade.submission}: {_points(grade.points)} of {grade.possible} points"
                f"   (profile {grade.profile}, seed {grade.seed})"
            ]
        )
        for mark in grade.marks:
            self.lines([f"{mark.exercise}: {_points(mark.points)} of {mark.possible}"])
            self.lines(f"  flag: {flag}" for flag in mark.flags)
            self.lines(_verdict_lines(mark.verdicts))

    def doctor(self, profile: str, mechanisms: Iterable[Mechanism]) -> None:
        """What isolation rests on here."""
        table = Table(box=None, pad_edge=False)
        for name in ("mechanism", "here", "for", "detail"):
            table.add_column(name)
        for mechanism in mechanisms:
            here = "yes" if mechanism.available else "NO"
            table.add_row(mechanism.name, here, mechanism.needed_for, mechanism.detail)
        self._console.print(table)
        self.lines([f"chosen: {profile}"])
        if profile == "process":
            self.lines(
                ["a separate process protects the grade, not this machine: grading the work of"]
                + ["others needs --accept-unsandboxed here"]
            )

    def stubs(self, results: Iterable[StubResult]) -> None:
        for result in results:
            line = f"{result.state:14} {result.path.name}"
            if result.backup:
                line += f"   (your edits are in {result.backup})"
            self.lines([line])

    def hint(self, exercise: Exercise, level: int) -> None:
        count = len(exercise.hints)
        self.lines([f"{exercise.id} · hint {level} of {count}", exercise.hints[level - 1].strip()])
        if level < count:
            self.lines([f"more: grader hint {exercise.short} --level {level + 1}"])

    def conclusion(self, conclusion: Conclusion, *, margins: bool) -> None:
        """What the course check proved of one exercise."""
        c = conclusion
        style = "green" if c.ok else "red"
        self._console.print(
            f"{c.exercise}: {c.tests} tests · {c.named} of {c.mistakes} mistakes caught and named"
            f" · {c.rejected} of {c.alternatives} alternatives rejected · null answers win at most "
            f"{c.largest_null_share:.0%} · {c.runs} runs",
            style=style,
            markup=False,
        )
        if c.spare:
            self.lines([f"  needed by no mistake or null answer ({len(c.spare)} of {c.tests}):"])
            self.lines(f"    {test}" for test in c.spare)
        for mistake, proof in c.undetectable:
            self.lines([f"  not detectable on any CPU input: {mistake}: {proof}"])
        if margins:
            self._margins(c.right_margins, c.mistake_margins)
        for problem in c.problems:
            self._console.print(f"  {problem}", style="red", markup=False)

    def _margins(self, right: Sequence[Margin], mistakes: Sequence[Margin]) -> None:
        self.lines(["  right answers use at most this part of the allowed error:"])
        self.lines(f"    {m.used:8.1%}  {m.precision:9} {m.test}  ({m.who})" for m in right)
        self.lines(
            ["  mistakes exceed the allowed error at least this many times where they show most:"]
        )
        for m in sorted(mistakes, key=lambda m: m.used):
            times = "otherwise" if m.used == float("inf") else f"{m.used:9.3g}"
            self.lines([f"    {times}  {m.who}: {m.precision} in {m.test}"])

    def problems(self, problems: Iterable[str]) -> None:
        for problem in problems:
            self._console.print(problem, style="red", markup=False)

    def figures(self, figures: Iterable[Figure]) -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("name", "value", "unit", "limit", "ok"):
            table.add_column(name, justify="right" if name in ("value", "limit") else "left")
        for figure in figures:
            limit = "" if figure.limit is None else f"{figure.limit:g}"
            ok = "" if figure.ok is None else ("yes" if figure.ok else "NO")
            table.add_row(figure.name, f"{figure.value:.4g}", figure.unit, limit, ok)
        self._console.print(table)


def _verdict_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Each failed test, and once what several tests were told alike."""
    told: set[tuple[str, ...]] = set()
    for verdict in verdicts:
        if not verdict.passed:
            yield f"  {verdict.verdict}: {verdict.sentence}"
            if verdict.message not in told:
                told.add(verdict.message)
                yield from (f"  {line}" for line in verdict.message)


def _plain_table(title: str, columns: int) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=False,
    )
    for _ in range(columns):
        table.add_column()
    return table


def _points(points: Fraction) -> str:
    """Points with at most one decimal, rounded down: 99.97 is not 100."""
    tenths = int(points * 10)
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths / 10:.1f}"


def _state(standing: Standing) -> str:
    if standing.done:
        return "done"
    if not standing.started:
        return "not started"
    return f"{standing.passed} of {standing.tests} tests pass"
