"""A trained vocabulary as a file that the `tokenizers` library reads, and back.

The file is its `tokenizer.json`. Byte-level tokens are written there with one character per byte,
as GPT-2 shows them: printable Latin-1 bytes as themselves, the others from U+0100 on.

Vocabularies of other programs may cut texts by another pattern than GPT-2's, bring them into a
normal form first, and have special tokens whose text is to be seen, such as Qwen3's `<think>`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import regex

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
        visible: those special tokens whose texts are part of what a reader sees.
        pattern: a regular expression for the pieces of a text inside which tokens are merged.
        is_composed: whether texts are brought into Unicode's normal form C first.
    """

    vocab: dict[int, bytes] = field(repr=False)
    merges: list[tuple[bytes, bytes]] = field(repr=False)
    special_tokens: tuple[str, ...] = SPECIAL_TOKENS
    visible: tuple[str, ...] = ()
    pattern: str = GPT2_PATTERN
    is_composed: bool = False

    @classmethod
    def trained_on(cls, texts: Iterable[str], vocab_size: int) -> Vocabulary:
        """Learn at most ``vocab_size`` tokens, the special ones among them."""
        vocab, merges = train_bpe(list(texts), vocab_size, list(SPECIAL_TOKENS))
        return cls(vocab, merges)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        if self.pattern == GPT2_PATTERN and not self.is_composed:
            return Tokenizer(self.vocab, self.merges, list(self.special_tokens))
        return _PatternTokenizer(self)

    def __len__(self) -> int:
        return len(self.vocab)

    def id_of(self, special: str) -> int:
        """The id of a special token.

        Raises:
            KeyError: there is no such token.
        """
        return self._ids[special]

    @cached_property
    def hidden_ids(self) -> frozenset[int]:
        """The ids of special tokens that a reader does not see."""
        return frozenset(self._ids[token] for token in self._ids if token not in self.visible)

    @cached_property
    def _ids(self) -> dict[str, int]:
        ids = {token: number for number, token in self.vocab.items()}
        return {special: ids[special.encode()] for special in self.special_tokens}


class _PatternTokenizer(Tokenizer):
    """A tokenizer that cuts texts by a vocabulary's own pattern."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary.vocab, vocabulary.merges, list(vocabulary.special_tokens))
        self._pattern = regex.compile(vocabulary.pattern)
        self._is_composed = vocabulary.is_composed

    def _ordinary(self, text: str) -> list[int]:
        if self._is_composed:
            text = unicodedata.normalize("NFC", text)
        ids: list[int] = []
        for piece in self._pieces(text):
            ids += self._merged([self._byte_ids[byte] for byte in piece.encode()])
        return ids

    def _pieces(self, text: str) -> Iterator[str]:
        """What the pattern matches, and what lies between."""
        end = 0
        for found in self._pattern.finditer(text):
            yield text[end : found.start()]
            yield found.group()
            end = found.end()
        yield text[end:]


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
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    try:
        return _from_json(read)
    except (KeyError, TypeError, ValueError, AttributeError, regex.error):
        raise UserError(
            f"{path}: got another kind of tokenizer, want byte-level BPE as GPT-2 and Qwen3 have it"
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
            "special": special not in vocabulary.visible,
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
        "normalizer": {"type": "NFC"} if vocabulary.is_composed else None,
        "pre_tokenizer": _pre_tokenizer(vocabulary.pattern),
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


def _pre_tokenizer(pattern: str) -> dict[str, Any]:
    bytes_alone = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": pattern == GPT2_PATTERN,
    }
    if pattern == GPT2_PATTERN:
        return bytes_alone
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, bytes_alone]}


def _pattern(pre_tokenizer: dict[str, Any]) -> str:
    """How texts are cut. ValueError: in a way that one pattern does not say."""
    *before, last = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    if last["type"] != "ByteLevel" or last.get("add_prefix_space", True):
        raise ValueError("the last step is not the plain ByteLevel")
    if not before and last.get("use_regex", True):
        return GPT2_PATTERN
    (split,) = before
    if last.get("use_regex", True) or (split["type"], split["behavior"]) != ("Split", "Isolated"):
        raise ValueError("texts are cut in several ways")
    if split["invert"]:
        raise ValueError("the pattern matches what is between the pieces")
    pattern = str(split["pattern"]["Regex"])
    regex.compile(pattern)
    return pattern


def _adds_tokens(post_processor: dict[str, Any]) -> bool:
    kind = post_processor["type"]
    if kind == "Sequence":
        return any(map(_adds_tokens, post_processor["processors"]))
    if kind == "TemplateProcessing":
        return any("Sequence" not in piece for piece in post_processor["single"])
    return bool(kind != "ByteLevel")


def _require_plain(read: dict[str, Any]) -> None:
    """ValueError: the tokenizer does something that a Vocabulary does not say."""
    model = read["model"]
    if model["type"] != "BPE" or model.get("ignore_merges") or model.get("byte_fallback"):
        raise ValueError("not the plain BPE")
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise ValueError("tokens know where they stand in a word")
    if (read.get("normalizer") or {"type": "NFC"})["type"] != "NFC":
        raise ValueError("texts are changed first")
    if _adds_tokens(read.get("post_processor") or {"type": "ByteLevel"}):
        raise ValueError("tokens are put around a text")
    for added in read["added_tokens"]:
        if added.get("single_word") or added.get("lstrip") or added.get("rstrip"):
            raise ValueError("special tokens take in what is around them")


def _from_json(read: dict[str, Any]) -> Vocabulary:
    _require_plain(read)
    model = read["model"]
    specials = sorted((one["id"], one["content"]) for one in read["added_tokens"])
    visible = [one["content"] for one in read["added_tokens"] if not one.get("special", True)]
    vocab = {number: text.encode() for number, text in specials}
    for text, number in model["vocab"].items():
        if number not in vocab:
            vocab[number] = _bytes_of(text)
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    merges = [(_bytes_of(left), _bytes_of(right)) for left, right in pairs]
    vocabulary = Vocabulary(
        dict(sorted(vocab.items())),
        merges,
        tuple(text for _, text in specials),
        tuple(visible),
        _pattern(read["pre_tokenizer"]),
        bool(read.get("normalizer")),
    )
    vocabulary.tokenizer  # noqa: B018 - refuses merges into tokens that there are not
    return vocabulary


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
