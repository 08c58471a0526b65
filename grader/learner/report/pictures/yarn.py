"""ex12: which frequencies change, and how far the angle of a slow pair comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, GREEN, INK, MUTED
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, BASE = 64, 10_000.0
PAIRS = DIM // 2
ORIGINAL, FACTOR, END = 512, 4.0, 2048
SLOW = 20
"""A pair that makes a quarter of a turn within the original length."""
EVERY = 8
SCALING = {
    "original_max_position_embeddings": ORIGINAL,
    "factor": FACTOR,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}


def stretched(answer, dim, base, scaling, end, pair, every):  # type: ignore[no-untyped-def]
    """All frequencies as parts of the plain ones, and the cosines of one pair in both tables."""
    freqs = answer.yarn_freqs(dim, base, scaling)
    plain = base ** (-torch.arange(0, dim, 2) / dim)
    longer, _ = answer.precompute_freqs_cis(dim, end, base, scaling)
    unchanged, _ = answer.precompute_freqs_cis(dim, end, base)
    cosines = torch.stack((unchanged[::every, pair], longer[::every, pair]))
    return {"parts": freqs / plain, "cosines": cosines}


def requests() -> list[Request]:
    inputs = {"dim": DIM, "base": BASE, "scaling": SCALING, "end": END}
    return [Request(stretched, inputs | {"pair": SLOW, "every": EVERY})]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    parts = seen[0].array("parts", PAIRS)
    plain, longer = seen[0].array("cosines", 2, END // EVERY)
    above, below = figure.subplots(2, 1)
    above.plot(parts, "o-", color=BLUE, markersize=4)
    above.axhline(1 / FACTOR, color=MUTED, linewidth=1, linestyle=":")
    above.set(xlabel="pair", ylabel="part of its frequency", ylim=(0, 1.08), xlim=(-0.5, PAIRS))
    positions = range(0, END, EVERY)
    below.axvspan(0, ORIGINAL, color=GREEN, alpha=0.15, linewidth=0, label="seen in training")
    below.plot(positions, plain, color=MUTED, label=f"pair {SLOW}, plain")
    below.plot(positions, longer, color=BLUE, label=f"pair {SLOW}, YaRN")
    below.axhline(0, color=INK, linewidth=0.6)
    below.set(xlabel="position", ylabel="cosine", xlim=(0, END), ylim=(-1.1, 1.1))
    below.legend(loc="lower left")
    return say(
        "pictures.yarn_caption",
        kept=int((parts > 1 - 1e-3).sum()),
        divided=int((parts < 1 / FACTOR + 1e-3).sum()),
        factor=FACTOR,
        pair=SLOW,
        seen=plain[: ORIGINAL // EVERY].min(),
        plain=plain.min(),
        longer=longer.min(),
    )


PICTURE = PictureSpec(lambda: say("pictures.yarn"), 320, requests, draw)
