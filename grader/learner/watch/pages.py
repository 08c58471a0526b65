"""What stands on each page of `grader watch`. Pure: a session in, something that rich can set out.

Everything that an answer or its writer may have put into a text is made harmless before.
"""

from __future__ import annotations

import difflib
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator

from rich.cells import set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from grader.course.answers import NoAnswer, read_source
from grader.course.stub_markers import BEGIN, END
from grader.course.syllabus import Exercise
from grader.course.titles import exercise_title, path_title
from grader.learner.watch.session import Listing, Page, Session
from grader.messages.catalog import say
from grader.messages.quantities import duration
from grader.messages.sanitize import sanitize_line

_BAR = 16
_SEPARATOR = " · "


def header(session: Session) -> Text:
    """One line: how far the learner is on the path, and how long the rest takes."""
    progress = session.standings.on_path()
    share = progress.points / progress.possible if progress.possible else 0
    filled = int(share * _BAR)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("█" * filled + "░" * (_BAR - filled), style="green")
    told = (
        say("watch.done", done=progress.done, count=len(progress.standings)),
        say("report.points", points=f"{float(progress.points):.4g}", possible=progress.possible),
        say("watch.left", time=duration(progress.minutes_left)),
    )
    return text.append(f" {_SEPARATOR.join(told)}")


def title(session: Session) -> Text:
    """One line: the exercise that is shown."""
    exercise = session.exercise
    text = Text(no_wrap=True, overflow="ellipsis")
    if session.page in ("list", "end"):
        return text.append(path_title(session.path), style="bold")
    text.append(exercise.id, style="bold")
    told = (
        exercise_title(exercise),
        say("report.exercise_points", points=exercise.points),
        duration(exercise.minutes),
    )
    return text.append(f"{_SEPARATOR}{_SEPARATOR.join(told)}")


def status(session: Session) -> Text:
    """One line: what is going on, and what the last run came to."""
    return Text(_status(session), style="dim", no_wrap=True, overflow="ellipsis")


def _status(session: Session) -> str:
    if session.notice:
        return session.notice
    running = session.seconds_running
    if running is not None:
        seconds = int(running)
        told = say("watch.checking_for", seconds=seconds) if seconds else say("watch.checking")
        return told if session.verdict else f"{told}{_SEPARATOR}{say('watch.first_time')}"
    verdict = session.verdict
    if verdict is None or verdict.record is None:
        return ""
    run = verdict.record
    when = time.strftime("%H:%M:%S", time.localtime(run.when))
    return _SEPARATOR.join(
        (
            say("report.tests_pass", passed=run.passed, tests=run.tests),
            say("watch.ran", number=verdict.number, when=when, seconds=run.seconds),
            say("watch.every_save"),
        )
    )


def keys(session: Session) -> Iterator[tuple[str, str]]:
    """The keys that do something on this page, the most needed first, as far as they fit."""
    if session.page == "reset":
        yield from (("y", say("keys.reset")), (say("keys.any_other"), say("keys.leave")))
        return
    if session.page == "list":
        if session.listing.is_searching:
            yield from (("enter", say("keys.search")), ("esc", say("watch.all")))
            return
        yield from (("enter", say("keys.open")), ("/", say("keys.search")))
        yield "f", say("keys.filter")
        yield "esc", say("watch.all") if session.listing.search else say("keys.back")
        yield "q", say("keys.quit")
        return
    if session.page in ("lesson", "diff", "keys"):
        yield from (("esc", say("keys.back")), (say("keys.space"), say("keys.on")))
        yield from ((say("keys.up_down"), say("keys.scroll")), ("q", say("keys.quit")))
        return
    if session.page != "hint":
        yield "h", say("keys.hint")
    elif session.hints is not None:
        if not session.hints.is_last:
            yield "h", say("keys.next_hint")
        if not session.hints.is_first:
            yield "H", say("keys.previous_hint")
        yield "esc", say("keys.back")
    if session.page == "verdict" and session.may_see_solution:
        yield "d", say("keys.diff")
    yield from (("n", say("keys.next")), ("p", say("keys.previous")), ("l", say("keys.list")))
    yield from (("s", say("keys.lesson")), ("r", say("keys.rerun")), ("x", say("keys.reset")))
    yield from (("q", say("keys.quit")), ("?", say("keys.keys")))


def body(session: Session) -> RenderableType:
    """The page itself, as long as it is."""
    return _PAGES[session.page](session)


def focus(session: Session) -> int | None:
    """The line of the page that must be in view."""
    return session.listing.cursor + _LIST_HEAD if session.page == "list" else None


def _verdict(session: Session) -> RenderableType:
    verdict = session.verdict
    exercise = session.exercise
    if verdict is None:
        return Group(*_where_to_begin(exercise))
    if verdict.problem:
        return Group(
            Text(say("watch.nothing_checked"), style="red"),
            *_lines(map(sanitize_line, verdict.problem.splitlines())),
            Text(say("watch.check_again")),
        )
    told = (line.removeprefix(f"{exercise.id} · ") for line in verdict.lines)
    parts = [*_passed(session)] if verdict.done else [*_lines(map(sanitize_line, told))]
    if session.standings.of(exercise).is_missing:
        parts += [Text(), Text(f"x   {say('watch.puts_back')}")]
    if session.standings.is_not_started(exercise):
        parts += [Text(), *_where_to_begin(exercise)]
    if verdict.printed:
        parts += [Text(), Text(say("watch.printed"), style="bold")]
        parts += _lines(map(sanitize_line, verdict.printed))
    if session.history.problem:
        parts += [Text(), *_lines([sanitize_line(session.history.problem)], "yellow")]
    return Group(*parts)


def _where_to_begin(exercise: Exercise) -> Iterator[RenderableType]:
    yield Text(f"s   {say('watch.lesson', time=duration(exercise.minutes))}")
    yield Text(f"    {say('watch.then_edit', file=f'exercises/{exercise.answer_file}')}")


def _passed(session: Session) -> Iterator[RenderableType]:
    exercise, verdict = session.exercise, session.verdict
    assert verdict is not None and verdict.record is not None
    passed = say("watch.all_pass", tests=verdict.record.tests, points=exercise.points)
    yield Text(passed, style="bold green")
    yield Text()
    yield Text(say("watch.fact"), style="bold")
    yield Padding(Text(exercise.fact), (0, 0, 0, 2))
    yield Text()
    yield Text(say("watch.to_read"), style="bold")
    for source in exercise.read:
        yield _hanging(f"• {source}", 2)
    yield Text()
    yield Text(f"d   {say('watch.beside')}")
    following = session.standings.after(exercise)
    if following is None:
        on = say("watch.to_the_end")
    else:
        on = say("watch.on_to", exercise=following.id, title=exercise_title(following))
    yield Text(f"n   {on}")


def _hint(session: Session) -> RenderableType:
    hints = session.hints
    assert hints is not None
    heading = say("watch.hint", about=hints.about, level=hints.level, count=hints.count)
    return Group(Text(heading, style="bold"), Text(), _Flowing(hints.text))


class _Flowing:
    """Prose set for a wide terminal: what does not fit into a line begins the next one.

    Lines that are indented are code and stay as they are.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rest = ""
        for line in self._text.splitlines():
            if line.startswith(" ") or not line:
                yield from map(Text, filter(None, [rest]))
                yield Text(line)
                rest = ""
                continue
            *full, rest = textwrap.wrap(f"{rest} {line}".strip(), options.max_width) or [""]
            if not full:
                full, rest = [rest], ""
            yield from map(Text, full)
        yield from map(Text, filter(None, [rest]))


def _lesson(session: Session) -> RenderableType:
    file = session.exercise.paths(session.course.root).lesson
    try:
        return Markdown(file.read_text(encoding="utf-8"))
    except OSError as error:
        return Text(say("watch.no_lesson", file=file, why=error.strerror))


def _diff(session: Session) -> RenderableType:
    """The learner's code against the worked answer; without one, against the reference."""
    paths = session.exercise.paths(session.course.root)
    worked = paths.solution if paths.solution.exists() else paths.reference
    try:
        yours, theirs = read_source(paths.stub).text, read_source(worked).text
    except NoAnswer as missing:
        return Text(sanitize_line(str(missing)))
    diff = list(difflib.unified_diff(_code(yours), _code(theirs), lineterm="", n=2))[2:]
    if not diff:
        return Text(say("watch.same"))
    return Group(
        Text(say("watch.diff"), style="bold"),
        *(Text(sanitize_line(line), style=_DIFF_STYLES.get(line[0], "")) for line in diff),
    )


def _code(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() not in (BEGIN, END)]


_DIFF_STYLES = {"-": "red", "+": "green", "@": "dim"}
_LIST_HEAD = 2


def _list(session: Session) -> RenderableType:
    listing, standings = session.listing, session.standings
    found = listing.exercises
    head = [say("watch.listed", found=len(found), count=len(standings.exercises))]
    head.append(say("watch.filter", filter=_filter(listing)))
    if listing.is_searching or listing.search:
        search = f"/{sanitize_line(listing.search)}{'_' if listing.is_searching else ''}"
        head.append(say("watch.search", search=search))
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(5):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for place, exercise in enumerate(found):
        table.add_row(
            ">" if place == listing.cursor else " ",
            "✓" if standings.is_done(exercise) else "·",
            exercise.id,
            standings.state(exercise, is_short=True),
            exercise_title(exercise),
            style="bold" if place == listing.cursor else "",
        )
    if not found:
        nothing = say("watch.none_found") if listing.search else say("watch.none_left")
        return Group(Text(_SEPARATOR.join(head), no_wrap=True), Text(), Text(nothing))
    return Group(Text(_SEPARATOR.join(head), no_wrap=True), Text(), table)


def _filter(listing: Listing) -> str:
    match listing.filter:
        case "done":
            return say("report.done")
        case "unfinished":
            return say("watch.unfinished")
        case _:
            return say("watch.all")


def _reset(session: Session) -> RenderableType:
    return Group(
        Text(say("watch.begin_again", exercise=session.exercise.id), style="bold"),
        Text(),
        Text(say("watch.becomes_stub", file=f"exercises/{session.exercise.answer_file}")),
        Text(say("watch.edits_kept")),
        Text(f"  grader reset {session.exercise.short} --undo"),
    )


def _end(session: Session) -> RenderableType:
    standings = session.standings
    runs = session.history.runs()
    days = {time.strftime("%Y-%m-%d", time.localtime(run.when)) for run in runs}
    done = say("watch.path_done", path=path_title(session.path))
    count = len(standings.exercises)
    parts = [Text(done, style="bold green"), Text()]
    parts.append(Text(say("watch.all_yours", count=count, points=standings.on_path().possible)))
    if len(days) == 1:
        parts.append(Text(say("watch.days_one", runs=len(runs))))
    elif days:
        parts.append(Text(say("watch.days_many", runs=len(runs), days=len(days))))
    parts += [Text(), Text(say("watch.built"), style="bold")]
    parts += [Text(f"  ✓ {exercise_title(exercise)}") for exercise in standings.exercises]
    parts += [Text(), Text(say("watch.what_now"), style="bold")]
    if session.path.has_capstone:
        parts.append(_way_on("grader capstone", say("watch.own_model")))
    longer = session.course.syllabus.longer_than(session.path)
    if longer is not None:
        goes_on = say("watch.longer_path", path=path_title(longer))
        parts.append(_way_on(f"grader path {longer.id}", goes_on))
    parts += [
        _way_on("pytest --own", say("watch.own_stack")),
        Text("  grader report --html report.html"),
        _way_on("", say("watch.one_page")),
        _way_on(say("watch.p_or_l"), say("watch.go_back")),
    ]
    return Group(*parts)


def _way_on(what: str, why: str) -> Text:
    return Text(f"  {set_cell_size(what, 24)}{why}")


def _keys(session: Session) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, what in (
        ("h", say("keys.hint_does")),
        ("H", say("keys.previous_hint_does")),
        ("s", say("keys.lesson_does")),
        ("n", say("keys.next_does")),
        ("p", say("keys.previous_does")),
        ("l", say("keys.list_does")),
        ("r", say("keys.rerun_does")),
        ("d", say("keys.diff_does")),
        ("x", say("keys.reset_does")),
        (say("keys.up_down_space"), say("keys.scroll_does")),
        ("esc", say("keys.back_does")),
        *([("ctrl-z", say("keys.suspend_does"))] if sys.platform != "win32" else []),
        ("q", say("keys.quit_does")),
    ):
        table.add_row(Text(key, style="bold"), what)
    return table


def _lines(lines: Iterable[str], style: str = "") -> Iterator[RenderableType]:
    """Lines of a message: what is not indented names a test, what is long goes on indented."""
    for line in lines:
        indent = len(line) - len(line.lstrip())
        yield _hanging(line.strip(), indent, style or ("" if indent else "bold"))


def _hanging(line: str, indent: int, style: str = "") -> RenderableType:
    return Padding(Text(line, style=style), (0, 0, 0, indent))


_PAGES: dict[Page, Callable[[Session], RenderableType]] = {
    "verdict": _verdict,
    "hint": _hint,
    "lesson": _lesson,
    "diff": _diff,
    "list": _list,
    "keys": _keys,
    "reset": _reset,
    "end": _end,
}
