"""How long each kind of an exercise's benchmarks takes, against the length of the text.

Run as a program, `python -m grader.learner.report.pictures.times FROM.json TO.svg`, it draws a
picture that stands in a lesson.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.syllabus import Exercise
from grader.learner.report.pictures.canvas import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    drawn,
    for_a_lesson,
    power_of_ten,
)
from grader.learner.report.pictures.picture import Picture
from grader.learner.timings import Timing, Timings, read_timings, timings_file
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 230
_LOOKS = ((MUTED, "o--"), (BLUE, "o-"), (GREEN, "s:"), (ORANGE, "^-"))


def timed_pictures(exercises: Sequence[Exercise], root: Path) -> Iterator[tuple[str, Picture]]:
    """A picture of every exercise whose benchmarks were run here."""
    for exercise in exercises:
        timings = read_timings(timings_file(exercise, root))
        if timings is not None and (made := _drawn(f"{exercise.short}-times", timings)):
            svg, said = made
            yield exercise.id, Picture(say("pictures.times"), said, svg)


def _drawn(name: str, timings: Timings) -> tuple[str, str] | None:
    """The picture and its caption, or None where there are not two lengths."""
    shown = _shown(timings)
    if not shown:
        return None
    return drawn(name, _HEIGHT, lambda figure: _draw(figure, timings, shown))


def _shown(timings: Timings) -> list[Timing]:
    """Those of one dtype, float32 where it was measured, at two lengths at least."""
    dtypes = [each.dtype for each in timings.all]
    dtype = "float32" if "float32" in dtypes else dtypes[0]
    shown = [each for each in timings.all if each.dtype == dtype]
    return shown if len({each.tokens for each in shown}) > 1 else []


def _draw(figure: Figure, timings: Timings, shown: Sequence[Timing]) -> str:
    directions = list(dict.fromkeys(each.direction for each in shown))[:2]
    panels = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    for axes, direction in zip(panels, directions, strict=True):
        _panel(axes, direction, [each for each in shown if each.direction == direction])
    panels[0].set_ylabel("milliseconds")
    panels[0].legend()
    longest = max(each.tokens for each in shown)
    at_longest = [
        each for each in shown if (each.tokens, each.direction) == (longest, directions[-1])
    ]
    return say(
        "pictures.times_caption",
        tokens=longest,
        direction=directions[-1],
        dtype=shown[0].dtype,
        all=", ".join(f"{each.kind} {1e3 * each.seconds:.3g} ms" for each in at_longest),
        machine=sanitize_line(timings.machine),
        day=sanitize_line(timings.day),
    )


def _panel(axes: Axes, direction: str, shown: Sequence[Timing]) -> None:
    lengths = sorted({each.tokens for each in shown})
    for (colour, look), kind in zip(_LOOKS, dict.fromkeys(t.kind for t in shown), strict=False):
        line = sorted((each.tokens, 1e3 * each.seconds) for each in shown if each.kind == kind)
        axes.plot(*zip(*line, strict=True), look, color=colour, markersize=4, label=kind)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(title=direction, xlabel="tokens")
    axes.set_xticks(lengths[::2], [f"{n:,}" for n in lengths[::2]])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(power_of_ten)


def _main(source: str, target: str) -> None:
    timings = read_timings(Path(source))
    made = _drawn("times", timings) if timings is not None else None
    if made is None:
        sys.exit(f"{source}: want pytest-benchmark's JSON, of benchmarks at two lengths or more")
    svg, said = made
    Path(target).write_text(for_a_lesson(svg), encoding="utf-8")
    print(said)


if __name__ == "__main__":
    _main(*sys.argv[1:])
