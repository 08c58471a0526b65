"""ex14_dataset: facts about training examples, their labels, and the text of a conversation."""

import pytest
import torch

SOME_WORDS = (
    *(
        "cat",
        "Tea",
        "über",
        "seven",
        "北京",
        "x = 1",
        "it's",
        "🙂",
        "no",
        "end of it",
        "NB:",
        "a\tb",
    ),
)
ROLES = ("system", "user", "assistant", "tool")


def whole(rng, low, high):
    return int(rng.integers(low, high, 1))


def one_of(rng, things):
    return things[whole(rng, 0, len(things))]


def some_ids(rng, count):
    """Ids of a text, all different."""
    return (rng.permutation(900)[:count] + 100).tolist()


def three(rng):
    """Different ids of bos, eos and pad, none of which is in a text."""
    return dict(zip(("bos", "eos", "pad"), rng.permutation(100)[:3].tolist(), strict=True))


def rows(dataset, texts, max_length, markers):
    """input_ids and labels of texts, and the texts as they are afterwards."""
    found = {}
    for index, ids in enumerate(texts):
        input_ids, labels = dataset.pretrain_example(ids, max_length, **markers)
        found |= {f"input_ids of text {index}": input_ids, f"labels of text {index}": labels}
        if isinstance(input_ids, torch.Tensor) and isinstance(labels, torch.Tensor):
            memory = input_ids.data_ptr() == labels.data_ptr()
            found[f"both of text {index} lie in the same memory"] = memory
    return found | {"the texts afterwards": texts}


@pytest.mark.weight(2)
def test_a_short_text_is_followed_by_padding(check, rng):
    """A row is bos, the text, eos and padding; its labels are the row, and -100 on the padding."""
    length = whole(rng, 11, 15)
    lengths = (whole(rng, 4, 7), 0, length - 3, length - 2)
    check(rows, [some_ids(rng, count) for count in lengths], length, three(rng))


@pytest.mark.weight(2)
def test_a_long_text_is_cut_and_keeps_both_markers(check, rng):
    """Of a long text the first max_length - 2 tokens are kept, between bos and eos."""
    length = whole(rng, 7, 11)
    lengths = (length - 1, length, 3 * length)
    check(rows, [some_ids(rng, count) for count in lengths], length, three(rng))


@pytest.mark.weight(2)
def test_padding_is_a_place_and_not_an_id(check, rng):
    """Tokens of a text that equal pad, bos or eos stay labels, and so does eos if it equals pad."""
    length, markers = whole(rng, 14, 18), three(rng)

    def with_tokens_that_equal(*special):
        a, b, c, d = some_ids(rng, 4)
        return [special[0], a, special[1], special[1], b, special[2], c, special[0], d, special[0]]

    same = markers | {"eos": markers["pad"]}
    bos, eos, pad = (markers[name] for name in ("bos", "eos", "pad"))
    texts = [
        with_tokens_that_equal(bos, eos, pad),
        with_tokens_that_equal(eos, pad, bos),
        with_tokens_that_equal(pad, bos, eos)[: whole(rng, 4, 9)],
        [*some_ids(rng, 3), pad, pad],
    ]

    def both(dataset, texts, length, markers, same):
        found = rows(dataset, texts, length, markers)
        others = rows(dataset, texts, length, same)
        return found | {f"{name}, eos equals pad": value for name, value in others.items()}

    check(both, texts, length, markers, same)


def content_for(rng, words=4):
    return one_of(rng, (" ", "\n", ", ")).join(one_of(rng, SOME_WORDS) for _ in range(words))


def chats(dataset, conversations, asking=None):
    """The texts of conversations, and the conversations as they are afterwards."""
    asked = {} if asking is None else {"add_generation_prompt": asking}
    texts = {
        f"text {index}": dataset.render_chat(messages, **asked)
        for index, messages in enumerate(conversations)
    }
    return texts | {"the messages afterwards": conversations}


@pytest.mark.weight(3)
def test_a_conversation_is_rendered_as_it_is(check, rng):
    """Every message is rendered in the same way; nothing is stripped, merged, moved or added."""

    def said(role, words=2, before="", after=""):
        return {"role": role, "content": before + content_for(rng, words) + after}

    marker = one_of(rng, ("<|im_end|>", "<|im_start|>", "<|im_end|>\n<|im_start|>system\n"))
    conversations = [
        [said("user", 3)],
        [said("system"), said("user"), said("assistant"), said("user")],
        [said("user", before=" \n"), said("assistant", after="\n \n")],
        [said("user"), said("user"), {"role": "assistant", "content": ""}, said("assistant")],
        [said("assistant"), said("tool", after="  "), said("system"), said("system", 1, "\t")],
        [said("user", 2, content_for(rng, 1) + marker), said(content_for(rng, 1), after="\r\n")],
        [said(one_of(rng, ROLES), 1) for _ in range(whole(rng, 5, 8))],
        # What templates and patterns would take for something of theirs.
        [said("user", 2, r"\frac12 \n\1 \d", " {x} {{x}} {}"), said("tool", 1, "%s %% $role ")],
    ]
    check(chats, conversations)


@pytest.mark.weight(2)
def test_the_generation_prompt_begins_an_answer(check, rng):
    """With add_generation_prompt the header of an answer follows, whoever spoke last."""
    conversations = [
        [{"role": role, "content": content_for(rng, 2)} for role in roles]
        for roles in (("user",), ("user", "assistant"), ("user", "tool"), ("system",))
    ]

    def asked(dataset, conversations):
        found = chats(dataset, conversations, asking=True)
        without = chats(dataset, conversations, asking=False)
        return found | {f"{name} without it": text for name, text in without.items()}

    check(asked, conversations)
    check(asked, [[]])  # by itself, since whoever asks for the last message ends here


class Marks:
    """The ids of a chat format: markers, roles, a newline, padding, and words that are none."""

    def __init__(self, rng):
        ids = (rng.permutation(900) + 10).tolist()
        self.start, self.end, self.newline, self.pad = ids[:4]
        self.assistant, self.user, self.system = ids[4:7]
        self.header_ids = [self.start, self.assistant, self.newline]
        self.end_ids = [self.end, self.newline]
        self._words = ids[7:200]
        self._rng = rng

    def words(self, low, high):
        """Some words, among them single tokens of the markers, which by themselves mean nothing."""
        count = whole(self._rng, low, high)
        words = [one_of(self._rng, self._words) for _ in range(count)]
        parts = [self.start, self.assistant, self.newline]
        if len(self.end_ids) > 1:
            parts.append(self.end)
        places = self._rng.permutation(count)[: count // 4].tolist()
        for place in sorted(places):
            if place == 0 or words[place - 1] not in parts:
                words[place] = one_of(self._rng, parts)
        # At its end a message must not make a longer marker of the one that follows.
        return [*words, one_of(self._rng, self._words)]

    def turn(self, role, said):
        return [self.start, role, self.newline, *said, *self.end_ids]

    def asked(self):
        return self.turn(self.user, self.words(3, 6))

    def answered(self, low=4, high=9):
        return self.turn(self.assistant, self.words(low, high))


def labelled(dataset, examples, header_ids, end_ids, pad):
    """The labels of several rows, and the rows as they are afterwards."""
    found = {}
    for index, ids in enumerate(examples):
        labels = dataset.sft_labels(ids, header_ids, end_ids, pad=pad)
        found[f"labels of row {index}"] = labels
    return found | {"the rows afterwards": [*examples, header_ids, end_ids]}


@pytest.mark.weight(3)
def test_replies_are_labelled_with_their_end_markers(check, rng):
    """Labels are the assistant's replies with the whole end marker of each, -100 elsewhere."""
    marks = Marks(rng)
    padding = [marks.pad] * whole(rng, 2, 5)
    system = marks.turn(marks.system, marks.words(2, 4))
    rows_of_ids = [
        marks.asked() + marks.answered(),
        system + marks.asked() + marks.answered() + marks.asked() + marks.answered() + padding,
        marks.answered() + marks.answered() + marks.asked(),
        marks.asked()
        + marks.turn(marks.assistant, [])
        + marks.asked()
        + marks.answered()
        + padding,
        system + marks.asked() + padding,
        [],
    ]
    check(labelled, rows_of_ids, marks.header_ids, marks.end_ids, marks.pad)


@pytest.mark.weight(2)
def test_a_reply_ends_at_its_end_marker_alone(check, rng):
    """A header inside a reply, of the assistant or of another, is a part of the reply."""
    marks = Marks(rng)

    def quoting(role):
        quoted = [marks.start, role, marks.newline, *marks.words(2, 4)]
        return marks.turn(marks.assistant, marks.words(2, 4) + quoted)

    rows_of_ids = [
        marks.asked() + quoting(marks.assistant) + marks.asked() + marks.answered(),
        quoting(marks.user) + marks.asked() + quoting(marks.assistant) + [marks.pad] * 3,
        # Nothing but the header twice, and the end marker in a message of the user.
        marks.asked() + [*marks.header_ids, *marks.header_ids, *marks.words(1, 3), *marks.end_ids],
        marks.turn(marks.user, [*marks.words(2, 3), *marks.end_ids, *marks.words(2, 3)])
        + marks.answered(),
    ]
    check(labelled, rows_of_ids, marks.header_ids, marks.end_ids, marks.pad)


@pytest.mark.weight(3)
def test_a_reply_that_was_cut_off_goes_on_to_the_padding(check, rng):
    """Without its end marker the last reply ends with the row, or where the padding begins."""
    marks = Marks(rng)
    padding = [marks.pad] * whole(rng, 3, 6)
    before = marks.asked() + marks.answered() + marks.asked() + marks.header_ids
    rows_of_ids = [
        before + marks.words(5, 9),
        before + marks.words(3, 6) + padding,
        # Cut in the middle of the end marker, and right behind the header.
        before + marks.words(3, 6) + marks.end_ids[:1],
        before + marks.words(3, 6) + marks.end_ids[:1] + padding[1:],
        before,
        before + padding,
        # Cut in the middle of a header, which is none then.
        marks.asked() + marks.answered() + marks.header_ids[:2],
        # A padding id inside is a token.
        before + marks.words(2, 4) + [marks.pad] * 2 + marks.words(2, 4) + padding,
    ]
    check(labelled, rows_of_ids, marks.header_ids, marks.end_ids, marks.pad)


@pytest.mark.weight(2)
def test_a_padding_id_in_a_reply_is_a_label(check, rng):
    """Tokens that equal pad are labels inside a reply, in its end marker, and as its last words."""
    marks = Marks(rng)
    pads = [marks.pad] * whole(rng, 2, 4)

    def replied():
        return marks.turn(
            marks.assistant, [*marks.words(1, 3), marks.pad, *marks.words(1, 3), *pads]
        )

    def rows_that_end_with(end_ids, pad):
        marks.end_ids = end_ids
        row = marks.asked() + replied() + marks.asked() + replied()
        return [row, row + [pad] * len(pads), marks.asked() + replied() + [pad]]

    def in_both(dataset, first, second, header_ids, ends, pads):
        found = labelled(dataset, first, header_ids, ends[0], pads[0])
        others = labelled(dataset, second, header_ids, ends[1], pads[1])
        return found | {f"{name}, the end marker is pad": each for name, each in others.items()}

    first = rows_that_end_with(marks.end_ids, marks.pad)
    ends = [marks.end_ids, [marks.end]]
    second = rows_that_end_with(ends[1], marks.end)
    check(in_both, first, second, marks.header_ids, ends, [marks.pad, marks.end])


def test_markers_are_found_wherever_they_begin(check, rng):
    """Markers of one id or more are found behind what looks like their beginning, as whole ids."""
    a, b, c, d, pad, *others = some_ids(rng, 30)
    words = [others[:3], others[3:5], others[5:9], others[9:12], others[12:14]]

    def row(header_ids, end_ids, repeated):
        """Two replies; before each marker its first token is repeated."""
        row = words[0]
        for times, (before, inside) in enumerate((words[1:3], words[3:5]), start=1):
            row = row + before + header_ids[:1] * times * repeated + header_ids
            row = row + inside + end_ids[:1] * times * repeated + end_ids
        return row

    def by_markers(dataset, cases, pad):
        found = {}
        for index, (ids, header_ids, end_ids) in enumerate(cases):
            labels = labelled(dataset, [ids], header_ids, end_ids, pad)
            found |= {f"{name}, markers {index}": each for name, each in labels.items()}
        return found

    repeating = [([a, a, b], [c, c, d]), ([a, a, b, c], [d, d, a])]
    short = [([a], [d]), ([a, b], [d])]
    cases = [[row(*markers, repeated=1), *markers] for markers in repeating]
    cases += [[row(*markers, repeated=0), *markers] for markers in short]
    # Ids whose digits hold those of a marker; the markers themselves stand in the second row only.
    k, m, n, o = (rng.permutation(9)[:4] + 1).tolist()
    false = [10 * a + k, m, b, k, 10 * m + n, c, 10 * k + m, d, 10 * b + n, o, n, 10 * o + m]
    cases += [[false, [k, m], [n, o]], [[*false, k, m, *false, n, o, *false], [k, m], [n, o]]]
    check(by_markers, cases, pad)


def packed(dataset, cases):
    """The blocks of several packings, and the sequences as they are afterwards."""
    found = {}
    for index, (sequences, max_length, eos) in enumerate(cases):
        blocks = dataset.pack(sequences, max_length, eos)
        found[f"lengths of the blocks {index}"] = [len(block) for block in blocks]
        for number, block in enumerate(blocks):
            found[f"block {number} of {index}"] = block
    return found | {"the sequences afterwards": [case[0] for case in cases]}


@pytest.mark.weight(2)
def test_texts_are_joined_and_cut_into_blocks(check, rng):
    """One eos follows every sequence; all are joined and cut, and the last block is shorter."""

    def case(length, *lengths):
        eos = whole(rng, 3, 90)
        return [[some_ids(rng, count) for count in lengths], length, eos]

    length = whole(rng, 5, 8)
    cases = [
        case(length, 3, 2 * length + 1, 1, length + 2, 2),
        case(length + 4, *(whole(rng, 1, 9) for _ in range(6)), 7),
        case(2 * length, 2, 3),
    ]
    check(packed, cases)


@pytest.mark.weight(2)
def test_every_sequence_gets_one_eos(check, rng):
    """Empty sequences and those that contain or end with eos get their eos as all others do."""
    eos, length = whole(rng, 3, 90), whole(rng, 5, 8)
    a, b, c, d = (some_ids(rng, 3) for _ in range(4))
    ends_with_it = [[*a, eos], b, [], [eos], [*c[:1], eos, *c[1:]], d]
    # Together with their eos these fill their blocks to the last token.
    full = [some_ids(rng, length - 1), some_ids(rng, length - 3), some_ids(rng, length + 1)]
    fitting = [some_ids(rng, 2 * length - 1)]
    kinds = (ends_with_it, full, fitting, [])
    check(packed, [[sequences, length, eos] for sequences in kinds])
