"""Let the model write: samples for the record, and a continuation as it comes, for a chat."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import nn

from grader.course.answers import reference_app
from grader.learner.capstone.assemble import Parts
from grader.learner.capstone.data import Corpus
from grader.learner.capstone.recipe import BOS, EOS, PAD, Recipe
from grader.learner.capstone.record import Sample, Samples

OPENINGS = ("Tom had", "3 + 4 =", "小红有", "(2 + 2) + 3 =")
"""Beginnings that the model can complete once it has learned the course's corpus."""
_SHOWN = 4
_PROMPT = 12
"""Tokens of a file with which a sample begins."""


def samples(
    parts: Parts, model: nn.Module, tokenizer: Any, corpus: Corpus, rows: Any, recipe: Recipe
) -> Samples:
    """What the model writes now: texts with a score, or continuations of a file.

    Of each text that is scored the first token is given, that of a text which the model has not
    read. So it writes all kinds, and cannot keep to the one that it knows best.
    """
    if not corpus.is_ours:
        return _continuations(parts, model, tokenizer, rows, recipe)
    reader = reference_app("corpus")
    unread = reader.make_corpus(recipe.samples, recipe.seed + 1)
    first = [tokenizer.encode(text)[0] for text in unread]
    prompt = torch.tensor([[BOS, token] for token in first])
    written = zip(first, _written(parts, model, prompt, recipe), strict=True)
    texts = [tokenizer.decode([token, *row]) for token, row in written]
    readings = [reader.check(text) for text in texts]
    free = [
        Sample("", text.strip(), reading.score, tuple(map(str, reading.faults)))
        for text, reading in zip(texts, readings, strict=True)
    ]
    completed = [_completed(parts, model, tokenizer, opening, recipe) for opening in OPENINGS]
    score = sum(sample.score or 0.0 for sample in free) / len(free)
    return Samples((*free[:_SHOWN], *completed), len(free), score)


def _completed(
    parts: Parts, model: nn.Module, tokenizer: Any, opening: str, recipe: Recipe
) -> Sample:
    prompt = torch.tensor([[BOS, *tokenizer.encode(opening)]])
    (row,) = _written(parts, model, prompt, recipe)
    return Sample(opening, opening + tokenizer.decode(row))


def _continuations(
    parts: Parts, model: nn.Module, tokenizer: Any, rows: Sequence[list[int]], recipe: Recipe
) -> Samples:
    shown = []
    for number in range(_SHOWN):
        prompt = rows[number * len(rows) // _SHOWN][:_PROMPT]
        (row,) = _written(parts, model, torch.tensor([prompt]), recipe)
        opening = tokenizer.decode(prompt)
        shown.append(Sample(opening, tokenizer.decode([*prompt, *row])))
    return Samples(tuple(shown), len(shown))


def _written(
    parts: Parts, model: nn.Module, prompt: torch.Tensor, recipe: Recipe
) -> Iterator[list[int]]:
    """The tokens that follow each row of prompts, up to the end of the text."""
    was_training = model.training
    model.eval()
    text = parts["generate"].generate(
        model,
        prompt,
        max_new_tokens=recipe.new_tokens,
        temperature=recipe.temperature,
        eos_token_id=EOS,
        pad_token_id=PAD,
        generator=torch.Generator().manual_seed(recipe.seed + 1),
    )
    model.train(was_training)
    for row in text[:, prompt.shape[1] :].tolist():
        yield row[: row.index(EOS)] if EOS in row else row


class _Stopped(Exception):
    """Nobody reads any more."""


def streamed(
    parts: Parts,
    model: nn.Module,
    tokenizer: Any,
    opening: str,
    recipe: Recipe,
    *,
    temperature: float,
    is_ours: bool,
    seed: int,
) -> Iterator[str]:
    """What follows an opening, character by character, while the model writes it.

    The learner's `generate` pushes tokens, and their `decode_stream` pulls them: between the two is
    a queue, and `generate` runs in a thread. What goes wrong there is raised here.
    """
    prompt = torch.tensor([[BOS] * is_ours + tokenizer.encode(opening)])[:, -recipe.context :]
    tokens: queue.Queue[int | None] = queue.Queue()
    failed: list[BaseException] = []
    stop = threading.Event()

    def push(step: torch.Tensor) -> None:
        if stop.is_set():
            raise _Stopped
        tokens.put(int(step[0]))

    def write() -> None:
        try:
            parts["generate"].generate(
                model,
                prompt,
                max_new_tokens=recipe.new_tokens,
                temperature=temperature,
                eos_token_id=EOS,
                generator=torch.Generator().manual_seed(seed),
                on_token=push,
            )
        except _Stopped:
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            tokens.put(None)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        with closing(_until_end(tokens)) as numbers:
            yield from tokenizer.decode_stream(numbers)
    finally:
        stop.set()
    writer.join()
    if failed:
        raise failed[0]


def _until_end(tokens: queue.Queue[int | None]) -> Generator[int, None, None]:
    while (number := tokens.get()) is not None and number != EOS:
        yield number
