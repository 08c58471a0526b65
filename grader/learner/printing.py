"""What the learner's commands print."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.titles import (
    capstone_title,
    exercise_title,
    experiment_title,
    part_plan,
    part_title,
    path_title,
)
from grader.learner.capstone.record import Record
from grader.messages.catalog import say
from grader.messages.console import Console
from grader.messages.quantities import duration, points
from grader.messages.sanitize import sanitize_line

if TYPE_CHECKING:  # a hint must not wait for torch, which these import
    from grader.course.course import Course
    from grader.course.stubs import Undone
    from grader.course.syllabus import Exercise, Experiment, HintLadder, LearningPath, Syllabus
    from grader.learner.progress import ExerciseProgress, Progress
    from grader.learner.watch.session import Session
    from grader.results.record import ExerciseResult

_BAR = 24
_WIDEST_LESSON = 100
_MOST_ROWS = 4
"""The most that a complaint may take in the progress report."""
_COMMAND = re.compile(r"\b(grader|pytest) \w")


def progress(
    console: Console,
    progress: Progress,
    course: Course,
    path: LearningPath,
    to_watch: Sequence[Experiment] = (),
) -> None:
    """One screen: what is done, what is next, what it is worth.

    `to_watch` are the path's experiments that were not watched yet.
    """
    syllabus = course.syllabus
    share = progress.points / progress.possible if progress.possible else Fraction(0)
    filled = int(share * _BAR)
    earned = say("report.points", points=points(progress.points), possible=progress.possible)
    console.lines([f"MiniMind  {'█' * filled}{'░' * (_BAR - filled)}  {earned}"])
    if console.is_quiet:
        return
    if progress.next:
        left = duration(progress.minutes_left + sum(e.minutes for e in to_watch))
        console.lines([say("report.path_left", id=path.id, title=path_title(path), time=left)])
    else:
        console.lines([say("report.path", id=path.id, title=path_title(path))])
    if progress.next and path.experiments:
        rows = (_experiment_row(e, e in to_watch) for e in syllabus.experiments_on(path))
        console.table(rows, title=say("report.to_watch"))
    for part in syllabus.parts:
        mine = [s for s in progress.standings if s.exercise.part == part.id]
        if not mine:
            continue
        if console.is_verbose or any(s is progress.next or _is_under_way(s) for s in mine):
            console.table(map(_standing_row, mine), title=part_title(part))
        else:
            console.lines([_part_row(part_title(part), mine)])
    for standing in progress.standings:
        _obstacle(console, standing)
    _where_to_go_on(console, progress.next, course, path, to_watch)
    if (
        progress.next
        and not to_watch
        and not any(standing.started for standing in progress.standings)
    ):
        console.lines([say("report.or_watch")])


def _experiment_row(experiment: Experiment, is_new: bool) -> Sequence[str]:
    state = say("report.not_watched_yet") if is_new else say("report.watched")
    return ("·" if is_new else "✓", experiment.id, experiment_title(experiment), state)


def _is_under_way(standing: ExerciseProgress) -> bool:
    return standing.is_missing or (standing.started and not standing.done)


def _part_row(title: str, mine: Sequence[ExerciseProgress]) -> str:
    """One line about a part in which nothing is to be done now."""
    return say(
        "report.part",
        title=title,
        done=sum(standing.done for standing in mine),
        count=len(mine),
        points=points(sum((s.points for s in mine), Fraction(0))),
        possible=sum(standing.exercise.points for standing in mine),
    )


def _standing_row(standing: ExerciseProgress) -> Sequence[str]:
    exercise = standing.exercise
    return (
        "✓" if standing.done else "·",
        exercise.id,
        exercise_title(exercise),
        _state(standing),
        f"{points(standing.points)}/{exercise.points}",
    )


def _state(standing: ExerciseProgress) -> str:
    if standing.result is not None and not standing.result.is_graded:
        return say("report.not_graded")
    if standing.done:
        return say("report.done")
    if standing.is_missing:
        return say("report.file_missing")
    if not standing.started:
        return say("report.not_started")
    return say("report.tests_pass", passed=standing.passed, tests=standing.tests)


def _obstacle(console: Console, standing: ExerciseProgress) -> None:
    """What keeps an exercise that was begun from being done: a few lines, or all with --verbose."""
    exercise, result = standing.exercise, standing.result
    if standing.is_missing:
        file = exercise.paths(Path()).stub.as_posix()
        console.lines([say("report.missing", exercise=exercise.id, file=file)])
        console.lines([say("report.bring_back", short=exercise.short)])
    if result is None:
        return
    if console.is_verbose:
        _whole_result(console, exercise, result)
    elif not standing.done:
        _first_complaint(console, exercise, result)


def _first_complaint(console: Console, exercise: Exercise, result: ExerciseResult) -> None:
    """The first complaint, in a few rows, and the command that goes on."""
    lines = [*map(sanitize_line, _first_lines(result))]
    step = say("report.go_on", short=exercise.short)
    last = result.lines[-1] if result.lines else ""
    if last.startswith(step.partition("grader")[0]):
        step = last if _COMMAND.search(last) else step
        lines = [line for line in lines if line != last]
    rows = 0
    for place, line in enumerate(lines):
        rows += len(console.rows(line))
        if place and rows > _MOST_ROWS:
            break
        console.fitted(line)
    if not (len(lines) == 1 and _COMMAND.search(lines[0])):
        console.lines([step])


def _first_lines(result: ExerciseResult) -> Iterator[str]:
    """The lines of the first complaint: it has the title of a test, or names a mistake."""
    sentences = {test.sentence for test in result.tests}
    began = False
    for place, line in enumerate(result.lines):
        is_title = not line.startswith(" ")
        if is_title and began:
            return  # the next complaint
        began = began or not is_title
        if not (place and line.strip() in sentences):
            yield line


def _whole_result(console: Console, exercise: Exercise, result: ExerciseResult) -> None:
    """All that is known of a run, the tests that do not pass yet, and the seed that repeats it."""
    when = datetime.fromtimestamp(result.when).strftime("%Y-%m-%d %H:%M")
    console.lines([say("report.seed", exercise=exercise.id, when=when, seed=result.seed)])
    lines = result.details or result.lines
    for line in lines:
        console.fitted(sanitize_line(line))
    printed = "\n".join(lines)
    failing = (t.sentence for t in result.tests if not t.passed and t.sentence not in printed)
    for sentence in failing:
        console.fitted(say("report.test_fails", exercise=exercise.id, sentence=sentence))


def next_exercise(
    console: Console,
    standing: ExerciseProgress | None,
    course: Course,
    path: LearningPath,
    to_watch: Sequence[Experiment] = (),
) -> None:
    """Where to go on, and what is in the way there."""
    if standing and not to_watch and not console.is_quiet:
        _obstacle(console, standing)
    _where_to_go_on(console, standing, course, path, to_watch)


def _where_to_go_on(
    console: Console,
    standing: ExerciseProgress | None,
    course: Course,
    path: LearningPath,
    to_watch: Sequence[Experiment] = (),
) -> None:
    """The lesson to read, the file to edit, the tests to run; or first, an experiment to watch.

    At the end of a learning path, its capstone, and a longer path if there is one.
    """
    if standing and to_watch:
        next_experiment(console, to_watch[0])
        return
    if standing is None:
        console.lines([say("report.all_done")])
        if path.has_capstone:
            _capstone_next(console, course)
        if longer := course.syllabus.longer_than(path):
            console.advice([say("report.next_path", id=longer.id, title=path_title(longer))])
        return
    exercise = standing.exercise
    if console.is_quiet:
        console.lines([exercise.id])
        return
    paths = exercise.paths(Path())
    console.lines(
        [
            say("report.next", title=exercise_title(exercise), time=duration(exercise.minutes)),
            say("report.read", file=paths.lesson.as_posix()),
            say("report.edit", file=paths.stub.as_posix()),
            say("report.run", file=paths.test_file.as_posix()),
        ]
    )


def next_experiment(console: Console, experiment: Experiment) -> None:
    """The experiment to watch next, and the command."""
    if console.is_quiet:
        console.lines([experiment.id])
        return
    title, time = experiment_title(experiment), duration(experiment.minutes)
    console.lines(
        [
            say("report.next_experiment", title=title, time=time),
            say("report.run_experiment", id=experiment.id),
        ]
    )


def _capstone_next(console: Console, course: Course) -> None:
    """What is left once every exercise is done: nothing, where the model is trained."""
    capstone, run = course.syllabus.capstone, Record(course.root).run()
    if capstone is None or (run is not None and run.finished):
        return
    title, time = capstone_title(capstone), duration(capstone.minutes)
    console.advice(
        [
            say("capstone.next", title=title, time=time),
            say("capstone.read", file=capstone.lesson),
        ]
    )


def paths(console: Console, syllabus: Syllabus, chosen: LearningPath) -> None:
    """The learning paths, the chosen one marked."""
    if console.is_quiet:
        console.lines([chosen.id])
        return
    console.table(_path_row(path, chosen) for path in syllabus.paths)
    ids = "|".join(path.id for path in syllabus.paths)
    console.advice([say("report.choose_path", ids=ids)])


def _path_row(path: LearningPath, chosen: LearningPath) -> Sequence[str]:
    count = len(path.exercises)
    what = say("report.exercise") if count == 1 else say("report.exercises", count=count)
    if path.experiments:
        what = say("report.and_experiments", exercises=what, count=len(path.experiments))
    return (
        "→" if path == chosen else "",
        path.id,
        path_title(path),
        what,
        say("report.about", time=duration(path.minutes)),
    )


def path_chosen(console: Console, path: LearningPath, to_watch: Sequence[Experiment] = ()) -> None:
    """That a learning path has been chosen, and how it begins."""
    sentence = say("report.path", id=path.id, title=path_title(path))
    console.advice([sentence])
    if to_watch and not console.is_quiet:
        next_experiment(console, to_watch[0])
    console.advice([say("report.path_chosen")])


def exercises(console: Console, course: Course, untouched: Container[str]) -> None:
    """Every exercise under its part, the capstone, and what is planned."""
    syllabus = course.syllabus
    if console.is_quiet:
        console.lines(exercise.id for exercise in syllabus.exercises)
        return
    last = max(exercise.part for exercise in syllabus.exercises)
    for part in syllabus.parts:
        mine = [e for e in syllabus.exercises if e.part == part.id]
        if part.planned:
            plan = part_plan(part)
            console.lines([say("report.planned", title=part_title(part), what=plan)])
        elif mine:
            rows = (_exercise_row(exercise, exercise.id in untouched) for exercise in mine)
            console.table(rows, title=part_title(part))
            if console.is_verbose:
                _prerequisites(console, mine)
        if part.id == last:
            _capstone_row(console, course)


def _capstone_row(console: Console, course: Course) -> None:
    if (capstone := course.syllabus.capstone) is None:
        return
    run = Record(course.root).run()
    if run is None:
        state = say("report.not_started")
    elif run.finished:
        state = say("capstone.trained")
    else:
        state = say("capstone.started", step=run.step)
    row = ("grader capstone", capstone_title(capstone), duration(capstone.minutes), state)
    console.table([row], title=say("capstone.listed"))


def _exercise_row(exercise: Exercise, is_untouched: bool) -> Sequence[str]:
    return (
        exercise.id,
        exercise_title(exercise),
        say("report.exercise_points", points=exercise.points),
        duration(exercise.minutes),
        say("report.not_started") if is_untouched else say("report.started"),
    )


def _prerequisites(console: Console, exercises: Iterable[Exercise]) -> None:
    for exercise in exercises:
        if exercise.prerequisites:
            others = ", ".join(exercise.prerequisites)
            console.lines([say("report.builds_on", exercise=exercise.id, others=others)])


def lesson(console: Console, text: str) -> None:
    """A lesson, set to the width of the terminal, unlike messages."""
    from rich.markdown import Markdown

    width = min(console.output.width, _WIDEST_LESSON)
    console.output.print(Markdown(text), width=width, soft_wrap=False)


def solution(console: Console, text: str) -> None:
    """A worked answer: coloured on a terminal, unchanged where it goes to a file."""
    from rich.syntax import Syntax

    console.output.print(Syntax("", "python", theme="ansi_dark").highlight(text), end="")


def solution_refused(console: Console, exercise: Exercise, problem: str) -> None:
    """Why a worked answer is not shown yet, and the two ways to see it."""
    console.error(say("report.solution_refused", exercise=exercise.id))
    console.warning(problem)
    console.remedy(say("report.solution_next", short=exercise.short))


def hint(
    console: Console, exercise: Exercise, hints: HintLadder, level: int, *, named: bool
) -> None:
    """A hint and how to get the next one; `named`: the learner asked about this function."""
    short, about, count = exercise.short, hints.about, len(hints.levels)
    heading = say("report.hint", exercise=exercise.id, about=about, level=level, count=count)
    console.advice([heading])
    console.lines([hints.levels[level - 1]])
    if level == count:
        _other_hints(console, exercise, hints)
    elif named:
        more = say("report.more_hints_about", short=short, about=about, level=level + 1)
        console.advice([more])
    else:
        console.advice([say("report.more_hints", short=short, level=level + 1)])


def _other_hints(console: Console, exercise: Exercise, hints: HintLadder) -> None:
    """How to ask about the function that comes next in the file, or about any other."""
    after = exercise.hints.index(hints) + 1
    others = [o.about for o in (*exercise.hints[after:], *exercise.hints[: after - 1])]
    if others:
        console.advice([say("report.next_hints", short=exercise.short, about=others[0])])
    if others[1:]:
        console.advice([say("report.other_hints", functions=", ".join(others[1:]))])


def watched(console: Console, session: Session) -> None:
    """Where the learner stopped, which stays on the terminal after `grader watch`."""
    exercise = session.exercise
    state = session.standings.state(exercise)
    console.lines([say("report.stopped_at", exercise=exercise.id, state=state)])
    console.warning(session.history.problem)
    if session.standings.on_path().next is not None:
        console.lines([say("report.watch_next")])


def reset(console: Console, exercise: Exercise, backup: Path | None) -> None:
    """That an exercise is a stub again, and where the edits are, if there were any."""
    if backup is None:
        console.lines([say("report.reset_without_edits", exercise=exercise.id)])
        return
    console.lines([say("report.reset", exercise=exercise.id, backup=_from_here(backup))])
    console.advice([say("report.reset_back", short=exercise.short)])


def restored(console: Console, exercise: Exercise, undone: Undone) -> None:
    """That the edits are back, and where anything written since the reset is."""
    backup = _from_here(undone.restored)
    console.lines([say("report.restored", exercise=exercise.id, backup=backup)])
    if undone.backup:
        console.lines([say("report.restored_meanwhile", backup=_from_here(undone.backup))])


def _from_here(file: Path) -> Path:
    """A file's path from the current folder, if it is below it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def written(console: Console, files: Iterable[Path]) -> None:
    """The files of a report."""
    console.lines(say("report.wrote", file=file) for file in files)
