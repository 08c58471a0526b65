"""ex07: what one gate lets through, from far below zero to far above, and the slope of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, MUTED, ORANGE
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request
from minimind_ref.config import MiniMindConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CONFIG = MiniMindConfig.tiny(hidden_size=2)
FAR, NEAR, POINTS = 8.0, -120.0, 161


def through_one_gate(answer, config, gates):  # type: ignore[no-untyped-def]
    """y of a network of one feature, whose up is 1, over the gate; and its slope."""
    layer = answer.FeedForward(config, 1)
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    weights = {
        "gate_proj.weight": first,
        "up_proj.weight": second,
        "down_proj.weight": first.T,
    }
    layer.load_state_dict(weights)
    gates = gates.requires_grad_()
    y = layer(torch.stack((gates, torch.ones_like(gates)), dim=-1))[:, 0]
    (slope,) = torch.autograd.grad(y.sum(), gates)
    return {"y": y, "slope": slope}


def requests() -> list[Request]:
    gates = torch.cat((torch.linspace(-FAR, FAR, POINTS), torch.tensor([NEAR])))
    return [Request(through_one_gate, {"config": _CONFIG, "gates": gates}, draws=True)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    y, slope = seen[0].array("y", POINTS + 1), seen[0].array("slope", POINTS + 1)
    gates = torch.linspace(-FAR, FAR, POINTS).numpy()
    axes = figure.subplots()
    axes.plot(gates, gates.clip(0), color=MUTED, linestyle="--", label="relu")
    axes.plot(gates, y[:-1], color=BLUE, linewidth=2.5, label="your gate")
    axes.plot(gates, slope[:-1], color=ORANGE, label="its slope")
    axes.set(xlabel="gate_proj(x)", ylabel="what passes", xlim=(-FAR, FAR), ylim=(-1.5, FAR))
    axes.legend(loc="upper left")
    lowest = int(y[:-1].argmin())
    return say(
        "pictures.feed_forward_caption",
        lowest=y[lowest],
        place=gates[lowest],
        far=NEAR,
        slope=slope[-1] + 0.0,  # not minus zero
    )


PICTURE = PictureSpec(lambda: say("pictures.feed_forward"), 230, requests, draw)
