"""The `grader` command.

Exit codes: 0 all is well, 1 something is not as it should be (a check failed, stubs differ, a
figure missed its limit, a file or the output cannot be written), 2 the command was not understood,
3 the course itself is broken, 75 something could not be graded, which another try may do, 130 it
was interrupted. Whoever stops reading the output ends a command without a word, with 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from grader.course.course import Course
from grader.course.files import check_output, write_output
from grader.course.syllabus import (
    ROOT,
    BrokenCourse,
    Exercise,
    HintLadder,
    LearningPath,
    Syllabus,
    UnknownExercise,
    load,
)
from grader.learner.settings import SETTINGS, choose_path, chosen_path
from grader.messages.catalog import LANGUAGES, misnamed_language, say, translated
from grader.messages.click_words import teach_click
from grader.results.record import TRY_AGAIN

_OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EINVAL)

_HELP = "Show this message and exit."
_ENGLISH: dict[str, str] = {}
"""Each help text as the program has it, before it is said in another language."""

teach_click()


class _Command(click.Command):
    """A command whose --help is explained in the language of the moment."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:  # click keeps it, with the words that it had at first
            option.help = translated(f"click.{_HELP}", _HELP)
        return option


class _Course(_Command, click.Group):
    """Turns what the course's modules raise into one clear line and an exit code.

    Its help, and that of its commands, is in the learner's language.
    """

    command_class = _Command

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **options: Any
    ) -> click.Context:
        _print_what_can_be_printed()
        for name, command in {"grader": self, **self.commands}.items():
            english = _ENGLISH.setdefault(name, command.help or "")
            command.help = translated(f"help.{name}", english)
            for option in command.params:
                if isinstance(option, click.Option) and option.help:
                    name_of_it = f"{name}.{option.name}"
                    english = _ENGLISH.setdefault(name_of_it, option.help)
                    option.help = translated(f"help.{name_of_it}", english)
        return super().make_context(info_name, args, *rest, **options)

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            with _whole_output():
                return super().main(*args, **options)
        except OSError as error:
            why = error.strerror or str(error)
            if not _is_output(error):
                named = error.filename or type(error).__name__
                _stop(say("cli.file_failed", file=named, why=why), 1)
            if error.errno != errno.EPIPE:
                with contextlib.suppress(OSError):
                    click.echo(say("cli.no_output", why=why), err=True)
            _write_no_more()
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        from grader.course.stub_markers import MarkerError
        from grader.course.stubs import MissingFile

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _stop(say("cli.interrupted"), 130)
        except UnknownExercise as error:
            raise click.UsageError(str(error)) from None
        except (BrokenCourse, MarkerError) as error:
            _stop(str(error), 3)
        except MissingFile as error:
            _stop(str(error), 1)


@contextlib.contextmanager
def _whole_output() -> Iterator[None]:
    """Sees to it that what was printed has gone out, also where a command ends by `sys.exit`:
    afterwards Python could only say it with a traceback."""
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _is_output(error: OSError) -> bool:
    """Whether it was the output that could not be written, and no file: those have a name."""
    return error.filename is None and error.errno in _OUTPUT_ERRORS


def _write_no_more() -> None:
    """What is left in a buffer goes nowhere; Python would try once more when it ends."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _print_what_can_be_printed() -> None:
    """A file or an old terminal may lack a character; that must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _stop(message: str, code: int) -> None:
    from grader.messages.console import Report

    Report().error(message)
    sys.exit(code)


class _ExerciseName(click.ParamType):  # type: ignore[type-arg]  # older clicks take none
    """An exercise in any spelling; a shell completes its id."""

    name = "exercise"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        exercises = load(ROOT).exercises
        return [
            CompletionItem(exercise.id, help=exercise.title)
            for exercise in exercises
            if exercise.id.startswith(incomplete.lower())
        ]


class _PathName(click.ParamType):  # type: ignore[type-arg]
    """A learning path, by its id."""

    name = "path"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> LearningPath:
        known = {path.id: path for path in load(ROOT).paths}
        if value not in known:
            said = say("cli.no_path", asked=value, known=", ".join(known))
            self.fail(said, param, ctx)
        return known[str(value)]

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        paths = load(ROOT).paths
        return [CompletionItem(p.id, help=p.title) for p in paths if p.id.startswith(incomplete)]


class _FunctionName(click.ParamType):  # type: ignore[type-arg]
    """A function of an answer that there are hints about."""

    name = "function"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        course = Course.load(ROOT)
        asked = ctx.params.get("exercise")
        exercises = [course.syllabus.find(asked)] if asked else course.exercises
        about = [hints.about for exercise in exercises for hints in exercise.hints]
        return [CompletionItem(name) for name in about if name.startswith(incomplete)]


class _OutputFile(click.Path):
    """A file to write, refused before any work is done where it cannot be."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        file = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            check_output(file)
        except (OSError, ValueError) as error:  # ValueError: a null byte
            why = getattr(error, "strerror", None) or error
            self.fail(say("reporting.not_written", file=file, why=why), param, ctx)
        return file


_FILE = _OutputFile()


@click.group(cls=_Course, invoke_without_command=True)
@click.option("-q", "--quiet", is_flag=True, help="Only the result: no tables, no advice.")
@click.option("-v", "--verbose", is_flag=True, help="Also what is usually left out.")
@click.pass_context
def main(ctx: click.Context, quiet: bool, verbose: bool) -> None:
    """Your progress through the course; see the commands below for more.

    Without a command: runs every exercise you have started, in a separate process, and shows
    what is done, what stands in the way of the rest, and what is next.
    """
    from grader.messages.console import Wordiness

    if asked := misnamed_language():
        raise click.UsageError(say("cli.language", asked=asked, known=", ".join(LANGUAGES)))
    if quiet and verbose:
        raise click.UsageError(say("cli.quiet_and_verbose"))
    if quiet or verbose:
        ctx.obj = Wordiness.QUIET if quiet else Wordiness.VERBOSE
    if ctx.invoked_subcommand is None:
        _show_progress()


def _show_progress() -> None:
    from grader.learner.progress import measure
    from grader.messages.console import Report

    course = Course.load(ROOT)
    path = chosen_path(course)
    progress = measure(course, course.syllabus.on(path))
    Report().progress(progress, course.syllabus, path)
    Report().warning(progress.problem)
    if not progress.is_graded:
        sys.exit(TRY_AGAIN)


@main.command()
@click.argument("exercise", type=_ExerciseName(), required=False)
@click.option("--level", type=int, default=1, help="1 is a nudge, the last nearly the answer.")
@click.option("--about", type=_FunctionName(), help="A function; otherwise the one that fails.")
def hint(exercise: str | None, level: int, about: str | None) -> None:
    """A hint: grader hint, or for another exercise grader hint ex02."""
    from grader.learner.hints import first_hints
    from grader.learner.history import History
    from grader.messages.console import Report

    found = _named_or_current(exercise)
    with closing(History.open(ROOT)) as history:
        if about is None:
            hints = first_hints(found, Course.load(ROOT), history.runs(found.id))
        else:
            hints = _hints_about(found, about)
        count = len(hints.levels)
        if not 1 <= level <= count:
            what = f"{found.id} · {hints.about}"
            raise click.UsageError(say("cli.no_level", level=level, what=what, count=count))
        Report().hint(found, hints, level, named=about is not None)
        history.record_hint(found.id, hints.about, level)
        Report().warning(history.problem)


def _hints_about(exercise: Exercise, function: str) -> HintLadder:
    hints = exercise.hints_about(function)
    if hints is None:
        known = ", ".join(ladder.about for ladder in exercise.hints)
        said = say("cli.no_function", exercise=exercise.id, asked=function, known=known)
        raise click.UsageError(said)
    return hints


@main.command()
@click.argument("exercise", type=_ExerciseName(), required=False)
@click.option("--give-up", is_flag=True, help="Before a pass, too; your history remembers it.")
def solution(exercise: str | None, give_up: bool) -> None:
    """The worked answer, once yours has passed: grader solution ex02."""
    from grader.learner.history import History
    from grader.messages.console import Report

    found = _named_or_current(exercise)
    file = found.paths(ROOT).solution
    if not file.exists():
        _stop(say("cli.no_solution", short=found.short), 1)
    with closing(History.open(ROOT)) as history:
        passed = any(run.done for run in history.runs(found.id))
        if not (passed or give_up or history.solutions().get(found.id)):
            Report().solution_refused(found, history.problem)
            sys.exit(1)
        Report().solution(file.read_text(encoding="utf-8"))
        history.record_solution(found.id, gave_up=not passed)
        Report().warning(history.problem)


@main.command("list")
def list_exercises() -> None:
    """All exercises with points, time and whether they are started."""
    from grader.course.stubs import is_untouched
    from grader.messages.console import Report

    course = Course.load(ROOT)
    untouched = {e.id for e in course.exercises if is_untouched(e, course)}
    Report().syllabus(course.syllabus, untouched)


@main.command("next")
def next_exercise() -> None:
    """The first exercise that is not done, and where to begin."""
    from grader.learner.progress import measure
    from grader.messages.console import Report

    course = Course.load(ROOT)
    path = chosen_path(course)
    progress = measure(course, course.syllabus.on(path))
    Report().next(progress.next, course.syllabus.longer_than(path))
    Report().warning(progress.problem)


@main.command("path")
@click.argument("path", type=_PathName(), required=False)
def choose_learning_path(path: LearningPath | None) -> None:
    """The learning paths; grader path core takes another one."""
    from grader.messages.console import Report

    if path is None:
        course = Course.load(ROOT)
        Report().paths(course.syllabus, chosen_path(course))
        return
    try:
        choose_path(path, ROOT)
    except OSError as error:
        _stop(say("cli.path_not_kept", file=SETTINGS.as_posix(), why=error.strerror), 1)
    Report().path_chosen(path)


@main.command()
@click.argument("exercise", type=_ExerciseName(), required=False)
def watch(exercise: str | None) -> None:
    """Stay open and check every save at once.

    Begins where you stopped, or at the first exercise that is not done; grader watch ex02 begins
    at that one.
    """
    from grader.learner.watch.loop import NoTerminal
    from grader.learner.watch.loop import watch as watch_until_quit
    from grader.messages.console import Report

    course = Course.load(ROOT)
    first = course.syllabus.find(exercise) if exercise else None
    try:
        session = watch_until_quit(course, first)
    except NoTerminal:
        raise click.UsageError(say("cli.no_terminal")) from None
    Report().watched(session)


@main.command()
@click.argument("exercise", type=_ExerciseName(), required=False)
def show(exercise: str | None) -> None:
    """A lesson: grader show, or of another exercise grader show ex02."""
    from grader.messages.console import Report

    found = _named_or_current(exercise)
    lesson = found.paths(ROOT).lesson
    if not lesson.exists():
        _stop(say("cli.no_lesson", lesson=lesson.relative_to(ROOT), short=found.short), 1)
    Report().lesson(lesson.read_text(encoding="utf-8"))


@main.command()
@click.argument("exercise", type=_ExerciseName(), required=False)
@click.option("--undo", is_flag=True, help="Bring back what the last reset put away.")
def reset(exercise: str | None, undo: bool) -> None:
    """Start an exercise again; --undo brings your edits back.

    Without a name it is the current exercise. Your edits are kept.
    """
    from grader.course import stubs as stub_files
    from grader.messages.console import Report

    found = _named_or_current(exercise)
    if undo:
        Report().restored(found, stub_files.undo_reset(found, Course.load(ROOT)))
    else:
        Report().reset(found, stub_files.reset(found, Course.load(ROOT)))


@main.command("update")
@click.argument("source", required=False)
@click.option("--branch", help="The branch to take; the one that is followed, otherwise.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
def update_course(source: str | None, branch: str | None, dry_run: bool) -> None:
    """Bring in a newer course; your edits are kept.

    Where the stub has changed, both are merged. SOURCE is a git remote or address, a folder or an
    archive; without it, what the clone follows.
    """
    from grader.learner.update.fetch import UpdateError
    from grader.learner.update.merge import update
    from grader.messages.console import Report

    # Everything that is needed to tell it is loaded first: an update replaces these files too.
    report = Report()
    report.update_begins(source)
    try:
        done = update(ROOT, source, branch=branch, dry_run=dry_run)
    except UpdateError as error:
        _stop(str(error), 1)
    report.update(done, ROOT, dry_run=dry_run)


@main.command("grade")
@click.argument("submission", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--json", "json_file", type=_FILE, help="Version 2 of grader/schemas/grade.schema.json."
)
@click.option("--seed", type=int, help="Repeat a run with the seed that its report recorded.")
@click.option("--sandbox", type=click.Choice(["auto", "light", "full"]), default="auto")
@click.option("--bans", type=click.Choice(["zero", "flag"]), default="zero", show_default=True)
@click.option("--accept-unsandboxed", is_flag=True, help="Grade where nothing protects the host.")
def grade_submission(
    submission: Path,
    json_file: Path | None,
    seed: int | None,
    sandbox: str,
    bans: str,
    accept_unsandboxed: bool,
) -> None:
    """Grade a file exNN_*.py or a folder of them, isolated, on inputs drawn in secret."""
    from grader.classroom.grade import NoSubmission, check_submission, grade
    from grader.isolation.machine import best_profile
    from grader.messages.console import Report

    course = Course.load(ROOT)
    try:
        check_submission(submission, course.syllabus)
    except NoSubmission as error:
        raise click.UsageError(str(error)) from None
    profile = best_profile() if sandbox == "auto" else sandbox
    if profile == "process" and not accept_unsandboxed:
        raise click.UsageError(say("cli.cannot_lock"))
    result = grade(submission, course, profile=profile, seed=seed, bans_cost_points=bans == "zero")
    if json_file:
        text = json.dumps(result.as_json(), indent=1, ensure_ascii=False)
        write_output(json_file, (text + "\n").encode("utf-8", "backslashreplace"))
    Report().grade(result)
    if not result.is_graded:
        sys.exit(TRY_AGAIN)


@main.command("report")
@click.option("--html", type=_FILE, help="One page that needs nothing else.")
@click.option("--json", type=_FILE, help="Version 2 of grader/schemas/report.schema.json.")
@click.option("--junit", type=_FILE, help="For build servers.")
@click.option("--badge", type=_FILE, help="For shields.io.")
@click.option("--name", default="", help="What the page calls you.")
def write_progress_report(name: str, **files: Path | None) -> None:
    """Your progress as files: a page, or JSON, JUnit and a badge."""
    from grader.learner.report.write import CannotReport, Wanted, write_report
    from grader.messages.console import Report

    if not any(files.values()):
        raise click.UsageError(say("cli.nothing_to_write"))
    course = Course.load(ROOT)
    try:
        written = write_report(Wanted(**files), course, chosen_path(course), name)
    except CannotReport as error:
        _stop(str(error), 1)
    else:
        Report().written(written)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """What can lock answers in on this machine, and what is missing."""
    from grader.isolation.machine import best_profile, mechanisms
    from grader.messages.console import Report

    found = mechanisms()
    if as_json:
        rows = [dataclasses.asdict(mechanism) for mechanism in found]
        click.echo(json.dumps({"version": 1, "profile": best_profile(), "mechanisms": rows}))
    else:
        Report().doctor(best_profile(), found)


@main.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail where they differ.")
@click.option("--force", is_flag=True, help="Replace edited files too, after backing them up.")
def stubs(only_check: bool, force: bool) -> None:
    """Write exercises/ from solutions/ (for authors)."""
    from grader.course.stubs import check_stubs, write_stubs
    from grader.messages.console import Report

    course = Course.load(ROOT)
    if not only_check:
        Report().stubs(write_stubs(course, force=force))
        return
    drifts = check_stubs(course, authoring=True)
    Report().problems(f"{drift.path}: {drift.message}\n{drift.excerpt}" for drift in drifts)
    sys.exit(1 if drifts else 0)


@main.command()
@click.argument("exercises", nargs=-1, type=_ExerciseName())
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--margins", is_flag=True, help="Print the margins of every check and mistake.")
@click.option("--json", "json_file", type=_FILE)
def check(exercises: Sequence[str], seeds: int, margins: bool, json_file: Path | None) -> None:
    """Prove the tests: right answers pass, every mistake is named."""
    from grader.messages.console import Report
    from grader.proof.jobs import run_all
    from grader.proof.verdict import conclude, course_problems

    course = Course.load(ROOT)
    chosen = _chosen(course.syllabus, exercises)
    report = Report()
    problems = course_problems(course)
    report.problems(problems)
    conclusions = []
    # Results come exercise by exercise, and are told as soon as one is complete.
    by_exercise = groupby(run_all(chosen, course.root, seeds), key=lambda found: found[0].exercise)
    for exercise in chosen:
        _, results = next(by_exercise, (exercise.id, iter(())))
        conclusions.append(conclude(exercise, course, list(results)))
        report.conclusion(conclusions[-1], margins=margins)
    if json_file:
        content = {
            "version": 1,
            "seeds": seeds,
            "course_problems": problems,
            "exercises": [dataclasses.asdict(conclusion) for conclusion in conclusions],
        }
        write_output(json_file, _json(content).encode())
    sys.exit(1 if problems or not all(c.ok for c in conclusions) else 0)


def _json(content: object) -> str:
    """JSON as others read it, which has no infinity: what no number measures is null."""
    text = json.dumps(content, default=str)
    return json.dumps(json.loads(text, parse_constant=lambda name: None), indent=1) + "\n"


def _named_or_current(name: str | None) -> Exercise:
    """The exercise that is named, else the one that the learner is at."""
    course = Course.load(ROOT)
    if name is not None:
        return course.syllabus.find(name)
    from grader.learner.history import History
    from grader.learner.progress import current_exercise

    with closing(History.open(ROOT)) as history:
        current = current_exercise(course, chosen_path(course), history)
    if current is None:
        raise click.UsageError(say("cli.none_left"))
    return current


def _chosen(syllabus: Syllabus, names: Sequence[str]) -> list[Exercise]:
    return [syllabus.find(name) for name in names] or list(syllabus.exercises)


@main.command(hidden=True)
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Fewer rounds and samples: all of them in two minutes.")
@click.option("--json", "json_file", type=_FILE)
def bench(names: Sequence[str], quick: bool, json_file: Path | None) -> None:
    """Measure the project's figures, all or those named (for maintainers)."""
    from grader.messages.console import Report
    from grader.proof.figures.benches import BENCHES

    for name in names:
        if name not in BENCHES:
            raise click.UsageError(f"no figures {name!r}: known are {', '.join(BENCHES)}")
    report = Report()
    if quick:
        report.lines(["quick: few rounds and samples, drawn at random; without --quick it is all"])
    measured = chain.from_iterable(BENCHES[name](ROOT, quick) for name in names or BENCHES)
    figures = []
    try:
        for figure in report.figures(measured):
            figures.append(figure)
    finally:  # what was measured before somebody stopped it is kept
        if json_file:
            rows = [dataclasses.asdict(figure) | {"ok": figure.ok} for figure in figures]
            text = json.dumps([row | {"quick": True} if quick else row for row in rows], indent=1)
            write_output(json_file, (text + "\n").encode())
    sys.exit(0 if all(figure.ok is not False for figure in figures) else 1)
