"""ex03: who looks at whom in a short text, under the causal mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, INK, ORANGE, about
from grader.learner.report.pictures.picture import NothingToDraw, PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT = "the cat saw the dog and the dog saw the cat".split()
TOKENS = len(TEXT)


def pattern(answer, q, k, v):  # type: ignore[no-untyped-def]
    """The weights themselves: with the unit vectors as values, they are the outputs."""
    return {"weights": answer.attention(q, k, v)[0, 0]}


def requests() -> list[Request]:
    """Equal words have equal queries and keys, but for a little of their own."""
    words = seeded(len(set(TEXT)), TOKENS, seed=5)
    order = list(dict.fromkeys(TEXT))
    meaning = torch.stack([words[order.index(word)] for word in TEXT])
    q = 1.6 * meaning + 0.4 * seeded(TOKENS, TOKENS, seed=6)
    k = meaning + 0.4 * seeded(TOKENS, TOKENS, seed=7)
    inputs = {"q": q[None, None], "k": k[None, None], "v": torch.eye(TOKENS)[None, None]}
    return [Request(pattern, inputs)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    from matplotlib.patches import Rectangle

    weights = seen[0].array("weights", TOKENS, TOKENS)
    if weights.min() < 0 or weights.max() > 1.001:
        raise NothingToDraw(say("pictures.no_weights"))
    axes = figure.subplots()
    for query in range(TOKENS):
        for key in range(TOKENS):
            strength = min(1.0, weights[query, key])
            if strength > 0:
                place = (key - 0.5, query - 0.5)
                cell = Rectangle(place, 1, 1, facecolor=BLUE, alpha=strength, linewidth=0)
                axes.add_patch(cell)
    edge = [(0.5 + step // 2, -0.5 + (step + 1) // 2) for step in range(-1, 2 * TOKENS - 1)]
    axes.plot(*zip(*edge, strict=True), color=ORANGE, linewidth=2, solid_capstyle="round")
    axes.text(TOKENS - 0.7, 1.2, "later words:\nhidden", color=INK, ha="right", va="center")
    axes.set(xlim=(-0.5, TOKENS - 0.5), ylim=(TOKENS - 0.5, -0.5), aspect="equal")
    axes.set(xlabel="key: what is looked at", ylabel="query: who looks")
    axes.set_xticks(range(TOKENS), TEXT, rotation=60)
    axes.set_yticks(range(TOKENS), TEXT)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    beyond = max(weights[s, t] for s in range(TOKENS) for t in range(s + 1, TOKENS))
    apart = abs(weights.sum(axis=1) - 1).max()
    return say("pictures.attention_caption", beyond=about(beyond), apart=about(apart))


PICTURE = PictureSpec(lambda: say("pictures.attention"), 370, requests, draw)
