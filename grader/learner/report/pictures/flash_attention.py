"""ex06: the memory of attention against the length of the text, in tiles and with all scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grader.learner.report.pictures.canvas import BLUE, INK, MUTED, power_of_ten
from grader.learner.report.pictures.picture import NothingToDraw, PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTHS = (1024, 2048, 4096, 8192)
WIDTH, BLOCK = 8, 512
_MIB, _BYTES = 2**20, 4


def tiled(answer, q, k, v, block):  # type: ignore[no-untyped-def]
    """One head's causal attention over a whole text; of it, only its last query's lse."""
    _, lse = answer.flash_attention(q, k, v, block_size=block)
    return {"lse": lse[0, 0, -1:].clone()}


def requests() -> list[Request]:
    q, k, v = (seeded(1, 1, LENGTHS[-1], WIDTH, seed=seed) for seed in (1, 2, 3))
    return [
        Request(
            tiled,
            {"q": q[:, :, :n], "k": k[:, :, :n], "v": v[:, :, :n], "block": BLOCK},
            meter=True,
        )
        for n in LENGTHS
    ]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    for each in seen:
        each.array("lse", 1)
    yours = [each.peak_bytes / _MIB for each in seen]
    if min(yours) <= 0:
        raise NothingToDraw(say("pictures.no_bytes"))
    whole = [n * n * _BYTES / _MIB for n in LENGTHS]
    axes = figure.subplots()
    axes.plot(LENGTHS, whole, "o--", color=MUTED, markersize=4)
    axes.plot(LENGTHS, yours, "o-", color=BLUE, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for line, label, above in ((whole, "all scores at once", 8), (yours, "your tiles", 8)):
        axes.annotate(
            f"{label}: {line[-1]:.3g} MiB",
            (LENGTHS[-1], line[-1]),
            xytext=(0, above),
            textcoords="offset points",
            color=INK,
            ha="right",
        )
    axes.set(xlabel="tokens in the text", ylabel="MiB at one time, one head")
    axes.set_ylim(min(yours) / 2, 3 * max(*whole, *yours))
    axes.set_xticks(LENGTHS, [f"{n:,}" for n in LENGTHS])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(power_of_ten)
    return say(
        "pictures.flash_attention_caption",
        tokens=LENGTHS[-1],
        whole=whole[-1],
        yours=yours[-1],
        block=BLOCK,
        growth=yours[-1] / yours[-2],
    )


PICTURE = PictureSpec(lambda: say("pictures.flash_attention"), 240, requests, draw)
