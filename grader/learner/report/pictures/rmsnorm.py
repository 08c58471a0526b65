"""ex01: the size of vectors through forty layers, with the learner's norm and without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, MUTED, about, power_of_ten
from grader.learner.report.pictures.picture import PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS, TOKENS, FEATURES = 40, 16, 64
GAINS = (0.75, 1.35)
"""How much a layer's matrix makes of a vector: one kind lets it vanish, one lets it explode."""


def through_layers(answer, x, matrices):  # type: ignore[no-untyped-def]
    """Root mean square of the vectors behind every layer: [2, gains, layers]."""
    norm = answer.RMSNorm(x.shape[-1])
    sizes = []
    with torch.no_grad():
        for normalise in (lambda vectors: vectors, norm):
            for stack in matrices:
                vectors = x
                for matrix in stack:
                    vectors = normalise(vectors) @ matrix
                    sizes.append(vectors.square().mean().sqrt())
    return {"sizes": torch.stack(sizes).reshape(2, len(matrices), -1)}


def requests() -> list[Request]:
    x = seeded(TOKENS, FEATURES)
    matrices = seeded(LAYERS, FEATURES, FEATURES, seed=1) / FEATURES**0.5
    stacks = torch.stack([matrices * gain for gain in GAINS])
    return [Request(through_layers, {"x": x, "matrices": stacks}, draws=True)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    sizes = seen[0].array("sizes", 2, len(GAINS), LAYERS).clip(1e-12, 1e12)
    axes = figure.subplots()
    layers = range(1, LAYERS + 1)
    for without in sizes[0]:
        axes.plot(layers, without, color=MUTED, linestyle="--")
    for normed in sizes[1]:
        axes.plot(layers, normed, color=BLUE, linewidth=2.5)
    axes.set(yscale="log", xlabel="layer", ylabel="size of the vectors", xlim=(1, LAYERS))
    axes.yaxis.set_major_formatter(power_of_ten)
    axes.plot([], [], color=MUTED, linestyle="--", label="without")
    axes.plot([], [], color=BLUE, linewidth=2.5, label="with your RMSNorm")
    axes.legend(loc="upper left")
    low, high = sizes[0][:, -1]
    return say(
        "pictures.rmsnorm_caption",
        layers=LAYERS,
        low=about(low),
        high=about(high),
        least=sizes[1].min(),
        most=sizes[1].max(),
    )


PICTURE = PictureSpec(lambda: say("pictures.rmsnorm"), 230, requests, draw)
