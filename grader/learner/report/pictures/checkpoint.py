"""ex18: a training that is broken off and goes on, from a checkpoint and from weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from grader.learner.report.pictures.canvas import BLUE, INK, MUTED, ORANGE
from grader.learner.report.pictures.picture import PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, BREAK = 60, 30


def interrupted(
    answer: Any, weight: Any, inputs: Any, targets: Any, steps: int, at: int
) -> dict[str, torch.Tensor]:
    """The losses of a training without a break, and of two that are broken off at a step."""
    import random
    import tempfile

    import numpy

    class Adam:
        """As much of Adam as a checkpoint sees of it."""

        def __init__(self, model: Any) -> None:
            self.p = model.weight
            self.state: dict[int, Any] = {
                0: {"step": 0, "m": torch.zeros_like(self.p), "v": torch.zeros_like(self.p)}
            }
            self.param_groups: list[dict[str, Any]] = [{"params": [self.p], "lr": 0.03}]

        def state_dict(self) -> dict[str, Any]:
            return {"state": self.state, "param_groups": [{"params": [0], "lr": 0.03}]}

        def load_state_dict(self, saved: dict[str, Any]) -> None:
            self.state = saved["state"]

        def step(self) -> None:
            kept, gradient = self.state[0], self.p.grad
            kept["step"] += 1
            kept["m"] = 0.9 * kept["m"] + 0.1 * gradient
            kept["v"] = 0.98 * kept["v"] + 0.02 * gradient.square()
            mean = kept["m"] / (1 - 0.9 ** kept["step"])
            square = kept["v"] / (1 - 0.98 ** kept["step"])
            with torch.no_grad():
                self.p -= 0.03 * mean / (square.sqrt() + 1e-8)
            self.p.grad = None

    def made(values: torch.Tensor) -> tuple[Any, Adam]:
        model = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        with torch.no_grad():
            model.weight.copy_(values)
        return model, Adam(model)

    def train(model: Any, optimizer: Adam, count: int) -> torch.Tensor:
        losses = []
        for _ in range(count):
            rows = torch.randperm(len(inputs))[:8]
            kept = (torch.rand(8, inputs.shape[1]) < 0.9) / 0.9
            loss = (model(inputs[rows] * kept) - targets[rows]).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    generators = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/run.pt"
            torch.default_generator.manual_seed(3)
            model, optimizer = made(weight)
            first = train(model, optimizer, at)
            answer.save_checkpoint(path, model, optimizer, step=at)
            weights = model.weight.detach().clone()
            straight = torch.cat((first, train(model, optimizer, steps - at)))
            torch.default_generator.manual_seed(4)
            alone = train(*made(weights), steps - at)
            model, optimizer = made(torch.zeros_like(weight))
            answer.load_checkpoint(path, model, optimizer)
            loaded = train(model, optimizer, steps - at)
    finally:
        torch.set_rng_state(generators[0])
        random.setstate(generators[1])
        numpy.random.set_state(generators[2])
    return {"straight": straight, "loaded": loaded, "alone": alone}


def requests() -> list[Request]:
    """A linear model of noisy data, by Adam, with dropout and a shuffled order."""
    inputs = seeded(64, 24, seed=31)
    truth = seeded(6, 24, seed=32)
    targets = inputs @ truth.T + 0.3 * seeded(64, 6, seed=33)
    given = {"weight": 0.1 * seeded(6, 24, seed=34), "inputs": inputs, "targets": targets}
    return [Request(interrupted, {**given, "steps": STEPS, "at": BREAK})]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    straight = seen[0].array("straight", STEPS)
    loaded = seen[0].array("loaded", STEPS - BREAK)
    alone = seen[0].array("alone", STEPS - BREAK)
    axes = figure.subplots()
    later = range(BREAK + 1, STEPS + 1)
    axes.plot(range(1, STEPS + 1), straight, color=MUTED, linewidth=5, label="without a break")
    axes.plot(later, alone, color=ORANGE, label="from weights alone")
    axes.plot(later, loaded, color=BLUE, label="from your checkpoint")
    axes.axvline(BREAK + 0.5, color=INK, linewidth=1, linestyle=":")
    axes.set(xlabel="step", ylabel="loss", xlim=(1, STEPS))
    axes.legend(loc="upper right")
    equal = int((loaded == straight[BREAK:]).sum())
    return say(
        "pictures.checkpoint_caption",
        at=BREAK,
        equal=equal,
        count=STEPS - BREAK,
        alone=int((alone == straight[BREAK:]).sum()),
    )


PICTURE = PictureSpec(lambda: say("pictures.checkpoint"), 280, requests, draw)
