"""A trained vocabulary as a file that the `tokenizers` library reads, and back.

The file is its `tokenizer.json`. Byte-level tokens are written there with one character per byte,
as GPT-2 shows them: printable Latin-1 bytes as themselves, the others from U+0100 on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..tokenizer import GPT2_PATTERN, Tokenizer, train_bpe
from .errors import UserError

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""MiniMind's, with ids 0, 1 and 2: padding, the beginning of a text or turn, and its end."""


@dataclass(frozen=True)
class Vocabulary:
    """What a tokenizer is made of.

    Attributes:
        vocab: the bytes of every id.
        merges: pairs in the order in which they were learned.
        special_tokens: texts that are one token each; they are in ``vocab``, too.
    """

    vocab: dict[int, bytes] = field(repr=False)
    merges: list[tuple[bytes, bytes]] = field(repr=False)
    special_tokens: tuple[str, ...] = SPECIAL_TOKENS

    @classmethod
    def trained_on(cls, texts: Iterable[str], vocab_size: int) -> Vocabulary:
        """Learn at most ``vocab_size`` tokens, the special ones among them."""
        vocab, merges = train_bpe(list(texts), vocab_size, list(SPECIAL_TOKENS))
        return cls(vocab, merges)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self.vocab, self.merges, list(self.special_tokens))

    def __len__(self) -> int:
        return len(self.vocab)

    def id_of(self, special: str) -> int:
        """The id of a special token."""
        return self.special_tokens.index(special)


def tokenizer_json(vocabulary: Vocabulary) -> bytes:
    """What stands in a `tokenizer.json`."""
    return (json.dumps(_as_json(vocabulary), ensure_ascii=False, indent=1) + "\n").encode()


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a `tokenizer.json` of a byte-level BPE.

    Raises:
        UserError: there is no such file, or it is for another kind of tokenizer.
    """
    try:
        read = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: a model's folder holds its tokenizer.json") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    try:
        return _from_json(read)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{path}: got another kind of tokenizer, want byte-level BPE with the pattern of GPT-2"
        ) from None


def _as_json(vocabulary: Vocabulary) -> dict[str, Any]:
    specials = [
        {
            "id": vocabulary.id_of(special),
            "content": special,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for special in vocabulary.special_tokens
    ]
    special_ids = {special["id"] for special in specials}
    shown = {
        number: token.decode() if number in special_ids else _shown(token)
        for number, token in vocabulary.vocab.items()
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": specials,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in shown.items()},
            "merges": [[_shown(left), _shown(right)] for left, right in vocabulary.merges],
        },
    }


def _from_json(read: dict[str, Any]) -> Vocabulary:
    model = read["model"]
    if model["type"] != "BPE" or "ByteLevel" not in json.dumps(read["pre_tokenizer"]):
        raise ValueError(GPT2_PATTERN)
    specials = sorted((one["id"], one["content"]) for one in read["added_tokens"])
    vocab = {number: text.encode() for number, text in specials}
    for text, number in model["vocab"].items():
        if number not in vocab:
            vocab[number] = _bytes_of(text)
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    merges = [(_bytes_of(left), _bytes_of(right)) for left, right in pairs]
    return Vocabulary(dict(sorted(vocab.items())), merges, tuple(text for _, text in specials))


def _byte_characters() -> list[str]:
    """The character that stands for each byte."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    shifted = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(shifted)) for byte in range(256)]


_CHARACTERS = _byte_characters()
_BYTES = {character: byte for byte, character in enumerate(_CHARACTERS)}


def _shown(token: bytes) -> str:
    return "".join(_CHARACTERS[byte] for byte in token)


def _bytes_of(shown: str) -> bytes:
    return bytes(_BYTES[character] for character in shown)
