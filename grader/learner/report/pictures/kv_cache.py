"""ex05: the work of writing a text token by token, with the learner's cache and without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, INK, MUTED, about
from grader.learner.report.pictures.picture import NothingToDraw, PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request
from minimind_ref.config import MiniMindConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTHS = (8, 16, 32, 48, 64)
_CONFIG = MiniMindConfig.tiny(flash_attn=False)


def written(answer, config, x, cos, sin, cached):  # type: ignore[no-untyped-def]
    """Each token's output, from the past and the new token alone or from the whole text again."""
    torch.manual_seed(1)
    layer = answer.Attention(config)
    outputs, past = [], None
    with torch.no_grad():
        for end in range(1, x.shape[1] + 1):
            start = end - 1 if cached else 0
            tables = cos[start:end], sin[start:end]
            out, past = layer(x[:, start:end], tables, past_key_value=past, use_cache=cached)
            outputs.append(out[0, -1])
    return {"outputs": torch.stack(outputs)}


def requests() -> list[Request]:
    width = _CONFIG.head_dim
    text = seeded(1, LENGTHS[-1], _CONFIG.hidden_size)
    speeds = _CONFIG.rope_theta ** -(torch.arange(0, width, 2) / width)
    angles = torch.arange(LENGTHS[-1])[:, None] * torch.cat((speeds, speeds))
    found = []
    for cached in (True, False):
        for length in LENGTHS:
            inputs = {
                "config": _CONFIG,
                "x": text[:, :length],
                "cos": angles[:length].cos(),
                "sin": angles[:length].sin(),
                "cached": cached,
            }
            found.append(Request(written, inputs, draws=True, meter=True))
    return found


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    outputs = [
        s.array("outputs", n, _CONFIG.hidden_size) for s, n in zip(seen, LENGTHS * 2, strict=True)
    ]
    work = [each.flops / 1e6 for each in seen]
    if min(work) <= 0:
        raise NothingToDraw(say("pictures.no_work"))
    cached, whole = work[: len(LENGTHS)], work[len(LENGTHS) :]
    axes = figure.subplots()
    axes.fill_between(LENGTHS, cached, whole, color=MUTED, alpha=0.12, linewidth=0)
    axes.plot(LENGTHS, whole, "o--", color=MUTED, markersize=4, label="the whole text again")
    axes.plot(LENGTHS, cached, "o-", color=BLUE, markersize=4, label="with your cache")
    axes.set(xlabel="tokens written", ylabel="million operations", ylim=(0, None))
    axes.set_xticks(LENGTHS)
    axes.legend(loc="upper left")
    axes.annotate(
        f"{whole[-1] / cached[-1]:.0f} times less",
        (LENGTHS[-1], 0.25 * whole[-1] + 0.75 * cached[-1]),
        xytext=(-8, 0),
        textcoords="offset points",
        color=INK,
        ha="right",
        va="center",
    )
    apart = abs(outputs[len(LENGTHS) - 1] - outputs[-1]).max()
    return say(
        "pictures.kv_cache_caption",
        tokens=LENGTHS[-1],
        whole=whole[-1],
        cached=cached[-1],
        apart=about(apart),
    )


PICTURE = PictureSpec(lambda: say("pictures.kv_cache"), 230, requests, draw)
