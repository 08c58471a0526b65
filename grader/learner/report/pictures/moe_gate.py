"""ex08: how tokens spread over experts, before and after some steps down the balancing loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, GREEN, INK, MUTED
from grader.learner.report.pictures.picture import PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request
from minimind_ref.config import MiniMindConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERTS, CHOSEN, TOKENS, STEPS = 8, 2, 512, 60
_CONFIG = MiniMindConfig.tiny(
    num_experts=EXPERTS,
    num_experts_per_tok=CHOSEN,
    aux_loss_kind="batch",
    router_aux_loss_coef=1.0,
)


def balanced(answer, config, x, weight, steps):  # type: ignore[no-untyped-def]
    """Gradient descent on the auxiliary loss alone; the choices before and after, and the loss."""
    gate = answer.MoEGate(config)
    gate.load_state_dict({"weight": weight})
    gate.train()
    choices, losses = [], []
    for step in range(steps + 1):
        topk_idx, _, loss = gate(x)
        losses.append(loss.detach())
        if step in (0, steps):
            choices.append(torch.bincount(topk_idx.flatten(), minlength=config.num_experts))
        (slope,) = torch.autograd.grad(loss, (gate.weight,))
        with torch.no_grad():
            gate.weight -= 1.0 * slope
    return {"load": torch.stack(choices), "loss": torch.stack(losses)}


def requests() -> list[Request]:
    """Tokens have something in common, which the router's favourites answer to."""
    common = seeded(_CONFIG.hidden_size, seed=3)
    x = seeded(2, TOKENS // 2, _CONFIG.hidden_size, seed=4) + 0.5 * common
    liking = torch.linspace(0.06, -0.06, EXPERTS)[:, None]
    weight = 0.12 * seeded(EXPERTS, _CONFIG.hidden_size, seed=5) + liking * common
    inputs = {"config": _CONFIG, "x": x, "weight": weight, "steps": STEPS}
    return [Request(balanced, inputs, draws=True)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    load = seen[0].array("load", 2, EXPERTS) / (TOKENS * CHOSEN) * 100
    losses = seen[0].array("loss", STEPS + 1)
    above, below = figure.subplots(2, 1, height_ratios=(1.7, 1.0))
    for offset, share, colour, label in (
        (-0.2, load[0], MUTED, "before"),
        (0.2, load[1], BLUE, f"after {STEPS} steps"),
    ):
        places = [expert + offset for expert in range(EXPERTS)]
        above.bar(places, share, width=0.38, color=colour, label=label)
    above.axhline(100 / EXPERTS, color=INK, linewidth=1, linestyle=":")
    above.set(xlabel="expert", ylabel="% of all choices", xticks=range(EXPERTS))
    above.grid(visible=False, axis="x")
    above.legend(loc="upper right")
    below.plot(losses, color=GREEN)
    below.set(xlabel="step of gradient descent on your loss", ylabel="loss", xlim=(0, STEPS))
    return say(
        "pictures.moe_gate_caption",
        busiest=load[0].max(),
        idlest=load[0].min(),
        steps=STEPS,
        busiest_after=load[1].max(),
        idlest_after=load[1].min(),
        equal=100 / EXPERTS,
        loss=losses[0],
        loss_after=losses[-1],
    )


PICTURE = PictureSpec(lambda: say("pictures.moe_gate"), 310, requests, draw)
