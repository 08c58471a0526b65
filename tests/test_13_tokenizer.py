"""ex13_tokenizer: facts about byte-pair encoding on bytes, its training and its streams."""

import itertools

import pytest

from tests.support import lines_executed

SYLLABLES = "an ber con der est fi gra ho in ka lor mi nu ou per qui ra sto ti us ver wen".split()
HAN = "我们今天学习一个小模型它把文字切成词元再用数字表示训练很快结果不错"
EMOJI = ["😀", "🎉", "👍🏽", "👩‍🚀", "❤️", "🇨🇳", "🚀🚀", "🧠"]
NUMBERS = ["²", "½", "Ⅷ", "٣", "7", "x³"]
NAMES = "start end user tool pad think mask sep".split()


def pick(rng, items, count):
    return [items[place] for place in rng.integers(0, len(items), count).tolist()]


def shuffled(rng, items):
    return [items[place] for place in rng.permutation(len(items)).tolist()]


def some_words(rng, count, parts=SYLLABLES, longest=4):
    """Different words, each of up to so many parts."""
    lengths = rng.integers(1, longest + 1, 3 * count).tolist()
    return list(dict.fromkeys("".join(pick(rng, parts, length)) for length in lengths))[:count]


def sentences(rng, count):
    """Sentences with contractions, numbers, capitals and punctuation; few words are frequent."""
    known = some_words(rng, 40)
    texts = []
    for length in rng.integers(5, 14, count).tolist():
        words = pick(rng, known[:8] + known[:3] + known, length)
        words[1] += pick(rng, ["'s", "'t", "'ll", "'re", "'ve", "'d"], 1)[0]
        words[3] = str(int(rng.integers(1, 3000, 1)))
        texts.append(
            " ".join(words).capitalize() + pick(rng, [".", "!", "?\n", " ...", ", "], 1)[0]
        )
    return texts


def chinese(rng, count):
    lengths = rng.integers(6, 15, count).tolist()
    return ["".join(pick(rng, HAN[:12] + HAN, n)) + pick(rng, "。，！", 1)[0] for n in lengths]


def emoji(rng, count):
    lengths = rng.integers(2, 6, count).tolist()
    return ["".join(pick(rng, [*EMOJI, " ", "ok "], length)) for length in lengths]


def code(rng, count):
    """Functions with indentation, blank lines, tabs and operators."""
    names = some_words(rng, 6, longest=2)
    texts = []
    for _ in range(count):
        a, b, c = pick(rng, names, 3)
        number = int(rng.integers(0, 100, 1))
        lines = [
            f"def {a}_{b}({c}):",
            f"    if {c} != {number}:",
            f"\t\treturn {a}[{c}] + 0x{number}",
        ]
        texts.append("\n".join(lines) + "\n\n\n")
    return texts


def mixed(rng):
    """Texts of all kinds, with what Unicode has in store."""
    odd = [
        "",
        "x",
        " ",
        "\r\n\r\n",
        "e\u0301\u00e9",
        "\ufeffa\x00b",
        "  two  words  ",
        "\u3000\u00a0\t",
    ]
    texts = [*odd, *sentences(rng, 3), *chinese(rng, 2), *emoji(rng, 2), *code(rng, 1)]
    return shuffled(rng, texts)


def joined(tokens, pair):
    out = []
    for token in tokens:
        if out and (out[-1], token) == pair:
            out[-1] += token
        else:
            out.append(token)
    return out


def trained(rng, words, count, specials=()):
    """A vocabulary and merges, learned from words of which each is as frequent as chance has it.

    The bytes have shuffled ids and the specials, shuffled too, the last ones. The dict is in no
    order, as one that was read from a file may be.
    """
    split = [[bytes([byte]) for byte in word.encode()] for word in words]
    frequency = rng.uniform(len(words), low=1.0, high=4.0).tolist()
    merges = []
    while len(merges) < count:
        counts = {}
        for tokens, times in zip(split, frequency, strict=True):
            for pair in itertools.pairwise(tokens):
                counts[pair] = counts.get(pair, 0.0) + times
        if not counts:
            break
        merges.append(max(counts, key=lambda pair: (counts[pair], pair)))
        split = [joined(tokens, merges[-1]) for tokens in split]
    tokens = shuffled(rng, [bytes([byte]) for byte in range(256)])
    tokens += [left + right for left, right in merges]
    tokens += shuffled(rng, [special.encode() for special in specials])
    return dict(shuffled(rng, list(enumerate(tokens)))), merges


def pieces_of(texts):
    """The words of texts, each with the space before it."""
    return [" " * (at > 0) + word for text in texts for at, word in enumerate(text.split(" "))]


def test_ids_begin_with_the_specials_and_the_bytes(check, rng):
    """The first ids are the special tokens, then the 256 bytes, those that can be seen first."""
    specials = [f"<|{name}|>" for name in some_words(rng, 5, NAMES, 2)]
    sizes = [(0, 0), (3, 0), (5, 2)]

    def starts(bpe, texts, specials, sizes):
        found = {}
        for count, merges in sizes:
            size = 256 + count + merges
            vocab, learned = bpe.train_bpe(texts, size, specials[:count])
            found[f"vocab of {size} with {count} specials"] = vocab
            found[f"merges of {size} with {count} specials"] = learned
        return found

    check(starts, sentences(rng, 6), specials, sizes)


@pytest.mark.weight(3)
def test_the_most_frequent_pair_is_merged(check, rng):
    """Each merge joins the pair that is most frequent in all pre-tokens, in any script."""
    specials = [f"<|{name}|>" for name in some_words(rng, 2, NAMES)]
    texts = {
        "English": sentences(rng, 30),
        "Chinese": chinese(rng, 12),
        "emoji": emoji(rng, 14),
        "code": code(rng, 6),
        "numbers of all kinds": [
            word + number for word in some_words(rng, 6) for number in pick(rng, NUMBERS, 4)
        ],
    }

    def by_kind(bpe, texts, specials):
        return {kind: bpe.train_bpe(texts[kind], 330, specials)[1] for kind in texts}

    check(by_kind, texts, specials)


def test_overlapping_pairs_count(check, rng):
    """Overlapping pairs all count, and are joined from left to right; so it goes on to the end."""
    runs = ["a" * n for n in rng.integers(2, 12, 6).tolist()]
    runs += ["".join(pick(rng, "ab", length)) for length in rng.integers(3, 12, 8).tolist()]
    runs += ["=" * int(rng.integers(3, 9, 1)), "哈" * int(rng.integers(3, 6, 1))]

    def until_nothing_is_left(bpe, texts):
        vocab, merges = bpe.train_bpe(texts, 1000, [])
        return {"merges": merges, "tokens": len(vocab)}

    check(until_nothing_is_left, [" ".join(pick(rng, runs, 20)), "\n".join(runs)])


@pytest.mark.weight(2)
def test_equal_counts_go_by_the_smaller_ids(check, rng):
    """Of equally frequent pairs the one with the smallest ids is merged first."""
    parts = ["a", "Z", "0", "~", "é", "ß", "ÿ", "中", "文", "\t", "¡", "x", "m", "-"]
    words = ["".join(pick(rng, parts, length)) for length in rng.integers(2, 5, 24).tolist()]

    def ties(bpe, texts):
        return {"merges": bpe.train_bpe(texts, 256 + 50, [])[1]}

    check(ties, [" ".join(words[:12]), " ".join(words[12:])])


ENDS = ["", "", "\n\n", "1", " "]
"""What texts begin and end with; two of them together may be another pre-token."""


def test_texts_are_apart(check, rng):
    """The last pre-token of a text and the first of the next are never one."""
    words = some_words(rng, 9, longest=2)
    texts = [head + word + tail for word in words for head in ENDS for tail in ENDS]

    def learned(bpe, texts):
        return {"merges": bpe.train_bpe(texts, 256 + 40, [])[1]}

    check(learned, shuffled(rng, texts))


LINES = 500
"""The most lines that training may execute more for each further word that it has met before.

To go over the text for each merge costs thousands, at least one for each merge and word and loop;
to touch a word only where one of its pairs is merged costs some hundred, grouped words hardly any.
"""


def test_equal_words_are_merged_together(check, rng):
    """Twice as long a text of the same words takes hardly more work: equal words are one."""
    words = some_words(rng, 30, parts="abcdefghijkl", longest=12)
    text = "".join(f" {word}" for word in words)

    def work(bpe, text, words):
        once = lines_executed(lambda: bpe.train_bpe([text], 256 + 130, []))
        merges = []
        twice = lines_executed(
            lambda: merges.extend(bpe.train_bpe([text + text], 256 + 130, [])[1])
        )
        more = (twice - once) / words
        return {
            "merges": merges,
            "lines for each repeated word": f"{'over' if more > LINES else 'at most'} {LINES}",
        }

    dear = "lines are counted, which takes long; other tests ask for the same"
    check(work, text, len(words), without={"again": dear, "another": dear, "refused": dear})


@pytest.mark.weight(3)
def test_the_earliest_merge_goes_first(check, rng):
    """Encoding applies the merges in the order in which they were learned, until none is left."""
    known = some_words(rng, 25, parts="abcde", longest=9)
    words = [f" {word}" for word in known]
    one, other = trained(rng, words, 90), trained(rng, words[::-1], 60)
    texts = ["".join(pick(rng, words, 10)) for _ in range(3)]
    texts += [" ".join(some_words(rng, 10, parts="abcde", longest=9)), known[0]]

    def encoded(bpe, one, other, texts):
        first, second = bpe.Tokenizer(*one, []), bpe.Tokenizer(*other, [])
        return {"ids": [encode(text) for text in texts for encode in (first.encode, second.encode)]}

    check(encoded, one, other, texts)


@pytest.mark.weight(2)
def test_any_text_comes_back(check, rng):
    """Every text that UTF-8 can encode has ids, and they decode to that very text."""
    texts = mixed(rng)
    vocab, merges = trained(rng, pieces_of(texts), 80)

    def there_and_back(bpe, vocab, merges, texts):
        tokenizer = bpe.Tokenizer(vocab, merges, [])
        ids = [tokenizer.encode(text) for text in texts]
        found = {
            "ids": [list(each) for each in ids],
            "texts": [tokenizer.decode(each) for each in ids],
        }
        ids[0].append(0)
        found["the same once more"] = tokenizer.encode(texts[0])
        return found

    check(there_and_back, vocab, merges, texts)


@pytest.mark.weight(2)
def test_special_tokens_stay_whole(check, rng):
    """A special token has one id wherever it stands; of two that match, the longer one counts."""
    name, other = pick(rng, NAMES, 2)
    specials = [
        f"<|{name}|>",
        f"<|{name}|><|{other}|>",
        f"[{other}]+",
        f"<|{name}",
        "【开始】",
        "a b",
    ]
    words = some_words(rng, 8, longest=2)
    parts = [
        *specials,
        *(f" {special}" for special in specials),
        *words,
        " ",
        "  ",
        "<|",
        "|>",
        "b",
    ]
    texts = ["".join(pick(rng, parts, 12)) for _ in range(6)]
    texts += [
        specials[0] + words[0] + specials[0],
        f"  {specials[1]}  {specials[0]}\n",
        specials[3],
    ]
    vocab, merges = trained(
        rng, [*words, *(f" {word}" for word in words), "<|", "|>", " <|", "  "], 40, specials
    )

    def encoded(bpe, vocab, merges, specials, texts):
        tokenizer = bpe.Tokenizer(vocab, merges, specials)
        ids = [tokenizer.encode(text) for text in texts]
        return {"ids": ids, "texts": [tokenizer.decode(each) for each in ids]}

    check(encoded, vocab, merges, specials, texts)


def test_bytes_are_joined_before_they_are_decoded(check, rng):
    """decode puts the bytes of all tokens together; what is no UTF-8 becomes U+FFFD."""
    texts = [*chinese(rng, 3), *emoji(rng, 3)]
    special = f"<|{pick(rng, NAMES, 1)[0]}|>"
    vocab, merges = trained(rng, texts, 20, [special])
    of = {token: id_ for id_, token in vocab.items()}
    whole = [
        [of[bytes([byte])] for byte in text.encode()] + [of[special.encode()]] for text in texts
    ]
    broken = [pick(rng, sorted(vocab), 9) for _ in range(4)] + [ids[2:-2] for ids in whole]

    def decoded(bpe, vocab, merges, special, ids):
        tokenizer = bpe.Tokenizer(vocab, merges, [special])
        return {"texts": [tokenizer.decode(each) for each in ids]}

    check(decoded, vocab, merges, special, [*whole, [], *broken])


def arrivals(stream, ids):
    """Every character of a stream, and how many ids were read when it came."""
    read = 0

    def coming():
        nonlocal read
        for id_ in ids:
            read += 1
            yield id_

    return [(character, read) for chunk in stream(coming()) for character in chunk]


@pytest.mark.weight(2)
def test_a_character_comes_with_its_last_byte(check, rng):
    """decode_stream reads lazily: each character comes with the token that completes it."""
    texts = [*chinese(rng, 2), *emoji(rng, 2), *sentences(rng, 1)]
    special = f"<|{pick(rng, NAMES, 1)[0]}|>"
    vocab, merges = trained(rng, texts, 25, [special])
    of = {token: id_ for id_, token in vocab.items()}
    split = [[bytes([byte]) for byte in text.encode()] for text in texts]
    for merge in merges[:18]:
        split = [joined(tokens, merge) for tokens in split]
    ids = [[of[special.encode()], *(of[token] for token in tokens)] for tokens in split]

    def streamed(bpe, vocab, merges, special, ids):
        tokenizer = bpe.Tokenizer(vocab, merges, [special])
        return {"(character, ids read)": [arrivals(tokenizer.decode_stream, each) for each in ids]}

    check(streamed, vocab, merges, special, ids)


@pytest.mark.weight(2)
def test_streams_stand_what_is_no_text(check, rng):
    """Bytes that are no UTF-8 hold nothing up, and the chunks joined are what decode gives."""
    texts = [*chinese(rng, 3), *emoji(rng, 3)]
    vocab, merges = trained(rng, texts, 10)
    of = {token: id_ for id_, token in vocab.items()}
    letters = [of[bytes([byte])] for byte in b"abcdefgh"]
    torn = []
    for text in texts:
        whole = [of[bytes([byte])] for byte in text.encode()][:14]
        cut = int(rng.integers(1, 3, 1))
        torn.append(pick(rng, letters, 2) + whole[cut:] + pick(rng, letters, 3) + whole[:7])
    torn += [pick(rng, sorted(vocab), 12) for _ in range(3)]
    # Tokens that complete a letter and begin a character, so that chunks come while bytes wait.
    waiting = []
    for characters in (pick(rng, HAN, 4), pick(rng, "éßñü", 4)):
        waiting.append([])
        for character in characters:
            letter, (first, *rest) = pick(rng, "abcdefgh", 1)[0].encode(), character.encode()
            pair = letter, bytes([first])
            if letter + pair[1] not in of:
                merges.append(pair)
                of[letter + pair[1]] = len(of)
            waiting[-1] += [of[letter + pair[1]], *(of[bytes([byte])] for byte in rest)]
    vocab = {id_: token for token, id_ in of.items()}

    def streamed(bpe, vocab, merges, ids, waiting):
        tokenizer = bpe.Tokenizer(vocab, merges, [])
        came = [arrivals(tokenizer.decode_stream, each) for each in ids]
        side_by_side = itertools.zip_longest(*map(tokenizer.decode_stream, ids), fillvalue="")
        in_turn = itertools.zip_longest(*map(tokenizer.decode_stream, waiting), fillvalue="")
        return {
            "joined": ["".join(character for character, _ in each) for each in came],
            "(character, ids read)": [[c for c in each if c[0] != "\ufffd"] for each in came],
            "side by side": ["".join(chunks) for chunks in zip(*side_by_side, strict=True)],
            "in turn": ["".join(chunks) for chunks in zip(*in_turn, strict=True)],
        }

    check(streamed, vocab, merges, torn, waiting)
