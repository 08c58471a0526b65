"""ex09: the work that the learner's layer does as its experts become more, and what dense costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grader.learner.report.pictures.canvas import BLUE, GREEN, MUTED, power_of_ten
from grader.learner.report.pictures.picture import NothingToDraw, PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request
from minimind_ref.config import MiniMindConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERTS = (2, 4, 8, 16, 32)
CHOSEN, HIDDEN, INNER, TOKENS = 2, 32, 24, 64
_OF_ONE = 3 * 2 * HIDDEN * INNER * TOKENS
"""FLOPs of one expert for all tokens."""


def mixed(answer, config, x):  # type: ignore[no-untyped-def]
    """One pass through a layer with the weights it was born with."""
    layer = answer.MoEFeedForward(config).eval()
    return {"size": layer(x).detach().square().mean()}


def requests() -> list[Request]:
    x = seeded(2, TOKENS // 2, HIDDEN, seed=9)
    return [
        Request(
            mixed,
            {
                "config": MiniMindConfig.tiny(
                    hidden_size=HIDDEN,
                    moe_intermediate_size=INNER,
                    num_experts=experts,
                    num_experts_per_tok=CHOSEN,
                ),
                "x": x,
            },
            draws=True,
            meter=True,
        )
        for experts in EXPERTS
    ]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    for each in seen:
        each.array("size")  # a layer that returns nothing does no work either
    work = [each.flops / 1e6 for each in seen]
    if not all(work):
        raise NothingToDraw(say("pictures.no_work"))
    router = [2 * HIDDEN * experts * TOKENS / 1e6 for experts in EXPERTS]
    dense = [experts * _OF_ONE / 1e6 for experts in EXPERTS]
    axes = figure.subplots()
    axes.plot(EXPERTS, dense, color=MUTED, linestyle="--", marker="o", label="every expert")
    axes.plot(EXPERTS, work, color=BLUE, linewidth=2.5, marker="o", label="your layer")
    axes.plot(EXPERTS, router, color=GREEN, marker="o", label="of that, the router")
    axes.set(xscale="log", yscale="log", xlabel="experts", ylabel="million operations")
    axes.set_xticks(EXPERTS, [str(count) for count in EXPERTS])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(power_of_ten)
    axes.legend(loc="upper left")
    return say(
        "pictures.moe_caption",
        chosen=CHOSEN,
        fewest=EXPERTS[0],
        most=EXPERTS[-1],
        first=work[0],
        last=work[-1],
        dense=dense[-1],
    )


PICTURE = PictureSpec(lambda: say("pictures.moe"), 250, requests, draw)
