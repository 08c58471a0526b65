"""ex11: the learner's model learns a few lines by heart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, MUTED
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request
from minimind_ref.config import MiniMindConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, LINES, TOKENS = 60, 4, 24
_CONFIG = MiniMindConfig.tiny(num_hidden_layers=2)


def learnt(answer, config, ids, steps):  # type: ignore[no-untyped-def]
    """The loss before each of some steps of gradient descent, with every gradient as long as 1."""
    torch.manual_seed(4)
    model = answer.MiniMindForCausalLM(config)
    parameters = list(model.parameters())
    losses = []
    for step in range(steps + 1):
        loss = model(ids, labels=ids).loss
        losses.append(loss.detach())
        if step == steps:
            break
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        found = [(p, s) for p, s in zip(parameters, slopes, strict=True) if s is not None]
        length = torch.stack([slope.norm() for _, slope in found]).norm()
        with torch.no_grad():
            for parameter, slope in found:
                parameter -= 0.3 * slope / length
    return {"losses": torch.stack(losses)}


def requests() -> list[Request]:
    generator = torch.Generator().manual_seed(6)
    ids = torch.randint(3, _CONFIG.vocab_size, (LINES, TOKENS), generator=generator)
    inputs = {"config": _CONFIG, "ids": ids, "steps": STEPS}
    return [Request(learnt, inputs, draws=True)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    losses = seen[0].array("losses", STEPS + 1)
    guessing = math.log(_CONFIG.vocab_size)
    axes = figure.subplots()
    axes.axhline(guessing, color=MUTED, linewidth=1, linestyle=":", label="guessing: ln V")
    axes.plot(losses, color=BLUE, label="your model")
    axes.set(xlabel="step", ylabel="loss", xlim=(0, STEPS), ylim=(0, None))
    axes.legend(loc="lower left")
    return say(
        "pictures.model_caption",
        lines=LINES,
        tokens=TOKENS,
        first=losses[0],
        guessing=guessing,
        steps=STEPS,
        last=losses[-1],
    )


PICTURE = PictureSpec(lambda: say("pictures.model"), 230, requests, draw)
