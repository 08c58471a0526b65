"""Wrong answers to ex13_tokenizer: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"this is exactly what happens if ...".
"""

import unicodedata
from collections import Counter

import regex


class one_merge_at_least:
    """a pair is merged before the size is looked at; where the specials and the bytes fill
    vocab_size, learn no merge"""

    def train_bpe(texts, vocab_size, special_tokens):
        vocab = _first_vocab(special_tokens)
        merges = []
        words = _Words(texts, vocab, len(special_tokens))
        while pair := words.best():
            left, right = vocab[pair[0]], vocab[pair[1]]
            words.merge(pair, len(vocab))
            vocab[len(vocab)] = left + right
            merges.append((left, right))
            if len(vocab) >= vocab_size:
                break
        return vocab, merges


class overlapping_pairs_left_out:
    """overlapping pairs are not counted, so that "aaaa" has (a, a) twice; every pair of neighbours
    should count, and "aaaa" has three"""

    def _pairs(word):
        at, last = 0, None
        for at, pair in enumerate(zip(word, word[1:])):
            if pair == last:
                last = None
            else:
                yield pair
                last = pair


class pairs_counted_once_in_a_word:
    """a pair counts once in each word that has it; count every occurrence, also in the same word"""

    def _pairs(word):
        return dict.fromkeys(zip(word, word[1:]))


class pairs_at_even_places:
    """only pairs that begin at even places of a word are counted, as by zip(ids[::2], ids[1::2]);
    every pair of neighbours should count"""

    def _pairs(word):
        return zip(word[::2], word[1::2])


class joined_from_the_right:
    """training joins a pair from right to left, so that "aaa" becomes (a, aa); go from left to
    right"""

    def _joined(word, pair, new):
        result, at = [], len(word)
        while at > 0:
            if at > 1 and (word[at - 2], word[at - 1]) == pair:
                result.append(new)
                at -= 2
            else:
                result.append(word[at - 1])
                at -= 1
        return result[::-1]


class run_swallowed:
    """a run such as "aaa" becomes the one token aa and loses a letter; a pair that overlaps one
    that was joined should be left alone"""

    def _joined(word, pair, new):
        result, inside = [], False
        for at, token in enumerate(word):
            starts = tuple(word[at : at + 2]) == pair
            if starts and not inside:
                result.append(new)
            elif not inside:
                result.append(token)
            inside = starts
        return result


class joined_once_in_a_word:
    """training joins only the first occurrence of the pair in a word; join them all"""

    def _joined(word, pair, new):
        for at in range(len(word) - 1):
            if (word[at], word[at + 1]) == pair:
                return [*word[:at], new, *word[at + 2 :]]
        return word


class merges_across_words:
    """training takes each text as one piece, so that merges reach from word to word; cut it by
    GPT2_PATTERN first"""

    def _word_counts(texts):
        return Counter(texts)


class split_at_whitespace:
    """training splits texts at whitespace and loses it; cut them by GPT2_PATTERN, which keeps the
    space before a word"""

    def _word_counts(texts):
        return Counter(word for text in texts for word in text.split())


class whitespace_apart:
    """training cuts texts into words and whitespace; by GPT2_PATTERN the space before a word
    belongs to it"""

    def _word_counts(texts):
        return Counter(word for text in texts for word in regex.findall(r"\S+|\s+", text))


class letters_of_ascii_alone:
    """training takes only a to z for letters and only 0 to 9 for digits; GPT2_PATTERN knows all
    scripts"""

    def _word_counts(texts):
        pattern = r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
        return Counter(word for text in texts for word in regex.findall(pattern, text))


class underscores_are_letters:
    """training takes digits and underscores for letters (\\w), so that "x_1" is one pre-token; use
    GPT2_PATTERN, where letters, digits and signs are apart"""

    def _word_counts(texts):
        pattern = r"'(?:[sdmt]|ll|ve|re)| ?\w+| ?[^\s\w]+|\s+(?!\S)|\s+"
        return Counter(word for text in texts for word in regex.findall(pattern, text))


class line_by_line:
    """training splits texts into lines and loses the line breaks; they belong to pre-tokens, too"""

    def _word_counts(texts):
        return Counter(w for text in texts for line in text.splitlines() for w in _pretokens(line))


class texts_run_together:
    """training joins all texts to one, so that the last word of a text and the first of the next
    become one; cut each text by itself"""

    def _word_counts(texts):
        return Counter(_pretokens("".join(texts)))


class texts_joined_by_lines:
    """training joins the texts by line breaks, which then count as well; cut each text by itself"""

    def _word_counts(texts):
        return Counter(_pretokens("\n".join(texts)))


class texts_joined_by_spaces:
    """training joins the texts by spaces, which then count as well; cut each text by itself"""

    def _word_counts(texts):
        return Counter(_pretokens(" ".join(texts)))


class first_text_alone:
    """training looks at the first text only; it should count the pairs of all of them"""

    def _word_counts(texts):
        return Counter(_pretokens(texts[0]))


class texts_stripped:
    """training strips the texts; whitespace at the ends counts, too"""

    def _word_counts(texts):
        return Counter(word for text in texts for word in _pretokens(text.strip()))


class words_in_lower_case:
    """training turns texts into lower case; leave them as they are"""

    def _word_counts(texts):
        return Counter(word for text in texts for word in _pretokens(text.lower()))


class words_counted_once:
    """each different pre-token counts once, however often it occurs; weigh its pairs by how often
    that is"""

    def _word_counts(texts):
        return Counter({word: 1 for text in texts for word in _pretokens(text)})


class words_counted_once_in_a_text:
    """a pre-token counts once in each text, however often it occurs there; count every
    occurrence"""

    def _word_counts(texts):
        return Counter(word for text in texts for word in dict.fromkeys(_pretokens(text)))


class only_ascii_trained:
    """training drops characters that are not ASCII; encode texts in UTF-8"""

    def _word_counts(texts):
        ascii_only = (text.encode("ascii", "ignore").decode() for text in texts)
        return Counter(word for text in ascii_only for word in _pretokens(text))


class ties_to_the_larger_ids:
    """of equally frequent pairs the one with the largest ids is merged; take the smallest"""

    class _Words(_Words):
        def best(self):
            return max(self.counts, key=lambda pair: (self.counts[pair], pair), default=None)


class ties_to_the_larger_bytes:
    """of equally frequent pairs the one whose bytes come last is merged, as in CS336; here the one
    with the smallest ids should be"""

    class _Words(_Words):
        def __init__(self, texts, vocab, specials):
            super().__init__(texts, vocab, specials)
            self.vocab = vocab

        def best(self):
            def rank(pair):
                return self.counts[pair], (self.vocab[pair[0]], self.vocab[pair[1]])

            return max(self.counts, key=rank, default=None)


class ties_to_the_smaller_bytes:
    """of equally frequent pairs the one whose bytes come first is merged; compare ids in place of
    bytes"""

    class _Words(_Words):
        def __init__(self, texts, vocab, specials):
            super().__init__(texts, vocab, specials)
            self.vocab = vocab

        def best(self):
            def rank(pair):
                return -self.counts[pair], (self.vocab[pair[0]], self.vocab[pair[1]])

            return min(self.counts, key=rank, default=None)


class ties_to_the_first_seen:
    """of equally frequent pairs the one that was counted first is merged; take the one with the
    smallest ids"""

    class _Words(_Words):
        def best(self):
            counts = {}
            for word, times in zip(self.words, self.times):
                for pair in zip(word, word[1:]):
                    counts[pair] = counts.get(pair, 0) + times
            return max(counts, key=counts.get, default=None)


class ties_to_the_oldest:
    """of equally frequent pairs the one that has been in the dict longest is merged; take the one
    with the smallest ids"""

    class _Words(_Words):
        def best(self):
            return max(self.counts, key=self.counts.get, default=None)


class ties_by_the_right_token:
    """of equally frequent pairs the one with the smallest right token is merged; compare the left
    tokens first"""

    class _Words(_Words):
        def best(self):
            return min(self.counts, key=lambda p: (-self.counts[p], p[::-1]), default=None)


class rarest_pair_first:
    """the rarest pair is merged; merge the most frequent one"""

    class _Words(_Words):
        def best(self):
            return min(self.counts, key=lambda pair: (self.counts[pair], pair), default=None)


class pairs_that_occur_once_left:
    """training stops where every pair occurs only once; it should go on down to one"""

    class _Words(_Words):
        def best(self):
            pair = super().best()
            return pair if pair and self.counts[pair] > 1 else None


class stops_with_an_error:
    """the best of no pairs is asked for, which raises an error; stop early where no pair is left"""

    class _Words(_Words):
        def best(self):
            return min(self.counts, key=lambda pair: (-self.counts[pair], pair))


class old_pairs_still_counted:
    """the pairs that a merge takes apart are still counted afterwards; subtract them"""

    class _Words(_Words):
        def merge(self, pair, new):
            for index in self.where.pop(pair, ()):
                self.words[index] = _joined(self.words[index], pair, new)
                for other in set(_pairs(self.words[index])):
                    if new in other:
                        times = list(_pairs(self.words[index])).count(other)
                        self.counts[other] += self.times[index] * times
                        self.where.setdefault(other, set()).add(index)
            del self.counts[pair]


class new_pairs_not_counted:
    """the pairs of a new token with its neighbours are not counted; add them after each merge"""

    class _Words(_Words):
        def merge(self, pair, new):
            for index in self.where.pop(pair, ()):
                self._uncount(index)
                self.words[index] = _joined(self.words[index], pair, new)
                for other in _pairs(self.words[index]):
                    if new not in other:
                        self.counts[other] += self.times[index]


class new_pairs_counted_once:
    """the pairs of a new token count once for each different word; weigh them by how often the word
    occurs, as at first"""

    class _Words(_Words):
        def merge(self, pair, new):
            for index in self.where.pop(pair):
                self._uncount(index)
                self.words[index] = _joined(self.words[index], pair, new)
                self.times[index] = 1
                self._count(index)


class never_counted_again:
    """all merges come from the first count, of single bytes; count again after each merge"""

    class _Words(_Words):
        def merge(self, pair, new):
            del self.counts[pair]


class two_merges_a_count:
    """two pairs are merged before the counts are looked at again; count after every merge"""

    class _Words(_Words):
        ahead = None

        def best(self):
            if self.ahead is not None:
                pair, self.ahead = self.ahead, None
                return pair
            ranked = sorted(self.counts, key=lambda pair: (-self.counts[pair], pair))
            self.ahead = ranked[1] if len(ranked) > 1 else None
            return ranked[0] if ranked else None

        def merge(self, pair, new):
            if pair in self.counts:
                super().merge(pair, new)


class whole_text_every_time:
    """every merge goes through the whole text, and through equal words again and again; count the
    pre-tokens first, and work on the different ones"""

    class _Words:
        def __init__(self, texts, vocab, specials):
            ids = {vocab[id_][0]: id_ for id_ in range(specials, len(vocab))}
            words = [word for text in texts for word in _pretokens(text)]
            self.words = [[ids[byte] for byte in word.encode()] for word in words]

        def best(self):
            counts = {}
            for word in self.words:
                for pair in zip(word, word[1:]):
                    counts[pair] = counts.get(pair, 0) + 1
            return min(counts, key=lambda pair: (-counts[pair], pair), default=None)

        def merge(self, pair, new):
            self.words = [_joined(word, pair, new) for word in self.words]


class bytes_in_plain_order:
    """the bytes have the ids of 0 to 255 in ascending order; those that are visible characters
    should come first"""

    def _bytes_in_order():
        return list(range(256))


class soft_hyphen_visible:
    """byte 173, a hyphen that is not shown, stands among the visible ones; put
    it among the rest"""

    def _bytes_in_order():
        visible = [*range(33, 127), *range(161, 256)]
        return visible + [byte for byte in range(256) if byte not in visible]


class only_bytes_that_occur:
    """the vocabulary has only those bytes that occur in the texts; it should have all 256"""

    def train_bpe(texts, vocab_size, special_tokens):
        used = {byte for text in texts for byte in text.encode()}
        everything = _first_vocab(special_tokens).values()
        vocab = dict(enumerate(t for t in everything if len(t) > 1 or t[0] in used))
        words, merges = _Words(texts, vocab, len(special_tokens)), []
        while len(vocab) < vocab_size and (pair := words.best()) is not None:
            merges.append((vocab[pair[0]], vocab[pair[1]]))
            words.merge(pair, len(vocab))
            vocab[len(vocab)] = b"".join(merges[-1])
        return vocab, merges


class specials_last:
    """the special tokens have the last ids; they should have the first"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        count = len(special_tokens)
        order = [*range(count, len(vocab)), *range(count)]
        return {place: vocab[id_] for place, id_ in enumerate(order)}, merges


class specials_after_the_bytes:
    """the special tokens come after the bytes; they should come before them"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        count = len(special_tokens)
        order = [*range(count, count + 256), *range(count), *range(count + 256, len(vocab))]
        return {place: vocab[id_] for place, id_ in enumerate(order)}, merges


class specials_left_out:
    """the special tokens are not in the vocabulary; they should have the first ids"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        return _train(texts, vocab_size, [])


class ids_of_merges_from_256:
    """the ids of the merges begin with 256 whatever there is before; they follow the specials and
    the bytes"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        first = {id_: token for id_, token in vocab.items() if id_ < 256 + len(special_tokens)}
        return first | {256 + n: left + right for n, (left, right) in enumerate(merges)}, merges


class specials_beside_the_size:
    """the special tokens are not counted in vocab_size; the vocabulary should have vocab_size
    tokens with them"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        return _train(texts, vocab_size + len(special_tokens), special_tokens)


class as_many_merges_as_tokens:
    """vocab_size merges are learned; learn so many that the whole vocabulary, with specials and
    bytes, has vocab_size tokens"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        return _train(texts, vocab_size + 256 + len(special_tokens), special_tokens)


class one_merge_short:
    """the vocabulary has one token less than vocab_size; go on until it has vocab_size"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        return _train(texts, vocab_size - 1, special_tokens)


class one_merge_too_many:
    """the vocabulary has one token more than vocab_size; stop when it has vocab_size"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        return _train(texts, vocab_size + 1, special_tokens)


class merges_of_ids:
    """merges holds pairs of ids; it should hold pairs of bytes"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        ids = {token: id_ for id_, token in vocab.items()}
        return vocab, [(ids[left], ids[right]) for left, right in merges]


class merges_of_new_tokens:
    """merges holds the new tokens; it should hold the pairs that they were made of"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        return vocab, [left + right for left, right in merges]


class merges_in_a_dict:
    """merges is a dict; it should be a list of pairs, in the order of the merges"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        return vocab, {pair: rank for rank, pair in enumerate(merges)}


class ids_by_tokens:
    """vocab gives the id of each token; it should give the bytes of each id"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        return {token: id_ for id_, token in vocab.items()}, merges


class texts_in_place_of_bytes:
    """vocab and merges hold texts; they should hold bytes, which need not be whole characters"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        told = {id_: token.decode("utf-8", "replace") for id_, token in vocab.items()}
        return told, [tuple(t.decode("utf-8", "replace") for t in pair) for pair in merges]


class characters_shown_for_bytes:
    """tokens are written in GPT-2's characters for bytes, such as Ġ for a space; return the bytes
    themselves"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        vocab, merges = _train(texts, vocab_size, special_tokens)
        order = _bytes_in_order()
        shown = {byte: chr(byte) if n < 188 else chr(256 + n - 188) for n, byte in enumerate(order)}

        def written(token):
            return "".join(shown[byte] for byte in token).encode()

        count = len(special_tokens)
        told = {id_: token if id_ < count else written(token) for id_, token in vocab.items()}
        return told, [(written(left), written(right)) for left, right in merges]


class characters_merged:
    """training begins with whole characters; it should begin with the bytes of UTF-8, so that a
    Chinese character is three"""

    def train_bpe(texts, vocab_size, special_tokens):
        vocab, merges = _first_vocab(special_tokens), []
        ids = {token: id_ for id_, token in vocab.items()}
        words = {}
        for word, times in _word_counts(texts).items():
            words[tuple(character.encode() for character in word)] = times
        while len(vocab) < vocab_size:
            counts = Counter()
            for word, times in words.items():
                for pair in zip(word, word[1:]):
                    counts[pair] += times
            if not counts:
                break
            far = len(vocab) + 1
            best = min(counts, key=lambda p: (-counts[p], [ids.get(t, far) for t in p], p))
            merges.append(best)
            ids[b"".join(best)] = len(vocab)
            vocab[len(vocab)] = b"".join(best)
            changed = {}
            for word, times in words.items():
                tokens = []
                for token in word:
                    if tokens and (tokens[-1], token) == best:
                        tokens[-1] += token
                    else:
                        tokens.append(token)
                changed[tuple(tokens)] = times
            words = changed
        return vocab, merges


class texts_used_up:
    """training takes the texts out of the caller's list; leave the list as it is"""

    def train_bpe(texts, vocab_size, special_tokens, _train=train_bpe):
        result = _train(texts, vocab_size, special_tokens)
        texts.clear()
        return result


class specials_sorted_in_place:
    """the caller's list of special tokens is sorted; sort a copy"""

    class Tokenizer(Tokenizer):
        def _longest_first(self, special_tokens):
            special_tokens.sort(key=len, reverse=True)
            return special_tokens


class longest_token_first:
    """encode takes the longest token of the vocabulary that fits, again and again from the left;
    apply the merges in their order"""

    class Tokenizer(Tokenizer):
        def _merged(self, word):
            tokens = []
            while word:
                size = next(n for n in range(len(word), 0, -1) if word[:n] in self.ids)
                tokens.append(word[:size])
                word = word[size:]
            return tokens


class ids_by_order_of_the_dict:
    """ids are the places of the tokens in the dict; they should be the keys of vocab"""

    class Tokenizer(Tokenizer):
        def __init__(self, vocab, merges, special_tokens):
            super().__init__(vocab, merges, special_tokens)
            self.ids = {token: place for place, token in enumerate(vocab.values())}


class leftmost_merge_first:
    """encode joins the leftmost pair that is a merge; join the one that was learned first"""

    class Tokenizer(Tokenizer):
        def _merged(self, word):
            tokens = [bytes([byte]) for byte in word]
            while True:
                pairs = list(zip(tokens, tokens[1:]))
                at = next((n for n, pair in enumerate(pairs) if pair in self.ranks), None)
                if at is None:
                    return tokens
                tokens[at : at + 2] = [b"".join(pairs[at])]


class leftmost_or_longest_merge_first:
    """encode joins the leftmost pair or makes the longest token; join what was learned first"""

    class Tokenizer(Tokenizer):
        def _rank(self, pair):
            return -len(b"".join(pair)) if pair in self.ranks else 0


class latest_merge_first:
    """encode joins the pair that was learned last; join the one that was learned first"""

    class Tokenizer(Tokenizer):
        def _rank(self, pair):
            return -self.ranks[pair] if pair in self.ranks else 1


class grown_from_the_left:
    """encode goes through a word once and joins each next byte to the token before, where that is
    a merge; look for the earliest merge in the whole word"""

    class Tokenizer(Tokenizer):
        def _merged(self, word):
            tokens = []
            for byte in word:
                token = bytes([byte])
                if tokens and (tokens[-1], token) in self.ranks:
                    tokens[-1] += token
                else:
                    tokens.append(token)
            return tokens


class merged_once:
    """encode applies one merge to each word; go on until no pair is a merge"""

    class Tokenizer(Tokenizer):
        def _merged(self, word):
            tokens = [bytes([byte]) for byte in word]
            pair = min(zip(tokens, tokens[1:]), key=self._rank, default=None)
            return self._join(tokens, pair) if pair in self.ranks else tokens


class never_merged:
    """encode gives the ids of the bytes; apply the merges"""

    class Tokenizer(Tokenizer):
        def _merged(self, word):
            return [bytes([byte]) for byte in word]


class joined_to_the_left_in_encode:
    """encode joins a pair from right to left, so that "aaa" becomes (a, aa); go from left to
    right"""

    class Tokenizer(Tokenizer):
        def _join(self, tokens, pair):
            result = []
            for token in reversed(tokens):
                if result and (token, result[-1]) == pair:
                    result[-1] = token + result[-1]
                else:
                    result.append(token)
            return result[::-1]


class single_bytes_raise:
    """encode looks for a pair in a word of one byte, which has none; return the byte"""

    class Tokenizer(Tokenizer):
        def _merged(self, word):
            tokens = [bytes([byte]) for byte in word]
            while True:
                pair = min(zip(tokens, tokens[1:]), key=self._rank)
                if pair not in self.ranks:
                    return tokens
                tokens = self._join(tokens, pair)


class encoded_across_words:
    """encode takes a text as one piece, so that merges reach from word to word; cut it by
    GPT2_PATTERN first"""

    class Tokenizer(Tokenizer):
        def _encode_text(self, text):
            return [self.ids[token] for token in self._merged(text.encode())]


class encoded_without_whitespace:
    """encode splits a text at whitespace and loses it; cut it by GPT2_PATTERN"""

    class Tokenizer(Tokenizer):
        def _encode_text(self, text):
            words = (self._merged(word.encode()) for word in text.split())
            return [self.ids[token] for word in words for token in word]


class encoded_character_by_character:
    """encode merges within single characters only; merge within pre-tokens"""

    class Tokenizer(Tokenizer):
        def _encode_text(self, text):
            words = (self._merged(character.encode()) for character in text)
            return [self.ids[token] for word in words for token in word]


class space_put_in_front:
    """encode puts a space in front of the text; leave the text as it is"""

    class Tokenizer(Tokenizer):
        def encode(self, text):
            return super().encode(f" {text}")


class text_normalised:
    """encode normalises the text (NFC), so that it does not come back as it was; leave it alone"""

    class Tokenizer(Tokenizer):
        def encode(self, text):
            return super().encode(unicodedata.normalize("NFC", text))


class line_breaks_changed:
    """encode turns "\\r\\n" into "\\n"; leave the text as it is"""

    class Tokenizer(Tokenizer):
        def encode(self, text):
            return super().encode(text.replace("\r\n", "\n"))


class text_stripped:
    """encode strips the text; whitespace at its ends has ids, too"""

    class Tokenizer(Tokenizer):
        def encode(self, text):
            return super().encode(text.strip())


class ids_by_place:
    """the ids are computed from the order of bytes and merges; look them up in vocab"""

    class Tokenizer(Tokenizer):
        def __init__(self, vocab, merges, special_tokens):
            super().__init__(vocab, merges, special_tokens)
            first = _first_vocab(special_tokens)
            tokens = [*first.values(), *(left + right for left, right in merges)]
            self.ids = {token: id_ for id_, token in enumerate(tokens)}


class ids_of_texts_kept:
    """encode hands out a list that it keeps for the next time, which the caller may change; return
    a new list each time"""

    class Tokenizer(Tokenizer):
        def encode(self, text):
            kept = self.__dict__.setdefault("kept", {})
            if text not in kept:
                kept[text] = super().encode(text)
            return kept[text]


class specials_are_text:
    """encode takes special tokens for text; look for them before it cuts the text into words"""

    class Tokenizer(Tokenizer):
        def _split(self, text):
            return [text]


class specials_not_escaped:
    """special tokens go into the pattern as they are, where "|" and "[" mean something; use
    regex.escape"""

    class Tokenizer(Tokenizer):
        def _split(self, text):
            if not self.specials:
                return [text]
            return [part or "" for part in regex.split(f"({'|'.join(self.specials)})", text)]


class specials_in_the_order_given:
    """of two special tokens that match, the first one in the list wins; the longer one should"""

    class Tokenizer(Tokenizer):
        def _longest_first(self, special_tokens):
            return special_tokens


class shortest_special_first:
    """of two special tokens that match, the shorter one wins; the longer one should"""

    class Tokenizer(Tokenizer):
        def _longest_first(self, special_tokens):
            return sorted(special_tokens, key=len)


class specials_among_the_words:
    """special tokens are looked for where a pre-token begins, so that one with a space before it is
    split; cut the text at the specials first"""

    class Tokenizer(Tokenizer):
        def _split(self, text):
            if not self.specials:
                return [text]
            alternatives = "|".join(map(regex.escape, self.specials))
            return regex.findall(f"{alternatives}|{GPT2_PATTERN}", text)


class specials_between_spaces:
    """the whitespace beside special tokens is lost; only the specials themselves are cut out"""

    class Tokenizer(Tokenizer):
        def _split(self, text):
            if not self.specials:
                return [text]
            return [part.strip() for part in super()._split(text)]


class empty_pattern_without_specials:
    """without special tokens the pattern is empty and cuts the text between all characters; then do
    not split at all"""

    class Tokenizer(Tokenizer):
        def _split(self, text):
            alternatives = "|".join(map(regex.escape, self.specials))
            return regex.split(f"({alternatives})", text)


class specials_dropped:
    """encode leaves special tokens out; give the id of each"""

    class Tokenizer(Tokenizer):
        def _split(self, text):
            return [part for part in super()._split(text) if part not in self.specials]


class specials_by_place:
    """the id of a special token is its place in the list; look it up in vocab"""

    class Tokenizer(Tokenizer):
        def __init__(self, vocab, merges, special_tokens):
            super().__init__(vocab, merges, special_tokens)
            self.ids |= {special.encode(): place for place, special in enumerate(special_tokens)}


class decoded_token_by_token:
    """decode turns each token into text by itself, so that characters of several tokens are lost;
    join the bytes of all tokens first"""

    class Tokenizer(Tokenizer):
        def decode(self, ids):
            return "".join(self.vocab[id_].decode("utf-8", errors="replace") for id_ in ids)


class errors_ignored:
    """decode leaves out what is no UTF-8 (errors="ignore"); put U+FFFD there, with
    errors="replace\""""

    class Tokenizer(Tokenizer):
        def decode(self, ids):
            return b"".join(self.vocab[id_] for id_ in ids).decode("utf-8", errors="ignore")


class errors_raised:
    """decode raises an error where bytes are no UTF-8; put U+FFFD there, with errors="replace\""""

    class Tokenizer(Tokenizer):
        def decode(self, ids):
            return b"".join(self.vocab[id_] for id_ in ids).decode("utf-8")


class specials_not_decoded:
    """decode leaves special tokens out; they belong to the text"""

    class Tokenizer(Tokenizer):
        def decode(self, ids):
            specials = {special.encode() for special in self.specials}
            return super().decode([id_ for id_ in ids if self.vocab[id_] not in specials])


class byte_order_mark_lost:
    """decode takes a U+FEFF at the beginning away ("utf-8-sig"); decode as "utf-8\""""

    class Tokenizer(Tokenizer):
        def decode(self, ids):
            joined = b"".join(self.vocab[id_] for id_ in ids)
            return joined.decode("utf-8-sig", errors="replace")


class decoded_text_stripped:
    """decode strips the text; whitespace at its ends belongs to it"""

    class Tokenizer(Tokenizer):
        def decode(self, ids):
            return super().decode(ids).strip()


class spaces_between_tokens:
    """decode puts spaces between the tokens; they hold their own"""

    class Tokenizer(Tokenizer):
        def decode(self, ids):
            return b" ".join(self.vocab[id_] for id_ in ids).decode("utf-8", errors="replace")


class streamed_token_by_token:
    """decode_stream decodes each token by itself, so that characters of several tokens are lost;
    keep bytes until their character is complete"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            for id_ in ids:
                yield self.vocab[id_].decode("utf-8", errors="replace")


class broken_characters_removed:
    """decode_stream decodes each token by itself and removes U+FFFD, so that characters of several
    tokens are missing; keep bytes until their character is complete"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            for id_ in ids:
                yield self.vocab[id_].decode("utf-8", errors="ignore")


class all_ids_read_first:
    """decode_stream reads all ids before it yields anything; yield after each id what it
    completes"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            yield from super().decode_stream(list(ids))


class one_token_late:
    """decode_stream reads the next id before it yields what the last one completed; yield first"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            last = ""
            for text in super().decode_stream(ids):
                yield last
                last = text
            yield last


class word_by_word:
    """decode_stream yields nothing until a token begins with a space; yield each character when it
    is complete"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            waiting = b""
            for id_ in ids:
                if self.vocab[id_][:1] == b" ":
                    yield waiting.decode("utf-8", errors="replace")
                    waiting = b""
                waiting += self.vocab[id_]
            yield waiting.decode("utf-8", errors="replace")


class end_of_the_stream_lost:
    """decode_stream drops what is incomplete at the end; yield U+FFFD for it, as decode does"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            waiting = b""
            for id_ in ids:
                waiting += self.vocab[id_]
                ready = len(waiting) - _unfinished(waiting)
                yield waiting[:ready].decode("utf-8", errors="replace")
                waiting = waiting[ready:]


class stream_waits_for_valid_text:
    """decode_stream waits until all it has is valid, which never comes after a wrong byte; replace
    what cannot become a character any more"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            waiting = b""
            for id_ in ids:
                waiting += self.vocab[id_]
                try:
                    text = waiting.decode("utf-8")
                except UnicodeDecodeError:
                    continue
                yield text
                waiting = b""
            yield waiting.decode("utf-8", errors="replace")


class stream_waits_and_loses_the_rest:
    """decode_stream waits until all it has is valid, and drops what never is; replace what cannot
    become a character any more, and yield the rest at the end"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            waiting = b""
            for id_ in ids:
                waiting += self.vocab[id_]
                try:
                    text = waiting.decode("utf-8")
                except UnicodeDecodeError:
                    continue
                yield text
                waiting = b""


class stream_raises:
    """decode_stream raises an error where bytes are no UTF-8; replace them by U+FFFD"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            waiting = b""
            for id_ in ids:
                waiting += self.vocab[id_]
                ready = len(waiting) - _unfinished(waiting)
                yield waiting[:ready].decode("utf-8")
                waiting = waiting[ready:]
            yield waiting.decode("utf-8")


class stream_ignores_errors:
    """decode_stream leaves out what is no UTF-8; put U+FFFD there, as decode does"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            waiting = b""
            for id_ in ids:
                waiting += self.vocab[id_]
                ready = len(waiting) - _unfinished(waiting)
                yield waiting[:ready].decode("utf-8", errors="ignore")
                waiting = waiting[ready:]


class stream_decodes_all_again:
    """decode_stream yields what a text has more than the one before, though its U+FFFD at the end
    may become another character; hold incomplete bytes back"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            read, told = [], ""
            for id_ in ids:
                read.append(id_)
                text = self.decode(read)
                yield text[len(told) :]
                told = text


class stream_holds_back_every_replacement:
    """decode_stream holds back all that comes after a U+FFFD until there is none at the end, and
    drops the rest; yield it at the end"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            read, told = [], ""
            for id_ in ids:
                read.append(id_)
                text = self.decode(read)
                if not text.endswith("\ufffd"):
                    yield text[len(told) :]
                    told = text


class streams_share_their_bytes:
    """the bytes that wait for their character are kept in the tokenizer, where two streams mix
    them; keep them in a local variable"""

    class Tokenizer(Tokenizer):
        waiting = b""

        def decode_stream(self, ids):
            for id_ in ids:
                self.waiting += self.vocab[id_]
                ready = len(self.waiting) - _unfinished(self.waiting)
                yield self.waiting[:ready].decode("utf-8", errors="replace")
                self.waiting = self.waiting[ready:]
            yield self.waiting.decode("utf-8", errors="replace")
            self.waiting = b""


class specials_not_streamed:
    """decode_stream leaves special tokens out; they belong to the text"""

    class Tokenizer(Tokenizer):
        def decode_stream(self, ids):
            specials = {special.encode() for special in self.specials}
            yield from super().decode_stream(i for i in ids if self.vocab[i] not in specials)
