"""ex15: the memory of a step on the loss, whole and in chunks, against the length of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grader.learner.report.pictures.canvas import BLUE, INK, ORANGE, about
from grader.learner.report.pictures.picture import NothingToDraw, PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VOCABULARY, HIDDEN, CHUNK = 1600, 16, 32
LENGTHS = (128, 256, 384, 512)
_MIB = 2**20


def stepped(answer, hidden, weight, labels, chunk):  # type: ignore[no-untyped-def]
    """One forward and backward pass of the last matrix and the loss; `chunk` of 0 is the whole."""
    hidden.requires_grad_()
    weight.requires_grad_()
    if chunk:
        loss = answer.chunked_causal_lm_loss(hidden, weight, labels, chunk)
    else:
        loss = answer.causal_lm_loss(hidden @ weight.T, labels)
    loss.backward()
    return {"loss": loss.detach()}


def requests() -> list[Request]:
    weight = 0.2 * seeded(VOCABULARY, HIDDEN, seed=1)
    text = (seeded(1, max(LENGTHS), seed=2).abs() * 500).long() % VOCABULARY
    states = seeded(1, max(LENGTHS), HIDDEN, seed=3)
    found = []
    for chunk in (0, CHUNK):
        for length in LENGTHS:
            inputs = {
                "hidden": states[:, :length],
                "weight": weight,
                "labels": text[:, :length],
                "chunk": chunk,
            }
            found.append(Request(stepped, inputs, meter=True))
    return found


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    losses = [float(each.array("loss")) for each in seen]
    mib = [each.peak_bytes / _MIB for each in seen]
    if min(mib) <= 0:
        raise NothingToDraw(say("pictures.no_bytes"))
    whole, chunked = mib[: len(LENGTHS)], mib[len(LENGTHS) :]
    axes = figure.subplots()
    for line, colour, name in ((whole, ORANGE, "whole"), (chunked, BLUE, f"chunks of {CHUNK}")):
        axes.plot(LENGTHS, line, "o-", color=colour, markersize=4)
        axes.annotate(
            f"{name}: {line[-1]:.1f} MiB",
            (LENGTHS[-1], line[-1]),
            xytext=(-6, 7),
            textcoords="offset points",
            color=INK,
            ha="right",
        )
    axes.set(
        xlabel="tokens in the batch",
        ylabel="MiB at one time",
        xlim=(0, 1.04 * max(LENGTHS)),
        ylim=(0, 1.2 * max(mib)),
        xticks=(0, *LENGTHS),
    )
    pairs = zip(losses[: len(LENGTHS)], losses[len(LENGTHS) :], strict=True)
    return say(
        "pictures.loss_caption",
        vocabulary=f"{VOCABULARY:,}",
        tokens=LENGTHS[-1],
        whole=whole[-1],
        chunked=chunked[-1],
        apart=about(max(abs(one - other) for one, other in pairs)),
    )


PICTURE = PictureSpec(lambda: say("pictures.loss"), 250, requests, draw)
