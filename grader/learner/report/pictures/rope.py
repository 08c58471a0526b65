"""ex02: pairs of a query turned by its position, and scores that know the distance alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from grader.learner.report.pictures.canvas import BLUE, GREEN, GRID, MUTED, ORANGE, about
from grader.learner.report.pictures.picture import PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8
POSITIONS, SHOWN = 48, 13
BASE = 100.0
STARTS = (0, 9, 20)
DISTANCES = 25


def turned(answer, pairs, query, key, base, starts, distances):  # type: ignore[no-untyped-def]
    """One query at every position, and scores of another with keys at growing distances."""
    positions = pairs.shape[1]
    cos, sin = answer.precompute_freqs_cis(pairs.shape[-1], positions, base)
    circles, _ = answer.apply_rotary_pos_emb(pairs, pairs, cos, sin)
    queries, keys = answer.apply_rotary_pos_emb(
        query.expand(1, positions, 1, -1), key.expand(1, positions, 1, -1), cos, sin
    )
    scores = keys[0, :, 0] @ queries[0, :, 0].T
    by_start = [scores[start, start : start + distances] for start in starts]
    return {"circles": circles[0, :, 0], "scores": torch.stack(by_start)}


def requests() -> list[Request]:
    pairs = torch.cat((torch.ones(WIDTH // 2), torch.zeros(WIDTH // 2)))
    inputs = {
        "pairs": pairs.expand(1, POSITIONS, 1, WIDTH).contiguous(),
        "query": torch.ones(WIDTH),
        "key": torch.ones(WIDTH) + 0.4 * seeded(WIDTH, seed=2),
        "base": BASE,
        "starts": STARTS,
        "distances": DISTANCES,
    }
    return [Request(turned, inputs)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    circles = seen[0].array("circles", POSITIONS, WIDTH)
    scores = seen[0].array("scores", len(STARTS), DISTANCES)
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.35), squeeze=False)[:, 0]
    for pair, axes in enumerate(above.subplots(1, WIDTH // 2)):
        _circle(axes, circles[:SHOWN, [pair, pair + WIDTH // 2]])
        axes.set_title(f"pair {pair}")
    axes = below.subplots()
    marks = zip(
        STARTS, scores, ((BLUE, "-", 2.0), (ORANGE, "o", 6.0), (GREEN, ".", 5.0)), strict=True
    )
    for start, line, (colour, mark, size) in marks:
        settings: dict[str, Any] = {"color": colour, "label": f"key at {start}"}
        if mark == "-":
            axes.plot(line, linewidth=size, **settings)
        else:
            axes.plot(line, mark, markersize=size, **settings)
    axes.set(
        xlabel="distance from the key to the query",
        ylabel="score",
        xlim=(-0.4, DISTANCES - 0.6),
    )
    axes.legend(loc="upper right", ncols=3)
    apart = (scores - scores[0]).max() - (scores - scores[0]).min()
    return say("pictures.rope_caption", last=SHOWN - 1, apart=about(apart))


def _circle(axes: Axes, points: Any) -> None:
    """The places of one pair on its circle, later ones darker."""
    import numpy as np

    angles = np.linspace(0, 2 * np.pi, 100)
    axes.plot(np.cos(angles), np.sin(angles), color=GRID, linewidth=1)
    for place, (x, y) in enumerate(points):
        strength = 0.2 + 0.8 * (place / (len(points) - 1))
        axes.plot([0, x], [0, y], color=BLUE, alpha=strength, linewidth=1)
        axes.plot([x], [y], "o", color=BLUE, alpha=strength, markersize=4, mew=0, clip_on=False)
    axes.plot([0], [0], "o", color=MUTED, markersize=2)
    axes.set(aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.25, 1.25))
    axes.set_axis_off()


PICTURE = PictureSpec(lambda: say("pictures.rope"), 300, requests, draw)
