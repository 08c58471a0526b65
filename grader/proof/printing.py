"""What the authors' and maintainers' commands print, in English only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from grader.messages.console import Console
from grader.proof.figures.figure import Figure

if TYPE_CHECKING:
    from grader.course.stubs import StubResult
    from grader.proof.figures.figure import Measured
    from grader.proof.margins import Margin
    from grader.proof.mutation_score import MutationScore
    from grader.proof.verdict import ProofResult


def stubs(console: Console, results: Iterable[StubResult]) -> None:
    """What was done with each stub."""
    for result in results:
        line = f"{result.state:14} {result.path.name}"
        if result.backup:
            line += f"   (your edits are in {result.backup})"
        console.lines([line])


def proof_result(console: Console, result: ProofResult, *, margins: bool) -> None:
    """What the course check proved of one exercise."""
    r = result
    console.lines(
        [
            f"{r.exercise}: {r.tests} tests · {r.named} of {r.mistakes} mistakes caught and named"
            f" · {r.rejected} of {r.alternatives} alternatives rejected · null answers win at most "
            f"{r.largest_null_share:.0%} · {r.runs} runs"
        ],
        style="green" if r.ok else "red",
    )
    if r.redundant:
        console.lines([f"  needed by no mistake or null answer ({len(r.redundant)} of {r.tests}):"])
        console.lines(f"    {test}" for test in r.redundant)
    if r.constant:
        console.lines([f"  the same under every seed ({len(r.constant)} of {r.tests}):"])
        console.lines(f"    {test}" for test in r.constant)
    for mistake, proof in r.undetectable:
        console.lines([f"  not detectable on any CPU input: {mistake}: {proof}"])
    if r.derived:
        caught = r.derived - len(r.derived_passing)
        console.lines([f"  {caught} of {r.derived} derived mistakes caught, where any input can"])
        console.lines(f"    not {name}: {reason}" for name, reason in r.derived_passing)
    if margins:
        _margins(console, r.right_margins, r.mistake_margins)
    problems(console, (f"  {problem}" for problem in r.problems))


def mutation_score(console: Console, score: MutationScore) -> None:
    """What became of an exercise's changed solutions."""
    s = score
    console.lines(
        [
            f"{s.exercise}: {s.mutants} mutants · {s.killed} killed · {s.equivalent} equivalent"
            f" · {len(s.survivors)} survivors · {s.seconds:.0f} s"
        ],
        style="green" if s.ok else "red",
    )
    problems(console, (f"  {problem}" for problem in s.problems))


def _margins(console: Console, right: Sequence[Margin], mistakes: Sequence[Margin]) -> None:
    console.lines(["  right answers use at most this part of the allowed error:"])
    console.lines(f"    {m.used:8.1%}  {m.precision:9} {m.test}  ({m.who})" for m in right)
    console.lines(
        ["  mistakes exceed the allowed error at least this many times where they show most:"]
    )
    for m in sorted(mistakes, key=lambda m: m.used):
        times = "otherwise" if m.used == math.inf else f"{m.used:9.3g}"
        console.lines([f"    {times}  {m.who}: {m.precision} in {m.test}"])


def problems(console: Console, problems: Iterable[str]) -> None:
    """What is wrong, a line or more each."""
    console.lines(problems, style="red")


def figures(console: Console, measured: Measured) -> Iterator[Figure]:
    """Print each figure as soon as it is measured, and meanwhile how far the next one is.

    The bar is drawn between measurements only: whatever is printed during one is part of it.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    output = console.output
    console.lines([_row("name", "value", "unit", "limit", "ok")])
    with Progress(
        *columns,
        console=output,
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not output.is_terminal,
    ) as bar:
        task = bar.add_task("")
        announced = ""
        for event in measured:
            if isinstance(event, Figure):
                limit = "" if event.limit is None else f"{event.limit:g}"
                ok = "" if event.ok is None else ("yes" if event.ok else "NO")
                value = f"{event.value:.4g}"
                console.lines([_row(event.name, value, event.unit, limit, ok)])
                yield event
                continue
            bar.update(task, description=event.name, completed=event.done, total=event.of)
            bar.refresh()
            if event.name != announced and not output.is_terminal:
                console.lines([f"… {event.name}: {event.of}"])
            announced = event.name


def _row(name: str, value: str, unit: str, limit: str, ok: str) -> str:
    return f"{name:<54} {value:>8}  {unit:<11} {limit:>6}  {ok}".rstrip()
