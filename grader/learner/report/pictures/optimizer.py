"""ex16: the learner's schedule, and their AdamW against plain descent in a narrow valley."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, MUTED, ORANGE, about, power_of_ten
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 150
LEARNING_RATE = 0.1


def descended(answer, start, steepness, steps, lr):  # type: ignore[no-untyped-def]
    """The schedule, and the height above a valley's floor under AdamW and without it."""
    schedule = [answer.get_lr(step, steps, lr) for step in range(steps + 1)]
    heights = []
    place = torch.nn.Parameter(start.clone())
    optimizer = answer.AdamW([place], lr=lr, weight_decay=0.0)
    for step in range(steps + 1):
        optimizer.param_groups[0]["lr"] = schedule[step]
        height = 0.5 * (steepness * place.square()).sum()
        heights.append(height.detach())
        (place.grad,) = torch.autograd.grad(height, (place,))
        optimizer.step()
    plain, without = start.clone(), []
    for _ in range(steps + 1):
        without.append(0.5 * (steepness * plain.square()).sum())
        plain = plain - steepness * plain / steepness.max()  # the longest step that is stable
    return {
        "schedule": torch.tensor(schedule),
        "heights": torch.stack(heights),
        "without": torch.stack(without),
    }


def requests() -> list[Request]:
    inputs = {
        "start": torch.ones(12),
        "steepness": torch.logspace(-3, 0, 12),
        "steps": STEPS,
        "lr": LEARNING_RATE,
    }
    return [Request(descended, inputs)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    schedule = seen[0].array("schedule", STEPS + 1)
    heights = seen[0].array("heights", STEPS + 1).clip(1e-30)
    without = seen[0].array("without", STEPS + 1)
    above, below = figure.subplots(2, 1, height_ratios=(1.0, 1.7), sharex=True)
    above.plot(schedule, color=ORANGE)
    above.set(ylabel="learning rate", ylim=(0, 1.1 * schedule.max()))
    below.plot(without, "--", color=MUTED, label="plain descent")
    below.plot(heights, color=BLUE, label="your AdamW")
    below.set(yscale="log", xlabel="step", ylabel="loss", xlim=(0, STEPS))
    below.yaxis.set_major_formatter(power_of_ten)
    below.legend(loc="lower left")
    return say(
        "pictures.optimizer_caption",
        first=schedule[0],
        last=schedule[-1],
        steps=STEPS,
        plain=about(without[-1]),
        yours=about(heights[-1]),
    )


PICTURE = PictureSpec(lambda: say("pictures.optimizer"), 300, requests, draw)
