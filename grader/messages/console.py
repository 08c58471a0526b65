"""Everything that the commands print. No other module of the grader writes to the terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import datetime
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from grader.messages.catalog import exercise_title, part_plan, part_title, path_title, say
from grader.messages.sanitize import harmless
from grader.proof.figures.figure import Figure

if TYPE_CHECKING:  # what is printed is made elsewhere: a hint must not wait for torch
    from grader.classroom.grade import Grade
    from grader.course.stubs import StubResult, Undone
    from grader.course.syllabus import Exercise, HintLadder, LearningPath, Syllabus
    from grader.isolation.machine import Mechanism
    from grader.learner.progress import Progress, Standing
    from grader.learner.update.merge import Change, Update
    from grader.learner.watch.session import Session
    from grader.proof.figures.figure import Stage
    from grader.proof.verdict import Conclusion, Margin
    from grader.results.record import ExerciseResult


_BAR = 24
_MOST_ROWS = 4
"""What a complaint may take in the progress report."""
_CONTINUED = "  "
_COMMAND = re.compile(r"\b(grader|pytest) \w")


class Wordiness(Enum):
    """How much is said: `quiet` leaves out tables and advice, `verbose` leaves out nothing."""

    QUIET = "quiet"
    USUAL = "usual"
    VERBOSE = "verbose"


class Report:
    """Prints to one console; plain where the output is no terminal or NO_COLOR is set.

    It says as much as the command line's --quiet or --verbose asked for.
    """

    def __init__(self) -> None:
        context = click.get_current_context(silent=True)
        wordiness = context.find_object(Wordiness) if context else None
        self._quiet = wordiness is Wordiness.QUIET
        self._verbose = wordiness is Wordiness.VERBOSE
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def error(self, message: str) -> None:
        """A command could not do what was asked."""
        self._errors.print(message, style="red", markup=False)

    def warning(self, message: str) -> None:
        """Something is not as it should be and the command did what was asked; nothing if empty."""
        if message:
            self._errors.print(message, style="yellow", markup=False)

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(line, markup=False)

    def advice(self, lines: Iterable[str]) -> None:
        """What to do next, which --quiet leaves out."""
        if not self._quiet:
            self.lines(lines)

    def progress(self, progress: Progress, syllabus: Syllabus, path: LearningPath) -> None:
        """One screen: what is done, what is next, what it is worth."""
        share = progress.points / progress.possible if progress.possible else Fraction(0)
        filled = int(share * _BAR)
        earned = say("report.points", points=points(progress.points), possible=progress.possible)
        self.lines([f"MiniMind  {'█' * filled}{'░' * (_BAR - filled)}  {earned}"])
        if self._quiet:
            return
        if progress.next:
            left = duration(progress.minutes_left)
            self.lines([say("report.path_left", id=path.id, title=path_title(path), time=left)])
        else:
            self.lines([say("report.path", id=path.id, title=path_title(path))])
        for part in syllabus.parts:
            mine = [s for s in progress.standings if s.exercise.part == part.id]
            if mine:
                self._part(part_title(part), mine)
        for standing in progress.standings:
            self._in_the_way(standing)
        self._go_on(progress.next, syllabus.longer_than(path))
        if progress.next and not any(standing.started for standing in progress.standings):
            self.lines([say("report.or_watch")])

    def _part(self, title: str, standings: Sequence[Standing]) -> None:
        table = _plain_table(title, 5)
        for standing in standings:
            exercise = standing.exercise
            table.add_row(
                "✓" if standing.done else "·",
                exercise.id,
                exercise_title(exercise),
                _state(standing),
                f"{points(standing.points)}/{exercise.points}",
            )
        self._console.print(table)

    def _in_the_way(self, standing: Standing) -> None:
        """What stands in the way of an exercise that is begun, in a few lines or in all."""
        exercise, result = standing.exercise, standing.result
        if standing.is_missing:
            file = exercise.paths(Path()).stub.as_posix()
            self.lines([say("report.missing", exercise=exercise.id, file=file)])
            self.lines([say("report.bring_back", short=exercise.short)])
        if result is None:
            return
        if self._verbose:
            self._failing(exercise, result)
        elif not standing.done:
            self._complain(exercise, result)

    def _complain(self, exercise: Exercise, result: ExerciseResult) -> None:
        """The first complaint, in a few rows, and the command that goes on."""
        lines = [*map(harmless, _first_complaint(result))]
        step = say("report.go_on", short=exercise.short)
        last = result.lines[-1] if result.lines else ""
        if last.startswith(step.partition("grader")[0]):
            step = last if _COMMAND.search(last) else step
            lines = [line for line in lines if line != last]
        rows = 0
        for place, line in enumerate(lines):
            rows += len(self._rows(line))
            if place and rows > _MOST_ROWS:
                break
            self._fitted(line)
        if not (len(lines) == 1 and _COMMAND.search(lines[0])):
            self.lines([step])

    def _failing(self, exercise: Exercise, result: ExerciseResult) -> None:
        """All that is known of a run, the tests that do not pass yet, and what repeats it."""
        when = datetime.fromtimestamp(result.when).strftime("%Y-%m-%d %H:%M")
        self.lines([say("report.seed", exercise=exercise.id, when=when, seed=result.seed)])
        lines = result.details or result.lines
        for line in lines:
            self._fitted(harmless(line))
        told = "\n".join(lines)
        failing = (t.sentence for t in result.tests if not t.passed and t.sentence not in told)
        for sentence in failing:
            self._fitted(say("report.test_fails", exercise=exercise.id, sentence=sentence))

    def _fitted(self, line: str) -> None:
        """A line set to the width of a terminal: what is too long goes on below, indented."""
        self.lines(self._rows(line) if self._console.is_terminal else [line])

    def _rows(self, line: str) -> list[str]:
        words = line.lstrip()
        margin = " " * (len(line) - len(words))
        width = max(1, self._console.width - len(margin) - len(_CONTINUED))
        first, *rest = Text(words).wrap(self._console, width) or [Text()]
        continued = (f"{margin}{_CONTINUED}{row.plain.rstrip()}" for row in rest)
        return [f"{margin}{first.plain.rstrip()}", *continued]

    def next(self, standing: Standing | None, longer: LearningPath | None) -> None:
        """Where to go on, and what stands in the way there."""
        if standing and not self._quiet:
            self._in_the_way(standing)
        self._go_on(standing, longer)

    def _go_on(self, standing: Standing | None, longer: LearningPath | None) -> None:
        """Where to go on: the lesson to read, the file to edit, the tests to run.

        At the end of a learning path that is the `longer` one, if there is one.
        """
        if standing is None:
            self.lines([say("report.all_done")])
            if longer:
                self.advice([say("report.next_path", id=longer.id, title=path_title(longer))])
            return
        exercise = standing.exercise
        if self._quiet:
            self.lines([exercise.id])
            return
        paths = exercise.paths(Path())
        self.lines(
            [
                say("report.next", title=exercise_title(exercise), time=duration(exercise.minutes)),
                say("report.read", file=paths.lesson.as_posix()),
                say("report.edit", file=paths.stub.as_posix()),
                say("report.run", file=paths.test_file.as_posix()),
            ]
        )

    def paths(self, syllabus: Syllabus, chosen: LearningPath) -> None:
        """The learning paths, the chosen one marked."""
        if self._quiet:
            self.lines([chosen.id])
            return
        table = _plain_table("", 5)
        for path in syllabus.paths:
            count = len(path.exercises)
            table.add_row(
                "→" if path == chosen else "",
                path.id,
                path_title(path),
                say("report.exercise") if count == 1 else say("report.exercises", count=count),
                say("report.about", time=duration(path.minutes)),
            )
        self._console.print(table)
        ids = "|".join(path.id for path in syllabus.paths)
        self.advice([say("report.choose_path", ids=ids)])

    def path_chosen(self, path: LearningPath) -> None:
        said = say("report.path", id=path.id, title=path_title(path))
        self.advice([said, say("report.path_chosen")])

    def syllabus(self, syllabus: Syllabus, untouched: Container[str]) -> None:
        """Every exercise under its part, and what is planned."""
        if self._quiet:
            self.lines(exercise.id for exercise in syllabus.exercises)
            return
        for part in syllabus.parts:
            mine = [e for e in syllabus.exercises if e.part == part.id]
            if part.planned:
                what = part_plan(part)
                self.lines([say("report.planned", title=part_title(part), what=what)])
            elif mine:
                table = _plain_table(part_title(part), 5)
                for exercise in mine:
                    started = exercise.id not in untouched
                    table.add_row(
                        exercise.id,
                        exercise_title(exercise),
                        say("report.exercise_points", points=exercise.points),
                        duration(exercise.minutes),
                        say("report.started") if started else say("report.not_started"),
                    )
                self._console.print(table)
                if self._verbose:
                    self._prerequisites(mine)

    def _prerequisites(self, exercises: Iterable[Exercise]) -> None:
        for exercise in exercises:
            if exercise.prerequisites:
                others = ", ".join(exercise.prerequisites)
                self.lines([say("report.builds_on", exercise=exercise.id, others=others)])

    def lesson(self, text: str) -> None:
        """A lesson, set for the terminal."""
        console = Console()  # unlike messages, a lesson is set to the width of the terminal
        console.print(Markdown(text), width=min(console.width, 100))

    def solution(self, text: str) -> None:
        """A worked answer, coloured on a terminal, and to the letter where it goes to a file."""
        from rich.syntax import Syntax

        self._console.print(Syntax("", "python", theme="ansi_dark").highlight(text), end="")

    def solution_refused(self, exercise: Exercise, problem: str) -> None:
        """Why a worked answer is not shown yet, and the two ways to it."""
        self.error(say("report.solution_refused", exercise=exercise.id))
        self.warning(problem)
        self._errors.print(say("report.solution_next", short=exercise.short), markup=False)

    def watched(self, session: Session) -> None:
        """What is left on the terminal after `grader watch`: where the learner has stopped."""
        exercise = session.exercise
        state = session.standings.state(exercise)
        self.lines([say("report.stopped_at", exercise=exercise.id, state=state)])
        self.warning(session.history.problem)
        if session.standings.after() is not None:
            self.lines([say("report.watch_next")])

    def reset(self, exercise: Exercise, backup: Path | None) -> None:
        if backup is None:
            self.lines([say("report.reset_without_edits", exercise=exercise.id)])
            return
        self.lines([say("report.reset", exercise=exercise.id, backup=_from_here(backup))])
        self.advice([say("report.reset_back", short=exercise.short)])

    def restored(self, exercise: Exercise, undone: Undone) -> None:
        backup = _from_here(undone.restored)
        self.lines([say("report.restored", exercise=exercise.id, backup=backup)])
        if undone.backup:
            self.lines([say("report.restored_meanwhile", backup=_from_here(undone.backup))])

    def update_begins(self, source: str | None) -> None:
        self.advice([say("report.update_begins", source=source or say("report.the_remote"))])

    def update(self, update: Update, root: Path, *, dry_run: bool) -> None:
        """What an update did to each exercise, to the rest in numbers, and where backups are."""
        if all(change.kind in ("kept", "left") for change in update.changes):
            self.lines([say("report.update_nothing", course=update.course.name)])
        for change in update.changes:
            if change.exercise:
                self.lines([f"  {change.exercise:16} {_happened(change)}"])
        rest = Counter(change.kind for change in update.changes if not change.exercise)
        changed = rest.total() - rest["left"]
        if changed:
            new, gone = rest["new"], rest["removed"]
            self.lines([say("report.update_others", count=changed, new=new, gone=gone)])
        for name, backup in update.backups.items():
            place = backup.relative_to(root).as_posix()
            self.lines([say("report.update_backup", file=name, backup=place)])
        if update.dependencies_changed:
            self.advice([say("report.update_install")])
        if update.branch_moved is False:
            self.advice([say("report.update_branch")])
        if dry_run:
            self.lines([say("report.update_dry_run")])

    def grade(self, grade: Grade) -> None:
        """A submission's points, and the verdict of each test that did not pass."""
        said = say(
            "report.grade",
            submission=grade.submission,
            points=points(grade.earned),
            possible=grade.points,
            profile=grade.profile,
            seed=grade.seed,
        )
        self.lines([said])
        for result in grade.results:
            name, earned = result.exercise, points(grade.earned_in(result))
            said = say("report.mark", exercise=name, points=earned, possible=result.points)
            self.lines([said if result.is_graded else _not_graded(name)])
            self.lines(say("report.flag", flag=flag) for flag in result.flags)
            self.lines(f"  {line.removeprefix(f'{name} · ')}" for line in result.lines)

    def doctor(self, profile: str, mechanisms: Iterable[Mechanism]) -> None:
        """What isolation rests on here."""
        table = Table(box=None, pad_edge=False)
        table.add_column(say("report.mechanism"))
        table.add_column(say("report.here"))
        table.add_column(say("report.needed_for"))
        table.add_column(say("report.detail"))
        for mechanism in mechanisms:
            here = say("report.available") if mechanism.available else say("report.unavailable")
            table.add_row(mechanism.name, here, mechanism.needed_for, mechanism.detail)
        self._console.print(table)
        self.lines([say("report.profile", profile=profile)])
        if profile == "process":
            self.lines([say("report.only_a_process"), say("report.only_a_process_next")])

    def written(self, files: Iterable[Path]) -> None:
        self.lines(say("report.wrote", file=file) for file in files)

    def stubs(self, results: Iterable[StubResult]) -> None:
        for result in results:
            line = f"{result.state:14} {result.path.name}"
            if result.backup:
                line += f"   (your edits are in {result.backup})"
            self.lines([line])

    def hint(self, exercise: Exercise, hints: HintLadder, level: int, *, named: bool) -> None:
        """A hint, and what gives the next one; `named` is whether the function was asked for."""
        short, about, count = exercise.short, hints.about, len(hints.levels)
        heading = say("report.hint", exercise=exercise.id, about=about, level=level, count=count)
        self.advice([heading])
        self.lines([hints.levels[level - 1]])
        if level == count:
            self._other_hints(exercise, hints)
        elif named:
            said = say("report.more_hints_about", short=short, about=about, level=level + 1)
            self.advice([said])
        else:
            self.advice([say("report.more_hints", short=short, level=level + 1)])

    def _other_hints(self, exercise: Exercise, hints: HintLadder) -> None:
        """How to ask about the function that comes next in the file, or any other."""
        after = exercise.hints.index(hints) + 1
        others = [o.about for o in (*exercise.hints[after:], *exercise.hints[: after - 1])]
        if others:
            said = say("report.next_hints", short=exercise.short, about=others[0])
            self.advice([said])
        if others[1:]:
            self.advice([say("report.other_hints", functions=", ".join(others[1:]))])

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

    def figures(self, measured: Iterable[Figure | Stage]) -> Iterator[Figure]:
        """Print each figure as soon as it is measured, and meanwhile how far the next one is.

        The bar is drawn between measurements only: amid one, what is printed belongs to it.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._console.print(_row("name", "value", "unit", "limit", "ok"))
        with Progress(
            *columns,
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._console.is_terminal,
        ) as bar:
            task = bar.add_task("")
            told = ""
            for event in measured:
                if isinstance(event, Figure):
                    limit = "" if event.limit is None else f"{event.limit:g}"
                    ok = "" if event.ok is None else ("yes" if event.ok else "NO")
                    value = f"{event.value:.4g}"
                    self._console.print(_row(event.name, value, event.unit, limit, ok))
                    yield event
                    continue
                bar.update(task, description=event.name, completed=event.done, total=event.of)
                bar.refresh()
                if event.name != told and not self._console.is_terminal:
                    self._console.print(f"… {event.name}: {event.of}", markup=False)
                told = event.name


def _row(name: str, value: str, unit: str, limit: str, ok: str) -> str:
    return f"{name:<54} {value:>8}  {unit:<11} {limit:>6}  {ok}".rstrip()


def _from_here(file: Path) -> Path:
    """A file as it is called from the folder that the command was typed in, if it lies below."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


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


def _first_complaint(result: ExerciseResult) -> Iterator[str]:
    """What is said first of an exercise: of a test by its sentence, or of a mistake by its name."""
    sentences = {test.sentence for test in result.tests}
    began = False
    for place, line in enumerate(result.lines):
        is_title = not line.startswith(" ")
        if is_title and began:
            return  # the next complaint
        began = began or not is_title
        if not (place and line.strip() in sentences):
            yield line


def _happened(change: Change) -> str:
    """What an update did to an exercise."""
    match change.kind:
        case "new":
            return say("report.update_new")
        case "updated":
            return say("report.update_updated")
        case "merged":
            return say("report.update_merged")
        case "kept" if change.other:
            return say("report.update_still_beside", file=change.other)
        case "kept":
            return say("report.update_kept")
        case "beside":
            return say("report.update_beside", file=change.other)
        case "renamed":
            return say("report.update_renamed", file=change.other)
        case "split":
            return say("report.update_split", file=change.other)
        case "removed":
            return say("report.update_removed")
        case _:
            return say("report.update_left")


def duration(minutes: int) -> str:
    """Minutes in words: "12 min", "3 h 5 min", "2 h"."""
    hours, rest = divmod(minutes, 60)
    told = [say("report.hours", count=hours)] if hours else []
    if rest or not hours:
        told.append(say("report.minutes", count=rest))
    return " ".join(told)


def points(value: Fraction) -> str:
    """Points with at most one decimal, rounded down: 99.97 is not 100."""
    tenths = int(value * 10)
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths / 10:.1f}"


def _not_graded(exercise: str) -> str:
    return say("report.mark_not_graded", exercise=exercise)


def _state(standing: Standing) -> str:
    if standing.result is not None and not standing.result.is_graded:
        return say("report.not_graded")
    if standing.done:
        return say("report.done")
    if standing.is_missing:
        return say("report.file_missing")
    if not standing.started:
        return say("report.not_started")
    return say("report.tests_pass", passed=standing.passed, tests=standing.tests)
