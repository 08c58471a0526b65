"""What stands on each page of `grader watch`. Pure: a session in, something that rich can set out.

Everything that an answer or its writer may have put into a text is made harmless before.
"""

from __future__ import annotations

import difflib
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from grader.curriculum import Exercise
from grader.harmless import harmless
from grader.implementations import NoAnswer, read_source
from grader.stubs import BEGIN, END
from grader.watching.session import Page, Session

_BAR = 16
_WIDEST_LESSON = 100


def header(session: Session) -> Text:
    """One line: how far the learner is on the path, and how long the rest takes."""
    standings = session.standings
    share = standings.points / standings.possible if standings.possible else 0
    filled = int(share * _BAR)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("█" * filled + "░" * (_BAR - filled), style="green")
    text.append(f" {standings.done} of {len(standings.exercises)} done")
    text.append(f" · {float(standings.points):.4g} of {standings.possible} points")
    text.append(f" · about {standings.minutes_left} min left")
    return text


def title(session: Session) -> Text:
    """One line: the exercise that is shown."""
    exercise = session.exercise
    text = Text(no_wrap=True, overflow="ellipsis")
    if session.page in ("list", "end"):
        return text.append(session.path.title, style="bold")
    text.append(exercise.id, style="bold")
    return text.append(f" · {exercise.title} · {exercise.points} points · {exercise.minutes} min")


def status(session: Session) -> Text:
    """One line: what is going on, and what the last run came to."""
    return Text(_status(session), style="dim", no_wrap=True, overflow="ellipsis")


def _status(session: Session) -> str:
    if session.notice:
        return session.notice
    running = session.seconds_running
    if running is not None:
        first = "" if session.verdict else " · the first time takes some seconds"
        return f"checking … {int(running)} s{first}" if running >= 1 else f"checking …{first}"
    verdict = session.verdict
    if verdict is None or verdict.record is None:
        return ""
    run = verdict.record
    when = time.strftime("%H:%M:%S", time.localtime(run.when))
    return (
        f"{run.passed} of {run.tests} tests pass · run {verdict.number} at {when} took "
        f"{run.seconds:.2f} s · every save is checked"
    )


def keys(session: Session) -> Iterator[tuple[str, str]]:
    """The keys that do something on this page, the most needed first, as far as they fit."""
    if session.page == "reset":
        yield from (("y", "reset"), ("any other key", "leave it"))
        return
    if session.page == "list":
        if session.listing.is_searching:
            yield from (("enter", "search"), ("esc", "all"))
            return
        yield from (("enter", "open"), ("/", "search"), ("f", "filter"), ("esc", "back"))
        yield "q", "quit"
        return
    if session.page in ("lesson", "diff", "keys"):
        yield from (("esc", "back"), ("space", "on"), ("up/down", "scroll"), ("q", "quit"))
        return
    if session.page == "hint" and session.hint_level < len(session.exercise.hints):
        yield "h", "next hint"
    elif session.page != "hint":
        yield "h", "hint"
    if session.page == "hint":
        yield "esc", "back"
    if session.page == "verdict" and session.may_see_solution:
        yield "d", "diff"
    yield from (("n", "next"), ("p", "previous"), ("l", "list"), ("s", "lesson"), ("r", "rerun"))
    yield from (("x", "reset"), ("q", "quit"), ("?", "keys"))


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
            Text("nothing could be checked, and not your fault", style="red"),
            *_lines(map(harmless, verdict.problem.splitlines())),
            Text("next: r checks again, in a new process"),
        )
    told = (line.removeprefix(f"{exercise.id} · ") for line in verdict.lines)
    parts = [*_passed(session)] if verdict.done else [*_lines(map(harmless, told))]
    if session.standings.state(exercise) == "not started":
        parts += [Text(), *_where_to_begin(exercise)]
    if verdict.printed:
        parts += [Text(), Text("printed by your code", style="bold")]
        parts += _lines(map(harmless, verdict.printed))
    if session.history.problem:
        parts += [Text(), *_lines([harmless(session.history.problem)], "yellow")]
    return Group(*parts)


def _where_to_begin(exercise: Exercise) -> Iterator[RenderableType]:
    yield Text(f"s   reads the lesson, about {exercise.minutes} minutes with the exercise")
    yield Text(f"    then edit exercises/{exercise.answer_file}: every save is checked here")


def _passed(session: Session) -> Iterator[RenderableType]:
    exercise, verdict = session.exercise, session.verdict
    assert verdict is not None and verdict.record is not None
    tests = verdict.record.tests
    yield Text(f"✓ all {tests} tests pass: {exercise.points} points", style="bold green")
    yield Text()
    yield Text("The fact behind it", style="bold")
    yield Padding(Text(exercise.fact), (0, 0, 0, 2))
    yield Text()
    yield Text("To read", style="bold")
    for source in exercise.read:
        yield _hanging(f"• {source}", 2)
    yield Text()
    yield Text("d   your code beside the reference's way")
    following = session.standings.after(exercise)
    yield Text(f"n   on to {following.id}: {following.title}" if following else "n   the end")


def _hint(session: Session) -> RenderableType:
    hints = session.exercise.hints
    return Group(
        Text(f"hint {session.hint_level} of {len(hints)}", style="bold"),
        Text(),
        _Flowing(hints[session.hint_level - 1].strip()),
    )


class _Flowing:
    """Prose set for a wide terminal: what does not fit into a line begins the next one."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rest = ""
        for line in self._text.splitlines():
            *full, rest = textwrap.wrap(f"{rest} {line}".strip(), options.max_width) or [""]
            if not full:
                full, rest = [rest], ""
            yield from map(Text, full)
        yield Text(rest)


def _lesson(session: Session) -> RenderableType:
    file = session.exercise.paths(session.root).lesson
    try:
        return Markdown(file.read_text(encoding="utf-8"))
    except OSError as error:
        return Text(f"{file} cannot be read: {error.strerror}")


def _diff(session: Session) -> RenderableType:
    """The learner's code against the worked answer; without one, against the reference."""
    paths = session.exercise.paths(session.root)
    worked = paths.solution if paths.solution.exists() else paths.reference
    try:
        yours, theirs = read_source(paths.stub).text, read_source(worked).text
    except NoAnswer as missing:
        return Text(harmless(str(missing)))
    diff = list(difflib.unified_diff(_code(yours), _code(theirs), lineterm="", n=2))[2:]
    if not diff:
        return Text("your code is the reference's, line by line")
    return Group(
        Text("- yours   + the reference's way, which is one of many", style="bold"),
        *(Text(harmless(line), style=_DIFF_STYLES.get(line[0], "")) for line in diff),
    )


def _code(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() not in (BEGIN, END)]


_DIFF_STYLES = {"-": "red", "+": "green", "@": "dim"}
_LIST_HEAD = 2


def _list(session: Session) -> RenderableType:
    listing, standings = session.listing, session.standings
    search = f"/{harmless(listing.search)}{'_' if listing.is_searching else ''}"
    found = listing.exercises
    head = f"{len(found)} of {len(standings.exercises)} exercises · filter: {listing.filter}"
    if listing.is_searching or listing.search:
        head += f" · search: {search}"
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(5):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for place, exercise in enumerate(found):
        table.add_row(
            ">" if place == listing.cursor else " ",
            "✓" if standings.is_done(exercise) else "·",
            exercise.id,
            standings.state(exercise),
            exercise.title,
            style="bold" if place == listing.cursor else "",
        )
    return Group(Text(head, no_wrap=True), Text(), table)


def _reset(session: Session) -> RenderableType:
    return Group(
        Text(f"Begin {session.exercise.id} again?", style="bold"),
        Text(),
        Text(f"exercises/{session.exercise.answer_file} becomes the stub it was at first."),
        Text("What you have written is kept, and comes back by"),
        Text(f"  grader reset {session.exercise.short} --undo"),
    )


def _end(session: Session) -> RenderableType:
    standings = session.standings
    runs = session.history.runs()
    days = {time.strftime("%Y-%m-%d", time.localtime(run.when)) for run in runs}
    parts = [Text(f"✓ {session.path.title}: done", style="bold green"), Text()]
    count = len(standings.exercises)
    parts.append(Text(f"{count} exercises, {standings.possible} points, all of them yours."))
    if runs:
        parts.append(Text(f"You got here in {len(runs)} runs on {_counted(len(days), 'day')}."))
    parts += [Text(), Text("What you have built", style="bold")]
    parts += [Text(f"  ✓ {exercise.title}") for exercise in standings.exercises]
    parts += [Text(), Text("What comes now", style="bold")]
    longer = session.curriculum.longer_than(session.path)
    if longer is not None:
        parts.append(Text(f"  {f'grader path {longer.id}':24}{longer.title} goes on from here"))
    parts += [
        Text("  pytest --own            the whole stack is your own code, prerequisites too"),
        Text("  grader report --html report.html"),
        Text("                          your way as one page, with your own code at work"),
        Text("  p or l                  back to an exercise; d shows the reference's way"),
    ]
    return Group(*parts)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _keys(session: Session) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, what in _ALL_KEYS:
        table.add_row(Text(key, style="bold"), what)
    return table


_ALL_KEYS = (
    ("h", "a hint; again for the next one"),
    ("s", "the lesson"),
    ("n", "the next exercise that is not done"),
    ("p", "the exercise before this one"),
    ("l", "the list: f filters, / searches, enter opens"),
    ("r", "check again"),
    ("d", "after a pass: your code beside the reference's way"),
    ("x", "the stub again; your edits are kept"),
    ("up, down, space", "scroll, and so do page up, page down, home and end"),
    ("esc", "back to the verdict"),
    ("q", "quit; the next time goes on from here"),
)


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
