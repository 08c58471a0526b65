"""ex17: the loss and the learning rate of every update while a toy model learns by heart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from grader.learner.report.pictures.canvas import BLUE, INK, ORANGE
from grader.learner.report.pictures.picture import PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOKENS, UPDATES, PARTS = 24, 80, 2
LEARNING_RATE = 3.0
CLIP = 0.25


def trained(answer, table, head, batches, updates, parts, lr, clip):  # type: ignore[no-untyped-def]
    """Train a model of two matrices by `train_epoch`; what each update reported and used."""
    from types import SimpleNamespace

    class Toy(torch.nn.Module):
        def __init__(self):  # type: ignore[no-untyped-def]
            super().__init__()
            self.table = torch.nn.Parameter(table.clone())
            self.head = torch.nn.Parameter(head.clone())

        def forward(self, input_ids, attention_mask=None, labels=None):  # type: ignore[no-untyped-def]
            scores = F.linear(self.table[input_ids], self.head)
            loss = F.cross_entropy(scores.flatten(0, 1), labels.flatten())
            return SimpleNamespace(loss=loss, logits=scores, aux_loss=torch.zeros(()))

    model = Toy()  # type: ignore[no-untyped-call]
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    settings = {"lr": lr, "total_steps": updates, "accumulation_steps": parts, "grad_clip": clip}
    losses, rates, norms = [], [], []
    for result in answer.train_epoch(model, batches, optimizer, **settings):
        losses.append(result.loss)
        norms.append(result.grad_norm)
        rates.append(optimizer.param_groups[0]["lr"])
        if len(losses) == updates:
            break
    return {
        "loss": torch.tensor(losses),
        "grad_norm": torch.tensor(norms),
        "lr": torch.tensor(rates),
    }


def requests() -> list[Request]:
    """A text in which every token decides the next."""
    after = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(8))
    drawn = torch.Generator().manual_seed(9)
    batches = []
    for _ in range(UPDATES * PARTS):
        input_ids = torch.randint(0, TOKENS, (2, 6), generator=drawn)
        batches.append((input_ids, after[input_ids]))
    inputs = {
        "table": 0.3 * seeded(TOKENS, 16, seed=10),
        "head": 0.3 * seeded(TOKENS, 16, seed=11),
        "batches": batches,
        "updates": UPDATES,
        "parts": PARTS,
        "lr": LEARNING_RATE,
        "clip": CLIP,
    }
    return [Request(trained, inputs)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    losses = seen[0].array("loss", UPDATES)
    rates = seen[0].array("lr", UPDATES)
    norms = seen[0].array("grad_norm", UPDATES)
    above, below = figure.subplots(2, 1, height_ratios=(1.9, 1.0), sharex=True)
    updates = range(1, UPDATES + 1)
    guess = math.log(TOKENS)
    above.axhline(guess, color=INK, linewidth=1, linestyle=":")
    above.annotate(
        "a blind guess", (UPDATES, guess), xytext=(0, 4), textcoords="offset points", ha="right"
    )
    above.plot(updates, losses, color=BLUE)
    above.set(ylabel="loss", ylim=(0, max(1.15 * guess, losses.max())))
    below.plot(updates, rates, color=ORANGE)
    below.set(
        xlabel="update", ylabel="learning rate", xlim=(1, UPDATES), ylim=(0, 1.1 * rates.max())
    )
    clipped = int((norms > CLIP).sum())
    return say(
        "pictures.train_step_caption",
        updates=UPDATES,
        parts=PARTS,
        tokens=TOKENS,
        first=losses[0],
        last=losses[-5:].mean(),
        clipped=clipped,
    )


PICTURE = PictureSpec(lambda: say("pictures.train_step"), 310, requests, draw)
