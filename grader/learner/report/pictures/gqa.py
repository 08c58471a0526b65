"""ex04: bytes of the cache against the length of the context, for MHA, GQA and MQA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, GREEN, INK, MUTED, ORANGE
from grader.learner.report.pictures.picture import NothingToDraw, PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADS, WIDTH, LAYERS = 8, 96, 8
"""MiniMind's query heads, features per head and layers."""
KINDS = (("MHA, 8 heads", 8, ORANGE), ("GQA, 4 heads", 4, BLUE), ("MQA, 1 head", 1, GREEN))
LENGTHS = (1024, 2048, 4096, 8192)
_MIB = 2**20


def kept(answer, length, kv_heads, heads, width):  # type: ignore[no-untyped-def]
    """Bytes of the keys and values that attention really used for one more token."""
    k = torch.zeros(1, length, kv_heads, width, dtype=torch.bfloat16)
    v = torch.zeros_like(k)
    q = torch.zeros(1, 1, heads, width, dtype=torch.bfloat16)
    if answer.grouped_attention(q, k, v).shape != q.shape:
        raise ValueError("grouped_attention returned another shape than its queries have")
    return {"bytes": torch.tensor(k.nbytes + v.nbytes)}


def repeated(answer, length, kv_heads, heads, width):  # type: ignore[no-untyped-def]
    """Bytes of what `repeat_kv` makes of them."""
    k = torch.zeros(1, length, kv_heads, width, dtype=torch.bfloat16)
    whole = [answer.repeat_kv(x, heads // kv_heads) for x in (k, torch.zeros_like(k))]
    return {"bytes": torch.tensor(sum(x.nbytes for x in whole))}


def requests() -> list[Request]:
    sizes = {"heads": HEADS, "width": WIDTH}
    found = [
        Request(kept, {"length": length, "kv_heads": kv_heads, **sizes})
        for _, kv_heads, _ in KINDS
        for length in LENGTHS
    ]
    for length in LENGTHS:
        found.append(Request(repeated, {"length": length, "kv_heads": 4, **sizes}))
    return found


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    mib = [LAYERS * float(each.array("bytes")) / _MIB for each in seen]
    if min(mib) <= 0:
        raise NothingToDraw(say("pictures.no_bytes"))
    axes = figure.subplots()
    for place, (name, _, colour) in enumerate(KINDS):
        line = mib[place * len(LENGTHS) : (place + 1) * len(LENGTHS)]
        axes.plot((0, *LENGTHS), (0, *line), "o-", color=colour, markersize=4)
        axes.annotate(
            f"{name}: {line[-1]:.0f} MiB",
            (LENGTHS[-1], line[-1]),
            xytext=(-6, 7),
            textcoords="offset points",
            color=INK,
            ha="right",
        )
    copied = mib[-len(LENGTHS) :]
    label = "GQA, heads repeated by your repeat_kv"
    axes.plot(LENGTHS, copied, "x", color=MUTED, markersize=9, mew=1.5, label=label)
    axes.legend(loc="upper left", borderaxespad=0)
    axes.set(
        xlabel="tokens in the cache",
        ylabel="MiB in all 8 layers",
        xlim=(0, 8500),
        ylim=(0, 1.2 * max(mib)),
    )
    axes.set_xticks((0, *LENGTHS), [f"{length:,}" for length in (0, *LENGTHS)], rotation=0)
    return say("pictures.gqa_caption", layers=LAYERS)


PICTURE = PictureSpec(lambda: say("pictures.gqa"), 260, requests, draw)
