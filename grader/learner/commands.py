"""The learner's commands. Whatever takes time to import is imported when a command runs."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click

from grader.course.arguments import (
    ExerciseName,
    ExperimentName,
    FunctionName,
    OutputFile,
    PathName,
    course_folder,
    this_course,
)
from grader.course.course import Course
from grader.course.syllabus import Exercise, Experiment, HintLadder, LearningPath
from grader.learner.capstone import commands as capstone
from grader.learner.settings import (
    SETTINGS,
    choose_path,
    chosen_path,
    remember_experiment,
    seen_experiments,
    unseen_experiments,
)
from grader.messages.catalog import say
from grader.messages.click_words import command
from grader.results.record import TRY_AGAIN


def show_progress() -> None:
    """What `grader` does without a command."""
    from grader.learner import printing
    from grader.learner.progress import measure
    from grader.messages.console import Console

    course, console = this_course(), Console()
    path = chosen_path(course)
    progress = measure(course, course.syllabus.on(path))
    to_watch = unseen_experiments(course, path)
    printing.progress(console, progress, course, path, to_watch)
    console.warning(progress.problem)
    if not progress.is_graded:
        sys.exit(TRY_AGAIN)


@command()
@click.argument("exercise", type=ExerciseName(), required=False)
@click.option("--level", type=int, default=1, help="1 is a nudge, the last nearly the answer.")
@click.option("--about", type=FunctionName(), help="A function; otherwise the one that fails.")
def hint(exercise: str | None, level: int, about: str | None) -> None:
    """A hint: grader hint, or for another exercise grader hint ex02."""
    from grader.learner import printing
    from grader.learner.hints import first_hints
    from grader.learner.history import History
    from grader.messages.console import Console

    course, console = this_course(), Console()
    found = _named_or_current(exercise, course)
    with closing(History.open(course.root)) as history:
        if about is None:
            hints = first_hints(found, course, history.runs(found.id))
        else:
            hints = _hints_about(found, about)
        count = len(hints.levels)
        if not 1 <= level <= count:
            what = f"{found.id} · {hints.about}"
            raise click.UsageError(say("cli.no_level", level=level, what=what, count=count))
        printing.hint(console, found, hints, level, named=about is not None)
        history.record_hint(found.id, hints.about, level)
        console.warning(history.problem)


def _hints_about(exercise: Exercise, function: str) -> HintLadder:
    hints = exercise.hints_about(function)
    if hints is None:
        known = ", ".join(ladder.about for ladder in exercise.hints)
        sentence = say("cli.no_function", exercise=exercise.id, asked=function, known=known)
        raise click.UsageError(sentence)
    return hints


@command()
@click.argument("exercise", type=ExerciseName(), required=False)
@click.option("--give-up", is_flag=True, help="Before a pass, too; your history remembers it.")
def solution(exercise: str | None, give_up: bool) -> None:
    """The worked answer, once yours has passed: grader solution ex02."""
    from grader.learner import printing
    from grader.learner.history import History
    from grader.messages.console import Console

    course, console = this_course(), Console()
    found = _named_or_current(exercise, course)
    file = course.paths(found).solution
    if not file.exists():
        console.stop(say("cli.no_solution", short=found.short), 1)
    with closing(History.open(course.root)) as history:
        passed = any(run.done for run in history.runs(found.id))
        if not (passed or give_up or history.solutions().get(found.id)):
            printing.solution_refused(console, found, history.problem)
            sys.exit(1)
        printing.solution(console, file.read_text(encoding="utf-8"))
        history.record_solution(found.id, gave_up=not passed)
        console.warning(history.problem)


@command("list")
def list_exercises() -> None:
    """All exercises with points, time and whether they are started."""
    from grader.course.stubs import is_untouched
    from grader.learner import printing
    from grader.messages.console import Console

    course = this_course()
    untouched = {e.id for e in course.exercises if is_untouched(e, course)}
    printing.exercises(Console(), course, untouched)


@command("next")
def next_exercise() -> None:
    """What to do next, and where to begin.

    The first exercise of your path that is not done, after the path's experiments.
    """
    from grader.learner import printing
    from grader.learner.progress import measure
    from grader.messages.console import Console

    course, console = this_course(), Console()
    path = chosen_path(course)
    progress = measure(course, course.syllabus.on(path))
    to_watch = unseen_experiments(course, path)
    printing.next_exercise(console, progress.next, course, path, to_watch)
    console.warning(progress.problem)


@command("path")
@click.argument("path", type=PathName(), required=False)
def choose_learning_path(path: LearningPath | None) -> None:
    """The learning paths; grader path core takes another one."""
    from grader.learner import printing
    from grader.messages.console import Console

    course, console = this_course(), Console()
    if path is None:
        printing.paths(console, course.syllabus, chosen_path(course))
        return
    try:
        choose_path(path, course.root)
    except OSError as error:
        why = error.strerror
        console.stop(say("cli.path_not_kept", file=SETTINGS.as_posix(), why=why), 1)
    printing.path_chosen(console, path, unseen_experiments(course, path))


@command("experiment")
@click.argument("experiment", type=ExperimentName(), required=False)
@click.option("--svg", type=OutputFile(), help="The chart as a picture, too.")
@click.option(
    "--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many to try."
)
def run_experiment(experiment: Experiment | None, svg: Path | None, seeds: int) -> None:
    """What if we left it out? grader experiment no_rope.

    Small models are trained with a part and without it, under several seeds. Without a name: the
    list.
    """
    from grader.learner.experiments import printing
    from grader.messages.console import Console

    course, console = this_course(), Console()
    if experiment is None:
        printing.experiments(console, course.syllabus, seen_experiments(course.root))
        return
    from grader.learner.experiments.run import ExperimentError, draw_later, trials

    try:
        draw = draw_later(svg) if svg else None
        table = printing.watched(console, experiment, trials(experiment, seeds))
        if draw is not None:
            draw(experiment, table)
            console.lines([say("report.wrote", file=svg)])
    except ExperimentError as error:
        console.stop(str(error), 1)
    try:
        remember_experiment(experiment, course.root)
    except OSError as error:
        file, why = SETTINGS.as_posix(), error.strerror
        console.warning(say("cli.experiment_not_kept", file=file, why=why))
    printing.what_now(console, experiment, unseen_experiments(course, chosen_path(course)))


@command()
@click.argument("exercise", type=ExerciseName(), required=False)
def watch(exercise: str | None) -> None:
    """Stay open and check every save at once.

    Begins where you stopped, or at the first exercise that is not done; grader watch ex02 begins
    at that one.
    """
    from grader.learner import printing
    from grader.learner.watch.loop import NoTerminal
    from grader.learner.watch.loop import watch as watch_until_quit
    from grader.messages.console import Console

    course = this_course()
    first = course.syllabus.find(exercise) if exercise else None
    try:
        session = watch_until_quit(course, first)
    except NoTerminal:
        raise click.UsageError(say("cli.no_terminal")) from None
    printing.watched(Console(), session)


@command()
@click.argument("exercise", type=ExerciseName(), required=False)
def show(exercise: str | None) -> None:
    """A lesson: grader show, or of another exercise grader show ex02."""
    from grader.learner import printing
    from grader.messages.console import Console

    course, console = this_course(), Console()
    found = _named_or_current(exercise, course)
    lesson = course.paths(found).lesson
    if not lesson.exists():
        name = lesson.relative_to(course.root)
        console.stop(say("cli.no_lesson", lesson=name, short=found.short), 1)
    printing.lesson(console, lesson.read_text(encoding="utf-8"))


@command()
@click.argument("exercise", type=ExerciseName(), required=False)
@click.option("--undo", is_flag=True, help="Bring back what the last reset put away.")
def reset(exercise: str | None, undo: bool) -> None:
    """Start an exercise again; --undo brings your edits back.

    Without a name it is the current exercise. Your edits are kept.
    """
    from grader.course import stubs
    from grader.learner import printing
    from grader.messages.console import Console

    course, console = this_course(), Console()
    found = _named_or_current(exercise, course)
    if undo:
        printing.restored(console, found, stubs.undo_reset(found, course))
    else:
        printing.reset(console, found, stubs.reset(found, course))


@command("update")
@click.argument("source", required=False)
@click.option("--branch", help="The branch to take; the one that is followed, otherwise.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
def update_course(source: str | None, branch: str | None, dry_run: bool) -> None:
    """Bring in a newer course; your edits are kept.

    Where the stub has changed, both are merged. SOURCE is a git remote or address, a folder or an
    archive; without it, what the clone follows.
    """
    from grader.learner.update import printing
    from grader.learner.update.fetch import UpdateError
    from grader.learner.update.merge import update
    from grader.messages.console import Console

    # What prints the outcome is imported first, because an update replaces these files too. The
    # syllabus is not read: it may be what the update repairs.
    console, root = Console(), course_folder()
    printing.update_begins(console, source)
    try:
        done = update(root, source, branch=branch, dry_run=dry_run)
    except UpdateError as error:
        console.stop(str(error), 1)
    printing.updated(console, done, root, dry_run=dry_run)


@command("report")
@click.option("--html", type=OutputFile(), help="One page that needs nothing else.")
@click.option("--json", type=OutputFile(), help="Version 2 of grader/schemas/report.schema.json.")
@click.option("--junit", type=OutputFile(), help="For build servers.")
@click.option("--badge", type=OutputFile(), help="For shields.io.")
@click.option("--name", default="", help="What the page calls you.")
def write_progress_report(name: str, **files: Path | None) -> None:
    """Your progress as files: a page, or JSON, JUnit and a badge."""
    from grader.learner import printing
    from grader.learner.report.write import CannotReport, Wanted, write_report
    from grader.messages.console import Console

    if not any(files.values()):
        raise click.UsageError(say("cli.nothing_to_write"))
    course, console = this_course(), Console()
    try:
        written = write_report(Wanted(**files), course, chosen_path(course), name)
    except CannotReport as error:
        console.stop(str(error), 1)
    printing.written(console, written)


def _named_or_current(name: str | None, course: Course) -> Exercise:
    """The exercise that is named, else the one that the learner is at."""
    if name is not None:
        return course.syllabus.find(name)
    from grader.learner.history import History
    from grader.learner.progress import current_exercise

    with closing(History.open(course.root)) as history:
        current = current_exercise(course, chosen_path(course), history)
    if current is None:
        raise click.UsageError(say("cli.none_left"))
    return current


COMMANDS = (
    *(hint, solution, list_exercises, next_exercise, choose_learning_path, watch, show, reset),
    *(run_experiment, update_course, write_progress_report),
    *capstone.COMMANDS,
)
