"""ex13: how many characters a token holds, the more merges are learned, in two languages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from grader.learner.report.pictures.canvas import BLUE, INK, ORANGE
from grader.learner.report.pictures.picture import PictureSpec, Seen
from grader.messages.catalog import say
from grader.observation.record import Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (0, 10, 20, 40, 60, 80, 100, 130, 160)
ENGLISH = (
    "The model reads tokens, and the tokens are parts of words. "
    "A word that the text repeats becomes one token; a word that is rare stays in parts. "
    "The more merges the tokenizer has learned, the longer the tokens are, and the shorter the "
    "text is for the model. The model then reads more of the text at the same time. "
)
CHINESE = (
    "模型读的是词元，词元是词的一部分。文本里常常出现的词会变成一个词元，"
    "少见的词仍然分成几个词元。分词器学到的合并越多，词元就越长，"
    "模型读的文本就越短，模型在同样的时间里读到的文本就越多。"
)


def shortened(answer, texts, steps):  # type: ignore[no-untyped-def]
    """Into how many tokens each text is cut after so many merges, learned from all of them."""
    vocab, merges = answer.train_bpe(list(texts), 256 + max(steps), [])
    counts = []
    for step in steps:
        some = {id_: vocab[id_] for id_ in range(256 + min(step, len(merges)))}
        tokenizer = answer.Tokenizer(some, merges[:step], [])
        counts.append([len(tokenizer.encode(text)) for text in texts])
    return torch.tensor(counts)


def requests() -> list[Request]:
    return [Request(shortened, {"texts": [ENGLISH, CHINESE], "steps": STEPS})]


def draw(figure: Figure, seen: Sequence[Seen]) -> str:
    counts = seen[0].array("result", len(STEPS), 2)
    axes = figure.subplots()
    held = [len(ENGLISH), len(CHINESE)] / counts
    for column, colour, label in ((0, BLUE, "English"), (1, ORANGE, "Chinese")):
        axes.plot(STEPS, held[:, column], "o-", color=colour, label=label, markersize=4)
    axes.axhline(1.0, color=INK, linewidth=1, linestyle=":")
    axes.set(xlabel="merges learned", ylabel="characters per token", xlim=(0, STEPS[-1]))
    axes.legend(loc="upper left")
    return say(
        "pictures.tokenizer_caption",
        merges=STEPS[-1],
        english=held[0, 0],
        chinese=held[0, 1],
        english_after=held[-1, 0],
        chinese_after=held[-1, 1],
    )


PICTURE = PictureSpec(lambda: say("pictures.tokenizer"), 260, requests, draw)
