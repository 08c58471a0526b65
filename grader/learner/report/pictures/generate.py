"""ex20: how many tokens the model has read when each new token comes, with and without a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, ORANGE
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROMPT, STEPS = 20, 60


def counted(answer, prompt, steps, use_cache):  # type: ignore[no-untyped-def]
    """The tokens that a model has read by the time each new token is handed out."""
    from types import SimpleNamespace

    class Toy(torch.nn.Module):
        """Always says the same, and has a cache that only remembers how long it is."""

        read = 0

        def forward(  # type: ignore[no-untyped-def]
            self,
            input_ids,
            attention_mask=None,
            past_key_values=None,
            use_cache=False,
            logits_to_keep=0,
            labels=None,
        ):
            rows, new = input_ids.shape
            self.read += rows * new
            seen = new + (past_key_values[0][0].shape[1] if past_key_values else 0)
            kept = torch.zeros(rows, seen, 1, 1)
            logits = torch.zeros(rows, new, 5)
            return SimpleNamespace(
                loss=None,
                logits=logits[:, -logits_to_keep:],
                aux_loss=torch.zeros(()),
                past_key_values=((kept, kept),) if use_cache else None,
                hidden_states=logits,
            )

    model = Toy()
    read: list[int] = []
    options = {"max_new_tokens": steps, "temperature": 0.0, "use_cache": use_cache}
    answer.generate(model, prompt, on_token=lambda tokens: read.append(model.read), **options)
    return {"read": torch.tensor(read)}


def requests() -> list[Request]:
    inputs = {"prompt": torch.ones(1, PROMPT, dtype=torch.long), "steps": STEPS}
    return [Request(counted, inputs | {"use_cache": use_cache}) for use_cache in (True, False)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    cached, whole = (each.array("read", STEPS) for each in seen)
    axes = figure.subplots()
    steps = range(1, STEPS + 1)
    for read, colour, name in ((whole, ORANGE, "without a cache"), (cached, BLUE, "with a cache")):
        axes.plot(steps, read, color=colour)
        axes.annotate(
            name,
            (STEPS, read[-1]),
            xytext=(-4, 6),
            textcoords="offset points",
            color=colour,
            ha="right",
        )
    axes.set(
        xlabel="new token",
        ylabel="tokens read so far",
        xlim=(1, STEPS),
        ylim=(0, 1.15 * max(whole.max(), cached.max())),
    )
    return say(
        "pictures.generate_caption",
        prompt=PROMPT,
        steps=STEPS,
        cached=f"{cached[-1]:,.0f}",
        whole=f"{whole[-1]:,.0f}",
        last=f"{whole[-1] - whole[-2]:,.0f}",
        last_cached=f"{cached[-1] - cached[-2]:,.0f}",
    )


PICTURE = PictureSpec(lambda: say("pictures.generate"), 280, requests, draw)
