"""ex10: how the residual stream grows through a stack of the learner's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, GREEN, MUTED
from grader.learner.report.pictures.picture import PictureSpec, Seen, seeded
from grader.messages.catalog import say
from grader.observation.record import Request
from minimind_ref.config import MiniMindConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCKS, TOKENS = 24, 12
_CONFIG = MiniMindConfig.tiny(rms_norm_eps=1e-5)


def stacked(answer, config, x, cos, sin, blocks):  # type: ignore[no-untyped-def]
    """The stream's size after each block, and how far it still points where it came from."""
    torch.manual_seed(2)
    stream, sizes, alike = x, [x.square().mean().sqrt()], [torch.ones(())]
    with torch.no_grad():
        for number in range(blocks):
            block = answer.MiniMindBlock(number, config)
            for parameter in block.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.1)
            stream, _ = block(stream, (cos, sin))
            sizes.append(stream.square().mean().sqrt())
            alike.append(torch.cosine_similarity(stream.flatten(), x.flatten(), dim=0))
    return {"sizes": torch.stack(sizes), "alike": torch.stack(alike)}


def requests() -> list[Request]:
    width = _CONFIG.head_dim
    speeds = _CONFIG.rope_theta ** -(torch.arange(0, width, 2) / width)
    angles = torch.arange(TOKENS)[:, None] * torch.cat((speeds, speeds))
    inputs = {
        "config": _CONFIG,
        "x": seeded(1, TOKENS, _CONFIG.hidden_size),
        "cos": angles.cos(),
        "sin": angles.sin(),
        "blocks": BLOCKS,
    }
    return [Request(stacked, inputs, draws=True)]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    sizes = seen[0].array("sizes", BLOCKS + 1)
    alike = seen[0].array("alike", BLOCKS + 1)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(sizes, color=BLUE)
    above.axhline(sizes[0], color=MUTED, linewidth=1, linestyle=":")
    above.set(ylabel="size of the stream", ylim=(0, None), xlim=(0, BLOCKS))
    below.plot(alike, color=GREEN)
    below.set(
        xlabel="blocks passed", ylabel="likeness to the input", ylim=(min(0, min(alike)), 1.05)
    )
    return say(
        "pictures.block_caption",
        blocks=BLOCKS,
        first=sizes[0],
        last=sizes[-1],
        alike=alike[-1],
    )


PICTURE = PictureSpec(lambda: say("pictures.block"), 270, requests, draw)
