"""Independent oracles for ex13: the `tokenizers` library, and a search by hand."""

import json
import random

import pytest

import minimind_ref.tokenizer as reference
from solutions import ex13_tokenizer as solution

BOTH = pytest.mark.parametrize("bpe", [reference, solution], ids=["reference", "solution"])
SPECIALS = ["<|pad|>", "<|im_start|>", "<|im_start|>assistant"]
TEXTS = {
    "English": [
        "The learner's model didn't learn, so they'd lowered its rate 3 times. It's better now!",
        "A token isn't a word: tokens are parts of words, words are parts of lines and texts.",
        "Newer and newest, lower and lowest: the ends are alike, and we'll see them again.",
    ],
    "Chinese": [
        "我们从零开始训练一个小模型，模型先把句子切成词元，再把词元变成数字。",
        "词元不是词，也不是字；一个字是三个字节，三个字节可以合并成一个词元。",
        "训练的文本越多，合并就越像常用的词。模型、句子、数字都是常用的词。",
    ],
    "code": [
        "def merge(pairs, counts):\n    for pair in pairs:\n        counts[pair] += 1\n\n\n",
        "if counts[pair] != 0x1F and pair not in seen:\n\tseen.add(pair)\n\tcounts[pair] -= 1\n",
        "while (i < n) { total_sum += values[i++]; }  // i++, not ++i\n\n",
    ],
    "emoji": ["😀😀 🎉🎉🎉 ok 👍🏽👍🏽", "👩‍🚀👩‍🚀 🇨🇳🇨🇳 ❤️❤️ ok", "🧠🧠🧠 😀 👍🏽!"],
    "repetitive": [
        "aaaa aaa aaaaaaa aa",
        "abababab ababa abab baba",
        "哈哈哈哈 哈哈 ====== ==== 1111 111",
    ],
}


def of_the_library(texts, vocab_size, specials):
    """The library's tokenizer, trained, and its vocabulary and merges as bytes."""
    tokenizers = pytest.importorskip("tokenizers")
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=sorted(byte_level.alphabet()),
        min_frequency=0,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    of = {chr(byte): byte for byte in shown}
    hidden = (byte for byte in range(256) if byte not in shown)
    of |= {chr(256 + place): byte for place, byte in enumerate(hidden)}

    def as_bytes(token):
        return token.encode() if token in specials else bytes(of[c] for c in token)

    vocab = {id_: as_bytes(token) for token, id_ in model["vocab"].items()}
    return tokenizer, vocab, [(as_bytes(left), as_bytes(right)) for left, right in model["merges"]]


def drawn(seed):
    """Texts over small alphabets, in which almost everything is a tie or overlaps."""
    draw = random.Random(seed)
    alphabet = draw.choice(
        ["ab", "abc ", "你好世 ", "😀👍🏽a ", "def x(1):\n  ", "aaaa b\t\n", "é~ ¡Z0"]
    )
    lengths = [draw.randint(1, 80) for _ in range(draw.randint(1, 8))]
    return ["".join(draw.choice(alphabet) for _ in range(length)) for length in lengths]


@BOTH
@pytest.mark.parametrize("kind", TEXTS)
def test_the_library_learns_the_same_merges(bpe, kind):
    for specials, more in (([], 400), (SPECIALS, 30)):
        size = 256 + len(specials) + more
        _, vocab, merges = of_the_library(TEXTS[kind], size, specials)
        assert len(merges) > 20
        assert bpe.train_bpe(TEXTS[kind], size, specials) == (vocab, merges)


@BOTH
@pytest.mark.parametrize("seed", range(30))
def test_so_it_does_where_all_is_a_tie(bpe, seed):
    _, vocab, merges = of_the_library(drawn(seed), 400, SPECIALS[:2])
    assert bpe.train_bpe(drawn(seed), 400, SPECIALS[:2]) == (vocab, merges)


@BOTH
@pytest.mark.parametrize("kind", TEXTS)
def test_the_library_encodes_alike(bpe, kind):
    library, vocab, merges = of_the_library(TEXTS[kind], 360, SPECIALS)
    tokenizer = bpe.Tokenizer(vocab, merges, SPECIALS)
    everything = [text for texts in TEXTS.values() for text in texts]
    draw = random.Random(kind)
    for _ in range(20):
        parts = draw.choices([*everything, *SPECIALS, " ", "  "], k=5)
        text = "".join(parts)
        ids = library.encode(text).ids
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == text
        assert library.decode(ids, skip_special_tokens=False) == text


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_streams_are_those_of_a_decoder_that_is_asked_after_every_byte(bpe, seed):
    draw = random.Random(seed)
    vocab, merges = reference.train_bpe(TEXTS["Chinese"] + TEXTS["emoji"], 330, [])
    tokenizer = bpe.Tokenizer(vocab, merges, [])
    ids = [draw.randrange(len(vocab)) for _ in range(60)]
    ids += tokenizer.encode("".join(TEXTS["emoji"]))[:-1]
    read = []

    def coming():
        for id_ in ids:
            read.append(id_)
            yield id_

    told = ""
    for chunk in tokenizer.decode_stream(coming()):
        told += chunk
        if len(read) < len(ids):
            # All but what the next byte may still complete: three bytes at most.
            so_far = b"".join(vocab[id_] for id_ in read)
            wanted = [so_far[: len(so_far) - n].decode("utf-8", "replace") for n in range(4)]
            assert told in wanted
            assert told == wanted[0] or wanted[0].endswith("\ufffd")
    assert told == tokenizer.decode(ids)
