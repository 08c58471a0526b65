"""Rows of tokens to learn from, and the order in which training takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import regex
import torch
from torch import Tensor

from ..dataset import END, IGNORED, START, pack, render_chat, sft_labels
from ..tokenizer import GPT2_PATTERN
from .reading import Message
from .vocabulary import Vocabulary

_AT_ONCE = 1 << 20
"""Tokens that are packed together; only their rows are kept, in four bytes a token."""

_KNOWN_WORDS = 1 << 20

Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Rows:
    """Rows of any lengths, end to end.

    Attributes:
        tokens: ``[T]`` int32, all rows joined.
        learned: ``[T]`` bool, whether a token is one to predict.
        starts: ``[rows + 1]`` int64, where each row begins, and the end of the last.
        pad: fills shorter rows of a batch; no row looks at what comes after it.
    """

    tokens: Tensor
    learned: Tensor
    starts: Tensor
    pad: int

    @classmethod
    def of(cls, rows: Iterable[tuple[Tensor, Tensor]], pad: int) -> Rows:
        """Join ``(input_ids [S], labels [S])``; a row without a token to predict is left out."""
        tokens, learned, lengths = [], [], [0]
        for input_ids, labels in rows:
            counts = labels != IGNORED
            if counts[1:].any():
                tokens.append(input_ids.to(torch.int32))
                learned.append(counts)
                lengths.append(len(input_ids))
        empty = torch.zeros(0, dtype=torch.int32)
        return cls(
            torch.cat(tokens) if tokens else empty,
            torch.cat(learned) if learned else empty.bool(),
            torch.tensor(lengths).cumsum(0),
            pad,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> Tensor:
        """``[rows]``, the tokens in each."""
        return self.starts.diff()

    @cached_property
    def predictions(self) -> Tensor:
        """``[rows]``, the tokens to predict in each: nothing predicts the first."""
        before = torch.cat([torch.zeros(1, dtype=torch.long), self.learned.cumsum(0)])
        return before[self.starts[1:]] - before[self.starts[:-1] + 1]

    def batch(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """``(input_ids, labels)``, each ``[rows, longest]`` long; of no rows one that is empty.

        Several processes go in step, so that one without rows still has to take part.
        """
        spans = [(int(self.starts[at]), int(self.starts[at + 1])) for at in places] or [(0, 0)]
        longest = max(2, *(end - start for start, end in spans))
        input_ids = torch.full((len(spans), longest), self.pad)
        labels = torch.full((len(spans), longest), IGNORED)
        for row, (start, end) in enumerate(spans):
            ids = self.tokens[start:end].long()
            input_ids[row, : end - start] = ids
            labels[row, : end - start] = ids.masked_fill(~self.learned[start:end], IGNORED)
        return input_ids, labels

    def split(self, share: float, seed: int) -> tuple[Rows, Rows]:
        """Some rows, drawn at random, for training, and ``share`` of all for validation."""
        drawn = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        held_out = min(len(self) - 1, max(1, round(share * len(self)))) if share else 0
        kept = len(self) - held_out
        return self._only(drawn[:kept].sort().values), self._only(drawn[kept:].sort().values)

    def _only(self, places: Tensor) -> Rows:
        spans = [(int(self.starts[at]), int(self.starts[at + 1])) for at in places.tolist()]
        return Rows.of(
            (
                (
                    self.tokens[start:end].long(),
                    self.tokens[start:end].long().masked_fill(~self.learned[start:end], IGNORED),
                )
                for start, end in spans
            ),
            self.pad,
        )


def counted(labels: Tensor) -> int:
    """How many predictions the loss of ``labels [B, S]`` is the mean of."""
    return int((labels[:, 1:] != IGNORED).sum())


def text_rows(
    documents: Iterable[str], encode: Encode, context: int, *, eos: int, pad: int
) -> Rows:
    """Documents joined, each followed by eos, and cut into rows of ``context`` tokens.

    Args:
        documents: in the order in which they are joined.
        encode: makes tokens of a text.
        context: tokens in a row; the last may have fewer.
        eos: ends a document.
        pad: see ``Rows``.
    """
    blocks = _packed(map(encode, documents), context, eos)
    return Rows.of(((block, block) for block in blocks), pad)


def conversation_rows(
    conversations: Iterable[list[Message]], encode: Encode, context: int, pad: int
) -> tuple[Rows, int]:
    """A row for each conversation, of which the replies are learned.

    Returns:
        The rows, and how many conversations were cut off at ``context`` tokens; if nothing of a
        reply is left, there is no row.
    """
    header, end = encode(f"{START}assistant\n"), encode(END)
    rows, cut = [], 0
    for conversation in conversations:
        ids = conversation_ids(conversation, encode)
        cut += len(ids) > context
        ids = ids[:context]
        # Nothing is padded yet, so no token is a padding: -1 is none's id.
        rows.append((torch.tensor(ids), sft_labels(ids, header, end, pad=-1)))
    return Rows.of(rows, pad), cut


def conversation_ids(conversation: list[Message], encode: Encode) -> list[int]:
    """The tokens of a conversation up to its last reply.

    A reply is encoded by itself, because it begins after the prompt when the model writes it: a
    space at its beginning must not merge with the line end of its header.
    """
    ids: list[int] = []
    before: list[Message] = []
    for message in conversation:
        if message["role"] == "assistant":
            ids += encode(render_chat(before, add_generation_prompt=True))
            ids += encode(f"{message['content']}{END}\n")
            before = []
        else:
            before.append(message)
    return ids


def encoder(vocabulary: Vocabulary) -> Encode:
    """The encoder of a tokenizer that remembers words: a book says most of them many times.

    A pre-token is its own only pre-token, so encoding it alone changes nothing.
    """
    whole = vocabulary.tokenizer.encode
    word = lru_cache(maxsize=_KNOWN_WORDS)(whole)
    pretokens = regex.compile(GPT2_PATTERN).finditer

    def encode(text: str) -> list[int]:
        if any(special in text for special in vocabulary.special_tokens):
            return whole(text)
        return [token for match in pretokens(text) for token in word(match.group())]

    return encode


class Order:
    """Which rows each step takes: a new permutation of all for every pass over the data.

    It depends on the seed and on the number of rows in a step alone, so that several processes
    share out the rows that one would take. No step takes rows of two passes: the last of a pass may
    take fewer.

    Args:
        rows: how many there are.
        per_step: how many a step takes, all processes together.
        seed: of the permutations.

    Attributes:
        steps: in a pass.
    """

    def __init__(self, rows: int, per_step: int, seed: int) -> None:
        self.steps = -(-rows // per_step)
        self._rows = rows
        self._per_step = per_step
        self._seed = seed
        self._pass, self._permutation = -1, torch.zeros(0, dtype=torch.long)

    def places(self, step: int) -> list[int]:
        """The rows of step 1, 2, …"""
        number, within = divmod(step - 1, self.steps)
        if number != self._pass:
            generator = torch.Generator().manual_seed((self._seed << 31) + number)
            self._pass, self._permutation = number, torch.randperm(self._rows, generator=generator)
        first = within * self._per_step
        places: list[int] = self._permutation[first : first + self._per_step].tolist()
        return places


def _packed(sequences: Iterable[list[int]], context: int, eos: int) -> Iterator[Tensor]:
    """``dataset.pack``, a part at a time; the row that a part leaves unfinished begins the next."""
    waiting: list[list[int]] = []
    size = 0
    begun: list[int] = []
    for sequence in sequences:
        waiting.append([*begun, *sequence])
        begun = []
        size += len(waiting[-1])
        if size >= _AT_ONCE:
            blocks = pack(waiting, context, eos)
            begun = blocks.pop().tolist() if len(blocks[-1]) < context else []
            yield from blocks
            waiting, size = [], 0
    if waiting:
        yield from pack(waiting, context, eos)
    elif begun:
        yield torch.tensor(begun)
