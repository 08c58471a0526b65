"""ex19: what filters leave of a law, and how often thousands of draws come to each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from grader.learner.report.pictures.canvas import BLUE, GREEN, INK, MUTED, ORANGE
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOGITS = (3.0, 2.4, 2.1, 1.5, 1.2, 0.6, 0.3, -0.2, -0.6, -1.1, -1.8, -2.5)
ROWS = 4000
TEMPERATURE, TOP_K, TOP_P = 0.8, 8, 0.85
_SETTINGS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("as it is", MUTED, {}),
    (f"temperature {TEMPERATURE}", ORANGE, {"temperature": TEMPERATURE}),
    (f"and top-k {TOP_K}", GREEN, {"temperature": TEMPERATURE, "top_k": TOP_K}),
    (
        f"and top-p {TOP_P}",
        BLUE,
        {"temperature": TEMPERATURE, "top_k": TOP_K, "top_p": TOP_P},
    ),
)


def counted(answer, logits, rows, settings, seed):  # type: ignore[no-untyped-def]
    """How often each token is drawn, in so many rows that are all alike."""
    generator = torch.Generator().manual_seed(seed)
    tokens = answer.sample(logits.repeat(rows, 1), generator=generator, **settings)
    return {"counts": torch.bincount(tokens, minlength=logits.shape[1])}


def requests() -> list[Request]:
    logits = torch.tensor([LOGITS])
    return [
        Request(counted, {"logits": logits, "rows": ROWS, "settings": settings, "seed": seed})
        for seed, (_, _, settings) in enumerate(_SETTINGS)
    ]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    panels = figure.subplots(len(_SETTINGS), 1, sharex=True, sharey=True)
    tokens = range(len(LOGITS))
    kept, first = [], []
    for axes, each, (name, colour, _) in zip(panels, seen, _SETTINGS, strict=True):
        shares = each.array("counts", len(LOGITS)) / ROWS * 100
        kept.append(int((shares > 0).sum()))
        first.append(float(shares[0]))
        axes.bar(tokens, shares, width=0.7, color=colour)
        axes.annotate(
            f"{name}: {kept[-1]} tokens",
            (0.98, 0.72),
            xycoords="axes fraction",
            color=INK,
            ha="right",
        )
        axes.grid(visible=False, axis="x")
    panels[-1].set(xlabel="token, the likeliest first", xticks=tokens)
    figure.supylabel("% of all draws")
    return say(
        "pictures.sampling_caption",
        rows=f"{ROWS:,}",
        kept=kept[0],
        left=kept[-1],
        first=first[0],
        first_after=first[-1],
    )


PICTURE = PictureSpec(lambda: say("pictures.sampling"), 330, requests, draw)
