"""Continues a text or a conversation with a model, piece by piece.

The steps are those of `generate.generate` for one row: read the prompt, then draw a token by
`sampling.sample` and read it, until a token or a text ends it, or there is no more room. The model
is seen only as a `Decoder`, so that another one, with its own cache, can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..dataset import END, START, render_chat
from ..sampling import sample
from .decoder import FastDecoder
from .errors import UserError
from .folders import LoadedModel, load_model
from .processes import choose_device

FinishReason = Literal["stop", "length"]

Message = dict[str, str]
"""A turn of a conversation: its "role" and its "content"."""


class TooLong(UserError):
    """A prompt that leaves no room in the model's context for even one more token."""


class Decoder(Protocol):
    """A model that reads one text from left to right, and remembers what it has read."""

    def prefill(self, ids: Sequence[int]) -> Tensor:
        """Begin anew with these tokens: logits ``[vocab_size]`` for the one after them."""

    def step(self, token: int) -> Tensor:
        """Read one more token: logits ``[vocab_size]`` for the one after it."""


@dataclass(frozen=True)
class Settings:
    """How a text is continued.

    Attributes:
        max_new_tokens: the most tokens; None for as many as the context holds.
        temperature, top_k, top_p, repetition_penalty: as in `sampling.sample`.
        stop: texts that end the continuation; they are not part of it.
        seed: of the draws; the same seed gives the same text. None for another text each time.
    """

    max_new_tokens: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Continuation:
    """An iterator over the pieces of a text, each as soon as its characters are complete.

    Attributes:
        prompt_tokens: how many were read.
        completion_tokens: how many have been written, the one that ends the text among them.
        finish_reason: "stop" for an end of the model's or a stop text, "length" where
            `max_new_tokens` or the context ended it; None before the end.
    """

    def __init__(self, writer: Writer, prompt: list[int], ends: set[int], settings: Settings):
        self.prompt_tokens = len(prompt)
        self.completion_tokens = 0
        self.finish_reason: FinishReason | None = None
        self._writer = writer
        self._settings = settings
        self._pieces = self._visible(self._tokens(prompt, ends))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Leave off; no further piece comes."""
        self._pieces.close()

    def _tokens(self, prompt: list[int], ends: set[int]) -> Generator[int, None, None]:
        writer, room = self._writer, self._writer.context - len(prompt)
        asked = self._settings.max_new_tokens
        most = room if asked is None else min(asked, room)
        draw = writer.draw(prompt, self._settings)
        decoder = writer.decoder
        logits = decoder.prefill(prompt)
        while True:
            token = draw(logits)
            self.completion_tokens += 1
            if token in ends:
                self.finish_reason = "stop"
                return
            yield token
            if self.completion_tokens == most:
                self.finish_reason = "length"
                return
            logits = decoder.step(token)

    def _visible(self, tokens: Iterator[int]) -> Generator[str, None, None]:
        vocabulary = self._writer.vocabulary
        seen = (token for token in tokens if token not in vocabulary.hidden_ids)
        pieces = vocabulary.tokenizer.decode_stream(seen)
        held = ""  # what may turn out to be the beginning of a stop text
        for piece in pieces:
            held += piece
            end = _first_stop(held, self._settings.stop)
            if end is not None:
                self.finish_reason = "stop"
                if end:
                    yield held[:end]
                return
            safe = len(held) - _beginning_of_stop(held, self._settings.stop)
            if safe:
                yield held[:safe]
            held = held[safe:]
        if held:
            yield held


class Writer:
    """Continues texts and conversations with a model; one at a time.

    Args:
        loaded: the model and its vocabulary.
        decoder: reads the tokens; by default a `FastDecoder` of the model.
    """

    def __init__(self, loaded: LoadedModel, decoder: Decoder | None = None) -> None:
        self.vocabulary = loaded.vocabulary
        self.context = loaded.config.max_position_embeddings
        self.decoder = decoder or FastDecoder(loaded.model)
        self._eos = loaded.config.eos_token_id
        self._device = loaded.model.lm_head.weight.device
        unknown = sorted(set(range(loaded.config.vocab_size)) - self.vocabulary.vocab.keys())
        self._unknown = torch.tensor(unknown, dtype=torch.long, device=self._device)

    def continue_text(self, prompt: str, settings: Settings) -> Continuation:
        """Go on with a text; without one, begin where a new text would follow another.

        Raises:
            TooLong: the context has no room for more.
        """
        return self._continuation(self._encoded(prompt) or [self._eos], {self._eos}, settings)

    def answer(self, messages: list[Message], settings: Settings) -> Continuation:
        """Write the next turn of a conversation.

        Raises:
            UserError: the vocabulary has no tokens for turns.
            TooLong: the context has no room for an answer.
        """
        ends = {self._eos, self.vocabulary.id_of(END)} if self.can_chat() else {self._eos}
        return self._continuation(self.conversation(messages), ends, settings)

    def conversation(self, messages: list[Message]) -> list[int]:
        """The tokens of a conversation up to where the next answer begins.

        Raises:
            UserError: the vocabulary has no tokens for turns.
        """
        if not self.can_chat():
            raise UserError(
                f"this model's tokenizer lacks {START} or {END}, so it cannot hold a "
                "conversation: `python -m minimind_ref generate` continues texts"
            )
        return self._encoded(render_chat(messages, add_generation_prompt=True))

    def can_chat(self) -> bool:
        """Whether the vocabulary has the tokens around a turn."""
        return {START, END} <= set(self.vocabulary.special_tokens)

    def draw(self, prompt: Sequence[int], settings: Settings) -> Callable[[Tensor], int]:
        """A function that draws a token from logits ``[vocab_size]`` and remembers it."""
        generator = torch.Generator(self._device)
        if settings.seed is None:
            generator.seed()  # or every process would draw the same
        else:
            generator.manual_seed(settings.seed)
        seen = list(prompt)

        def drawn(logits: Tensor) -> int:
            if len(self._unknown):
                logits = logits.index_fill(0, self._unknown, -torch.inf)
            has_penalty = settings.repetition_penalty != 1.0
            token = sample(
                logits[None],
                temperature=settings.temperature,
                top_k=settings.top_k,
                top_p=settings.top_p,
                repetition_penalty=settings.repetition_penalty,
                seen_ids=torch.tensor([seen], device=self._device) if has_penalty else None,
                generator=generator,
            )
            seen.append(int(token))
            return seen[-1]

        return drawn

    def _encoded(self, text: str) -> list[int]:
        try:
            return self.vocabulary.tokenizer.encode(text)
        except UnicodeEncodeError as error:
            raise UserError(
                f"character {error.start} of the text is half of a surrogate pair, which no text "
                "in UTF-8 has: write the whole character"
            ) from None

    def _continuation(self, prompt: list[int], ends: set[int], settings: Settings) -> Continuation:
        if len(prompt) >= self.context:
            raise TooLong(
                f"got {len(prompt)} tokens to read, want at most {self.context - 1}: the model's "
                f"context has {self.context}, and what it writes needs room, too"
            )
        return Continuation(self, prompt, ends, settings)


def load_for_writing(folder: Path, *, dtype: str | None, device: str | None) -> LoadedModel:
    """Read a model to the device where it shall write.

    Args:
        folder: see `folders`.
        dtype: in which to compute, such as "bfloat16"; None for that of the weights.
        device: as torch names it; None for "cuda" if there is one, else "cpu".

    Raises:
        UserError: there is no such model or no such device.
    """
    where = choose_device(device)
    return load_model(folder, dtype=getattr(torch, dtype) if dtype else None, device=where)


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of some texts begins, or None."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(places, default=None)


def _beginning_of_stop(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of one of some texts."""
    lengths = [
        length
        for stop in stops
        for length in range(1, min(len(stop), len(text) + 1))
        if text.endswith(stop[:length])
    ]
    return max(lengths, default=0)
