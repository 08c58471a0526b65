"""Byte-level byte-pair encoding: the reference for ex13.

BPE for tokens is Sennrich et al., arXiv 1508.07909; on bytes, with this pattern and this order of
the bytes, it is GPT-2's (Radford et al. 2019, section 2.2). Which pair goes first is decided as in
the trainer of the `tokenizers` library: by count, then by the smaller pair of ids, and counts
include overlapping pairs.

Training keeps the counts of all pairs up to date and takes the best from a heap, whose entries may
be stale; so a merge costs as much as there are words that it changes.
"""

from __future__ import annotations

import codecs
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import regex

GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

_PRETOKEN = regex.compile(GPT2_PATTERN)

# GPT-2 writes bytes as characters: those that Latin-1 can show as themselves, the others shifted
# beyond; the order of its alphabet is that of these characters.
_SHOWN = frozenset(range(0x21, 0x7F)) | frozenset(range(0xA1, 0x100)) - {0xAD}
_ALPHABET = sorted(range(256), key=lambda byte: (byte not in _SHOWN, byte))


def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]]]:
    """Learn a vocabulary of at most `vocab_size` tokens from texts.

    Returns:
        `(vocab, merges)`: the bytes of each id, specials first, then the 256 bytes, then the
        merges; and the merges in the order in which they were learned.
    """
    tokens = [special.encode() for special in special_tokens]
    number = {byte: len(tokens) + place for place, byte in enumerate(_ALPHABET)}
    tokens += [bytes((byte,)) for byte in _ALPHABET]
    merges: list[tuple[bytes, bytes]] = []
    seen = Counter(match.group() for text in texts for match in _PRETOKEN.finditer(text))
    words = [[number[byte] for byte in word.encode()] for word in seen]
    weights = list(seen.values())

    counts: defaultdict[tuple[int, int], int] = defaultdict(int)
    holders: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        for pair in zip(word, word[1:], strict=False):
            counts[pair] += weights[index]
            holders[pair].add(index)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)

    while heap and len(tokens) < vocab_size:
        count, pair = heapq.heappop(heap)
        if -count != counts[pair]:
            continue  # stale: what the pair has now was pushed when it changed
        left, right = tokens[pair[0]], tokens[pair[1]]
        changed: set[tuple[int, int]] = set()
        for index in holders.pop(pair):
            old = words[index]
            new = _replaced(old, pair, len(tokens))
            for gone in zip(old, old[1:], strict=False):
                counts[gone] -= weights[index]
                changed.add(gone)
            for come in zip(new, new[1:], strict=False):
                counts[come] += weights[index]
                holders[come].add(index)
                changed.add(come)
            words[index] = new
        for other in changed:
            if counts[other] > 0:
                heapq.heappush(heap, (-counts[other], other))
        tokens.append(left + right)
        merges.append((left, right))
    return dict(enumerate(tokens)), merges


def _replaced(word: list[int], pair: tuple[int, int], by: int) -> list[int]:
    """A word with its occurrences of a pair replaced, the leftmost of overlapping ones first."""
    out: list[int] = []
    rest = iter(range(len(word)))
    for at in rest:
        if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
            out.append(by)
            next(rest)
        else:
            out.append(word[at])
    return out


class Tokenizer:
    """Encodes and decodes with a vocabulary, its merges and its special tokens."""

    def __init__(
        self,
        vocab: dict[int, bytes],
        merges: list[tuple[bytes, bytes]],
        special_tokens: list[str],
    ) -> None:
        self._bytes = dict(vocab)
        number = {token: place for place, token in vocab.items()}
        self._byte_ids = [number[bytes((byte,))] for byte in range(256)]
        self._merges: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, (left, right) in enumerate(merges):
            self._merges[number[left], number[right]] = rank, number[left + right]
        self._specials = {special: number[special.encode()] for special in special_tokens}
        # `(?!)` matches nowhere: without specials the text is never cut.
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._special = regex.compile("|".join(map(regex.escape, longest_first)) or "(?!)")

    def encode(self, text: str) -> list[int]:
        """The ids of a text: specials whole, what is between them by itself."""
        ids: list[int] = []
        start = 0
        for found in self._special.finditer(text):
            ids += self._ordinary(text[start : found.start()])
            ids.append(self._specials[found.group()])
            start = found.end()
        return ids + self._ordinary(text[start:])

    def _ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in _PRETOKEN.findall(text):
            ids += self._merged([self._byte_ids[byte] for byte in word.encode()])
        return ids

    def _merged(self, word: list[int]) -> list[int]:
        while True:
            pairs = set(zip(word, word[1:], strict=False)) & self._merges.keys()
            if not pairs:
                return word
            first = min(pairs, key=self._merges.__getitem__)
            word = _replaced(word, first, self._merges[first][1])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; what is no UTF-8 becomes U+FFFD."""
        return b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", "replace")

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text as the ids come in, each character as soon as its last byte is there."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for number in ids:
            if text := decoder.decode(self._bytes[number]):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text
