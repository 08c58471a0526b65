"""ex13: a byte-level BPE tokenizer.

A model reads numbers, not text. A tokenizer cuts a text into tokens and knows each of them by a
number, its id. Byte-pair encoding (BPE) learns from texts which tokens are worth having. It starts
with the 256 bytes, so that every text in UTF-8 can be written, and then, again and again, joins the
pair of neighbouring tokens that is most frequent:

    low lower lowest      most frequent are (l, o) and (o, w): one of them becomes a token, lo,
                          then (lo, w) becomes low, then low and e, and so on

Each join is a merge. The merges in the order in which they were learned are the whole tokenizer: to
encode a text, cut it into bytes and apply the merges in that same order.

Before anything is counted or merged, ``GPT2_PATTERN`` cuts a text into pre-tokens: words, numbers
and punctuation, each with the one space before it, and runs of whitespace. A merge never reaches
from one pre-token into the next. Together, the pre-tokens of a text are the text, character by
character: ``regex.findall(GPT2_PATTERN, " two  words!")`` is ``[" two", " ", " words", "!"]``.

A special token such as ``<|im_start|>`` is no text. It has an id of its own, and no merge ever
touches it.

You write the training and then the tokenizer. The libraries ``tokenizers``, ``tiktoken`` and
``sentencepiece``, which do all of this, are banned; ``regex`` is not. No function here modifies an
argument, and no torch is needed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import regex

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How a text is cut into pre-tokens: `regex.findall(GPT2_PATTERN, text)`. Python's `re` does not
know ``\\p{L}``, any letter, and ``\\p{N}``, any digit."""


def train_bpe(
    texts: list[str], vocab_size: int, special_tokens: list[str]
) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]]]:
    """Learn a vocabulary and its merges from texts.

    The ids count from 0, without a gap:

    1. the special tokens, in the order given, as their bytes in UTF-8;
    2. the 256 bytes, first 33 to 126, 161 to 172 and 174 to 255 (those that are visible characters
       in Latin-1), then all others, each of the two groups in ascending order;
    3. the new token of each merge, in the order of the merges.

    Then, until the vocabulary has ``vocab_size`` tokens:

    1. Count how often each pair of neighbouring tokens occurs, in all pre-tokens of all texts.
       Every pair counts, overlapping ones too: "aaaa" has the pair (a, a) three times.
    2. Take the most frequent pair. Of equally frequent ones take the one with the smallest ids:
       first compare the left tokens' ids, then the right ones'. A pair that occurs once is good
       enough. Where no pair is left, stop early.
    3. Join it wherever it occurs, in every pre-token from left to right: "aaa" becomes (aa, a).

    So the merges are those of the ``tokenizers`` library. Texts are apart: no pair reaches from one
    into the next.

    Equal pre-tokens have equal pairs. So work on the different ones and on how often each occurs:
    to go through the whole text for each merge takes much too long, and is found out by the number
    of lines that are executed.

    Args:
        texts: texts without special tokens in them.
        vocab_size: the size of the vocabulary, specials and bytes included; at least theirs.
        special_tokens: any number of them, maybe none.

    Returns:
        ``(vocab, merges)``: the bytes of each id, and the pair of tokens, as bytes, of each merge.
    """
    # your code here
    raise NotImplementedError


class Tokenizer:
    """Turns texts into ids and back.

    Args:
        vocab: the bytes of each id; every byte, every special token and the result of every merge
            is in it. Only it says which id belongs to what: the bytes and the specials may have
            other ids than ``train_bpe`` gives them.
        merges: the merges, the first ones first.
        special_tokens: the tokens that are no text, maybe none.
    """

    def __init__(
        self,
        vocab: dict[int, bytes],
        merges: list[tuple[bytes, bytes]],
        special_tokens: list[str],
    ) -> None:
        # your code here
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        """The ids of a text, for any text that UTF-8 can encode, the empty one too.

        1. Wherever a special token stands in the text, it becomes its id, whole. The search goes
           from left to right; where several specials match at one place, the longest wins.
        2. What stands between two of them is cut into pre-tokens by itself, as if it were all of
           the text, and each pre-token into its bytes.
        3. In each pre-token, of all pairs of neighbours that are a merge, the earliest one in
           ``merges`` is joined, wherever it occurs, from left to right; and so on until no pair is
           a merge. Neither the longest token nor the leftmost pair goes first.
        4. The tokens' ids are looked up in ``vocab``.

        ``decode(encode(text)) == text``.
        """
        # your code here
        raise NotImplementedError

    def decode(self, ids: list[int]) -> str:
        """The text of some ids, specials included.

        A token may end in the middle of a character, so put all bytes together before you decode
        them. Where they are no UTF-8, as when a model makes nonsense, U+FFFD takes their place:
        ``errors="replace"``.
        """
        # your code here
        raise NotImplementedError

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of some ids bit by bit, while they come in.

        ``ids`` may be a model that is still at work, so it is read lazily: each character is
        yielded as soon as the token that completes it was read, and before the next one is. A
        character whose last byte is not there yet waits. In the end, whatever is still incomplete
        comes as U+FFFD: the chunks joined are ``decode`` of all ids, also where the bytes are no
        UTF-8; and bytes that are no UTF-8 hold up nothing that comes after them.

        Several streams may be read at the same time. Empty chunks may be yielded or left out.
        """
        # your code here
        raise NotImplementedError
