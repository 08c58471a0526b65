"""Right answers to ex13_tokenizer, written differently: each must pass every test."""

import codecs
import heapq
import re
from collections import Counter, OrderedDict, defaultdict
from functools import lru_cache

import regex


class counted_anew_each_time:
    """tuples of bytes for words, counted anew for every merge; merges applied one after the
    other"""

    def _order():
        shown = list(range(ord("!"), ord("~") + 1))
        shown += list(range(ord("¡"), ord("¬") + 1)) + list(range(ord("®"), ord("ÿ") + 1))
        return shown + [b for b in range(256) if b not in set(shown)]

    def _apply(word, pair):
        new, i = [], 0
        while i < len(word):
            if i < len(word) - 1 and word[i] == pair[0] and word[i + 1] == pair[1]:
                new.append(pair[0] + pair[1])
                i += 2
            else:
                new.append(word[i])
                i += 1
        return tuple(new)

    def train_bpe(texts, vocab_size, special_tokens):
        vocab = {}
        for token in special_tokens:
            vocab[len(vocab)] = token.encode("utf-8")
        for b in _order():
            vocab[len(vocab)] = bytes([b])
        index = {token: i for i, token in vocab.items() if i >= len(special_tokens)}
        words = defaultdict(int)
        for text in texts:
            for match in regex.finditer(GPT2_PATTERN, text):
                words[tuple(bytes([b]) for b in match.group(0).encode("utf-8"))] += 1
        merges = []
        while len(vocab) < vocab_size:
            stats = defaultdict(int)
            for word, freq in words.items():
                for i in range(len(word) - 1):
                    stats[word[i], word[i + 1]] += freq
            if len(stats) == 0:
                break
            best = max(stats, key=lambda p: (stats[p], -index[p[0]], -index[p[1]]))
            words = {_apply(word, best): freq for word, freq in words.items()}
            merges.append(best)
            index[best[0] + best[1]] = len(vocab)
            vocab[len(vocab)] = best[0] + best[1]
        return vocab, merges

    class Tokenizer:
        def __init__(self, vocab, merges, special_tokens):
            self.vocab = vocab
            self.inverse = {v: k for k, v in vocab.items()}
            self.merges = merges
            self.special_tokens = sorted(special_tokens, key=lambda s: -len(s))

        def encode(self, text):
            if self.special_tokens:
                pattern = "(" + "|".join(re.escape(s) for s in self.special_tokens) + ")"
                chunks = re.split(pattern, text)
            else:
                chunks = [text]
            out = []
            for chunk in chunks:
                if chunk in self.special_tokens:
                    out.append(self.inverse[chunk.encode("utf-8")])
                    continue
                for word in regex.findall(GPT2_PATTERN, chunk):
                    tokens = tuple(bytes([b]) for b in word.encode("utf-8"))
                    for pair in self.merges:
                        tokens = _apply(tokens, pair)
                    out.extend(self.inverse[t] for t in tokens)
            return out

        def decode(self, ids):
            data = bytearray()
            for i in ids:
                data += self.vocab[i]
            return data.decode("utf-8", "replace")

        def decode_stream(self, ids):
            decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
            for i in ids:
                yield decoder.decode(self.vocab[i])
            yield decoder.decode(b"", True)


class as_minbpe_does:
    """ids and a dict from pairs of ids to new ids, whose size says which was learned earlier"""

    def _stats(chunks):
        counts = {}
        for ids, times in chunks:
            for pair in zip(ids, ids[1:]):
                counts[pair] = counts.get(pair, 0) + times
        return counts

    def _merge(ids, pair, idx):
        newids = []
        i = 0
        while i < len(ids):
            if ids[i] == pair[0] and i < len(ids) - 1 and ids[i + 1] == pair[1]:
                newids.append(idx)
                i += 2
            else:
                newids.append(ids[i])
                i += 1
        return newids

    def train_bpe(texts, vocab_size, special_tokens):
        first = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
        first += [b for b in range(256) if b < 33 or 127 <= b <= 160 or b == 173]
        n = len(special_tokens)
        vocab = {i: s.encode("utf-8") for i, s in enumerate(special_tokens)}
        vocab.update({n + i: bytes([b]) for i, b in enumerate(first)})
        of_byte = {b: n + i for i, b in enumerate(first)}
        compiled = regex.compile(GPT2_PATTERN)
        grouped = Counter()
        for text in texts:
            grouped.update(compiled.findall(text))
        chunks = [([of_byte[b] for b in w.encode("utf-8")], t) for w, t in grouped.items()]
        merges = []
        for idx in range(n + 256, vocab_size):
            counts = _stats(chunks)
            if not counts:
                break
            top = max(counts.values())
            pair = min(p for p, c in counts.items() if c == top)
            chunks = [(_merge(ids, pair, idx), times) for ids, times in chunks]
            vocab[idx] = vocab[pair[0]] + vocab[pair[1]]
            merges.append((vocab[pair[0]], vocab[pair[1]]))
        return vocab, merges

    class Tokenizer:
        def __init__(self, vocab, merges, special_tokens):
            self.vocab = dict(vocab)
            index = {token: i for i, token in self.vocab.items()}
            self.byte_ids = [index[bytes([b])] for b in range(256)]
            self.merges = {(index[a], index[b]): index[a + b] for a, b in merges}
            self.special_tokens = {s: index[s.encode("utf-8")] for s in special_tokens}

        def _encode_chunk(self, chunk):
            ids = [self.byte_ids[b] for b in chunk]
            while len(ids) >= 2:
                pairs = set(zip(ids, ids[1:]))
                pair = min(pairs, key=lambda p: self.merges.get(p, float("inf")))
                if pair not in self.merges:
                    break
                ids = _merge(ids, pair, self.merges[pair])
            return ids

        def encode_ordinary(self, text):
            ids = []
            for chunk in regex.findall(GPT2_PATTERN, text):
                ids.extend(self._encode_chunk(chunk.encode("utf-8")))
            return ids

        def encode(self, text):
            ids, start, at = [], 0, 0
            while at < len(text):
                found = [s for s in self.special_tokens if text.startswith(s, at)]
                if found:
                    special = max(found, key=len)
                    ids.extend(self.encode_ordinary(text[start:at]))
                    ids.append(self.special_tokens[special])
                    at += len(special)
                    start = at
                else:
                    at += 1
            return ids + self.encode_ordinary(text[start:])

        def decode(self, ids):
            return b"".join(self.vocab[i] for i in ids).decode("utf-8", errors="replace")

        def decode_stream(self, ids):
            buffer = b""
            for i in ids:
                buffer += self.vocab[i]
                while buffer:
                    try:
                        text, rest = buffer.decode("utf-8"), b""
                    except UnicodeDecodeError as e:
                        if e.start:
                            text, rest = buffer[: e.start].decode("utf-8"), buffer[e.start :]
                        elif e.reason == "unexpected end of data":
                            break
                        else:
                            text, rest = "\ufffd", buffer[e.end :]
                    yield text
                    buffer = rest
            if buffer:
                yield buffer.decode("utf-8", errors="replace")


class positions_and_a_heap:
    """all texts in one linked list of ids, the places of each pair, and a heap of pairs; equal
    words are not grouped, but each place is touched only when it changes"""

    def train_bpe(texts, vocab_size, special_tokens):
        shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
        tokens = [s.encode() for s in special_tokens]
        tokens += [bytes([b]) for b in sorted(shown)]
        tokens += [bytes([b]) for b in sorted(set(range(256)) - shown)]
        number = {tokens[i][0]: i for i in range(len(special_tokens), len(tokens))}
        ids, before, after = [], [], []
        for text in texts:
            for word in regex.findall(GPT2_PATTERN, text):
                data = word.encode()
                for i, b in enumerate(data):
                    here = len(ids)
                    ids.append(number[b])
                    before.append(here - 1 if i else None)
                    after.append(here + 1 if i < len(data) - 1 else None)
        places = defaultdict(set)
        for at, right in enumerate(after):
            if right is not None:
                places[ids[at], ids[right]].add(at)
        heap = [(-len(found), pair) for pair, found in places.items()]
        heapq.heapify(heap)
        merges = []
        while len(tokens) < vocab_size and heap:
            count, pair = heapq.heappop(heap)
            found = places.get(pair, ())
            if len(found) != -count:
                if found:
                    heapq.heappush(heap, (-len(found), pair))
                continue
            if not found:
                continue
            new, touched = len(tokens), set()
            for at in sorted(found):
                right = after[at]
                if ids[at] != pair[0] or right is None or ids[right] != pair[1]:
                    continue
                left, beyond = before[at], after[right]
                if left is not None:
                    places[ids[left], ids[at]].discard(left)
                    places[ids[left], new].add(left)
                    touched.add((ids[left], new))
                if beyond is not None:
                    places[ids[right], ids[beyond]].discard(right)
                    places[new, ids[beyond]].add(at)
                    touched.add((new, ids[beyond]))
                    before[beyond] = at
                ids[at], ids[right], after[at] = new, None, beyond
            places.pop(pair, None)
            for other in touched:
                heapq.heappush(heap, (-len(places[other]), other))
            tokens.append(tokens[pair[0]] + tokens[pair[1]])
            merges.append((tokens[pair[0]], tokens[pair[1]]))
        return dict(enumerate(tokens)), merges

    class Tokenizer:
        def __init__(self, vocab, merges, special_tokens):
            self.vocab = vocab
            self.encoder = {token: i for i, token in vocab.items()}
            self.bpe_ranks = dict(zip(merges, range(len(merges))))
            self.specials = list(special_tokens)
            self.cache = {}

        def _bpe(self, word):
            if word in self.cache:
                return self.cache[word]
            if word in self.encoder:
                return [self.encoder[word]]
            parts = [word[i : i + 1] for i in range(len(word))]
            queue = []
            for i, pair in enumerate(zip(parts, parts[1:])):
                if pair in self.bpe_ranks:
                    heapq.heappush(queue, (self.bpe_ranks[pair], i))
            while queue:
                rank = queue[0][0]
                pair = next(p for p in zip(parts, parts[1:]) if self.bpe_ranks.get(p) == rank)
                i = 0
                while i < len(parts) - 1:
                    if (parts[i], parts[i + 1]) == pair:
                        parts[i : i + 2] = [parts[i] + parts[i + 1]]
                    i += 1
                pairs = enumerate(zip(parts, parts[1:]))
                queue = [(self.bpe_ranks[p], i) for i, p in pairs if p in self.bpe_ranks]
                heapq.heapify(queue)
            self.cache[word] = [self.encoder[part] for part in parts]
            return self.cache[word]

        def encode(self, text):
            places = [(text.find(s), -len(s), s) for s in self.specials if s in text]
            if not places:
                words = regex.findall(GPT2_PATTERN, text)
                return [i for word in words for i in self._bpe(word.encode("utf-8"))]
            at, _, special = min(places)
            head = self.encode(text[:at]) + [self.encoder[special.encode("utf-8")]]
            return head + self.encode(text[at + len(special) :])

        def decode(self, ids):
            return str(b"".join(map(self.vocab.get, ids)), "utf-8", "replace")

        def decode_stream(self, ids):
            for character in codecs.iterdecode(map(self.vocab.get, ids), "utf-8", "replace"):
                yield from character


class one_text_for_all:
    """pairs within words marked by a separator id; characters of GPT-2's alphabet inside; a stream
    that counts how long each character is"""

    def _alphabet():
        table, extra = OrderedDict(), 0
        for byte in range(256):
            if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
                table[byte] = chr(byte)
            else:
                table[byte] = chr(256 + extra)
                extra += 1
        return table

    def train_bpe(texts, vocab_size, special_tokens):
        table = _alphabet()
        back = {character: byte for byte, character in table.items()}
        vocab = dict(enumerate(s.encode("utf-8") for s in special_tokens))
        for character in sorted(table.values()):
            vocab[len(vocab)] = bytes([back[character]])
        number = {back_: i for i, back_ in vocab.items() if i >= len(special_tokens)}
        freqs = Counter(w for text in texts for w in regex.findall(GPT2_PATTERN, text))
        stream, weight = [], []
        for word, freq in sorted(freqs.items()):
            for byte in word.encode("utf-8"):
                stream.append(number[bytes([byte])])
                weight.append(freq)
            stream.append(None)
            weight.append(0)
        merges = []
        while len(vocab) < vocab_size:
            counts = Counter()
            for a, b, w in zip(stream, stream[1:], weight):
                if a is not None and b is not None:
                    counts[a, b] += w
            ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            if not ranked:
                return vocab, merges
            (a, b), _ = ranked[0]
            merged, weights = [], []
            for token, w in zip(stream, weight):
                if merged and merged[-1] == a and token == b:
                    merged[-1] = len(vocab)
                else:
                    merged.append(token)
                    weights.append(w)
            stream, weight = merged, weights
            merges.append((vocab[a], vocab[b]))
            vocab[len(vocab)] = vocab[a] + vocab[b]
        return vocab, merges

    class Tokenizer:
        def __init__(self, vocab, merges, special_tokens):
            self.decoder = vocab.copy()
            self.encoder = {token: number for number, token in vocab.items()}
            self.ranks = {pair: rank for rank, pair in enumerate(merges)}
            self.specials = set(special_tokens)
            escaped = [regex.escape(s) for s in sorted(special_tokens, key=len)[::-1]]
            self.split = regex.compile("(" + "|".join(escaped) + ")") if escaped else None
            self.word = lru_cache(maxsize=1000)(self._word)

        def _word(self, word):
            parts = [bytes([byte]) for byte in word.encode("utf-8")]
            while True:
                ranks = [self.ranks.get(pair, 1 << 60) for pair in zip(parts, parts[1:])]
                if not ranks or min(ranks) == 1 << 60:
                    return tuple(self.encoder[part] for part in parts)
                at = ranks.index(min(ranks))
                parts = parts[:at] + [parts[at] + parts[at + 1]] + parts[at + 2 :]

        def encode(self, text):
            ids = []
            for part in self.split.split(text) if self.split else [text]:
                if part in self.specials:
                    ids += [self.encoder[part.encode("utf-8")]]
                else:
                    for word in regex.findall(GPT2_PATTERN, part):
                        ids += self.word(word)
            return ids

        def decode(self, ids):
            return b"".join([self.decoder[number] for number in ids]).decode(errors="replace")

        def decode_stream(self, ids):
            held = b""
            for number in ids:
                held += self.decoder[number]
                keep = 0
                for back in (1, 2, 3):
                    if back <= len(held) and held[-back] >= 0xC0:
                        try:
                            held[-back:].decode("utf-8")
                        except UnicodeDecodeError as problem:
                            keep = back if problem.reason.startswith("unexpected end") else 0
                        break
                if len(held) > keep:
                    yield held[: len(held) - keep].decode("utf-8", "replace")
                    held = held[len(held) - keep :]
            yield held.decode("utf-8", "replace")
