"""From texts to batches, with the learner's tokenizer, rows and sampler."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grader.course.answers import reference_app
from grader.learner.capstone.assemble import Parts
from grader.learner.capstone.recipe import BOS, EOS, PAD, SPECIALS, Recipe
from grader.messages.catalog import say

_LARGEST_MB = 20
_CHARACTERS_FOR_TOKENIZER = 100_000
_POOL = 16
"""Batches whose rows are drawn together and then put in the order of their length."""

Vocabulary = tuple[dict[int, bytes], list[tuple[bytes, bytes]]]
"""What `train_bpe` learns: tokens and merges."""


class NoCorpus(Exception):
    """A file that nothing can be learned from; the message says why."""


@dataclass(frozen=True)
class Corpus:
    """What is read: many short texts of the course's own, or one file, whose name is `file`."""

    texts: tuple[str, ...]
    file: str = ""

    @property
    def is_ours(self) -> bool:
        return not self.file


def own_corpus(recipe: Recipe) -> Corpus:
    """The course's stories and sums."""
    return Corpus(tuple(reference_app("corpus").make_corpus(recipe.texts, recipe.seed)))


def corpus_of(file: Path) -> Corpus:
    """A file's text. Raises NoCorpus."""
    try:
        if file.stat().st_size > _LARGEST_MB * 2**20:
            raise NoCorpus(say("capstone.file_large", file=file, most=_LARGEST_MB))
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NoCorpus(say("capstone.file_not_text", file=file, at=error.start)) from None
    except OSError as error:
        raise NoCorpus(say("capstone.file_unreadable", file=file, why=error.strerror)) from None
    if not text.strip():
        raise NoCorpus(say("capstone.file_empty", file=file))
    return Corpus((text,), str(file))


def learn_vocabulary(parts: Parts, corpus: Corpus, recipe: Recipe) -> Vocabulary:
    """Tokens for a corpus, learned from the beginning of it."""
    texts = list(corpus.texts[: recipe.tokenizer_texts])
    if not corpus.is_ours:
        texts = [_without_specials(texts[0][:_CHARACTERS_FOR_TOKENIZER])]
    vocab, merges = parts["tokenizer"].train_bpe(texts, recipe.vocab_size, list(SPECIALS))
    return vocab, merges


def tokenizer_of(parts: Parts, vocabulary: Vocabulary) -> Any:
    """The learner's Tokenizer with a vocabulary."""
    vocab, merges = vocabulary
    return parts["tokenizer"].Tokenizer(vocab, merges, list(SPECIALS))


def rows_of(parts: Parts, tokenizer: Any, corpus: Corpus, recipe: Recipe) -> list[list[int]]:
    """The corpus as token ids: a row for each of our texts, and equal rows for a file.

    A file is encoded line by line and cut where a row is full; of a short one there may be no row.
    """
    if corpus.is_ours:
        return [tokenizer.encode(text) for text in corpus.texts]
    lines = _without_specials(corpus.texts[0]).splitlines(keepends=True)
    text = [number for line in lines for number in tokenizer.encode(line)]
    blocks = [block.tolist() for block in parts["dataset"].pack([text], recipe.context, EOS)]
    return [block for block in blocks if len(block) == recipe.context]


def _without_specials(text: str) -> str:
    """A file may contain what is one token, such as an end of text; here it would be in the way."""
    for special in SPECIALS:
        text = text.replace(special, "")
    return text


def batches(
    parts: Parts, rows: Sequence[list[int]], corpus: Corpus, recipe: Recipe, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of ids and labels without end, from the one that comes after `start` of them on.

    Each epoch reads the rows in an order that is drawn for it.
    """
    epoch, skip = divmod(start, -(-len(rows) // recipe.batch))
    sampler = parts["checkpoint"].SkipBatchSampler
    while True:
        order = _order(rows, recipe.batch, random.Random(f"{recipe.seed} {epoch}"))
        read = 0
        for indices in sampler(order, recipe.batch, skip):
            read += 1
            yield _batch(parts, [rows[index] for index in indices], corpus)
        if not read:
            raise ValueError("SkipBatchSampler gives no batches")
        epoch, skip = epoch + 1, 0


def _order(rows: Sequence[list[int]], batch: int, chance: random.Random) -> list[int]:
    """Rows in a drawn order, but those of one batch are about as long as each other.

    A batch is padded to its longest row. Drawn without regard to length, nearly half of what the
    model computes would be padding.
    """
    drawn = list(range(len(rows)))
    chance.shuffle(drawn)
    pools = _cut(drawn, _POOL * batch)
    alike = [row for pool in pools for row in sorted(pool, key=lambda row: len(rows[row]))]
    *whole, last = _cut(alike, batch)
    chance.shuffle(whole)
    return [row for part in (*whole, last) for row in part]


def _cut(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _batch(parts: Parts, rows: Sequence[list[int]], corpus: Corpus) -> tuple[Tensor, Tensor]:
    """A batch: rows of a file as they are, texts with their markers and padded to the longest."""
    if not corpus.is_ours:
        ids = torch.tensor(rows)
        return ids, ids
    width = 2 + max(map(len, rows))
    example = parts["dataset"].pretrain_example
    pairs = [example(list(row), width, bos=BOS, eos=EOS, pad=PAD) for row in rows]
    return torch.stack([ids for ids, _ in pairs]), torch.stack([labels for _, labels in pairs])
