"""ex14: which tokens of a few rows are learned, and how many rows packing saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, GREEN, GRID, MUTED, ORANGE
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 36
START, END, NEWLINE, ASSISTANT, USER, PAD = range(1, 7)
HEADER, END_MARKER = [START, ASSISTANT, NEWLINE], [END, NEWLINE]
TURNS = (((5, 7),), ((3, 4), (4, 6)), ((4, 6), (3, 25)), ((2, 2), (3, 3)))
"""The words of each question and its answer, row by row; the third chat is too long and cut off."""
TEXTS = (9, 22, 5, 30, 14, 3, 17, 26, 8, 12)


def examples(answer, rows, markers, pad, texts, width):  # type: ignore[no-untyped-def]
    """Labels of conversations, and the tokens in each block of packed texts."""
    labels = [answer.sft_labels(row, *markers, pad=pad) for row in rows]
    blocks = answer.pack([[9] * length for length in texts], width, 2)
    lengths = torch.zeros(len(texts), dtype=torch.long)
    for number, block in enumerate(blocks[: len(texts)]):
        lengths[number] = len(block)
    return {"labels": torch.stack(labels), "lengths": lengths}


def requests() -> list[Request]:
    inputs = {"rows": _rows(), "markers": [HEADER, END_MARKER], "pad": PAD}
    return [Request(examples, inputs | {"texts": list(TEXTS), "width": WIDTH})]


def _rows() -> list[list[int]]:
    """Conversations as tokens, cut off or filled to one length."""
    rows = []
    for turns in TURNS:
        row: list[int] = []
        for asked, answered in turns:
            row += [START, USER, NEWLINE, *range(10, 10 + asked), *END_MARKER]
            row += [*HEADER, *range(30, 30 + answered), *END_MARKER]
        rows.append((row + [PAD] * WIDTH)[:WIDTH])
    return rows


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    rows = _rows()
    labels = seen[0].array("labels", len(rows), WIDTH)
    lengths = seen[0].array("lengths", len(TEXTS))
    above, below = figure.subplots(2, 1, height_ratios=(1.0, 1.0))
    learned = labels != -100
    for number, row in enumerate(rows):
        for place, token in enumerate(row):
            colour = BLUE if learned[number, place] else GRID if token == PAD else MUTED
            above.barh(number, 0.86, left=place, height=0.72, color=colour, linewidth=0)
    above.set(
        xlabel="token (blue: learned, light: padding)", yticks=range(len(rows)), xlim=(0, WIDTH)
    )
    above.set_yticklabels([f"chat {number}" for number in range(len(rows))])
    above.invert_yaxis()
    above.grid(visible=False)
    filled = [int(length) for length in lengths if length]
    below.bar(range(len(TEXTS)), [length + 1 for length in TEXTS], color=ORANGE, width=0.4)
    places = [number + 0.4 for number in range(len(filled))]
    below.bar(places, filled, color=GREEN, width=0.4)
    below.set(xlabel="row (left: one text each, right: packed)", ylabel="tokens")
    below.set(xticks=range(len(TEXTS)), ylim=(0, WIDTH + 1))
    below.grid(visible=False, axis="x")
    return say(
        "pictures.dataset_caption",
        learned=int(learned.sum()),
        tokens=sum(token != PAD for row in rows for token in row),
        texts=len(TEXTS),
        rows=len(filled),
        width=WIDTH,
    )


PICTURE = PictureSpec(lambda: say("pictures.dataset"), 320, requests, draw)
