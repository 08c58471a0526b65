"""A user's data: what is read from it, which rows it becomes, and what is said about mistakes."""

import hashlib
import json
import random
from pathlib import Path

import pytest
import torch

import minimind_ref.app.rows as rows_module
from minimind_ref.app.errors import UserError
from minimind_ref.app.pretraining import sample_of
from minimind_ref.app.reading import read_conversations, read_texts
from minimind_ref.app.rows import Order, Rows, conversation_rows, encoder, text_rows
from minimind_ref.app.vocabulary import Vocabulary
from minimind_ref.dataset import IGNORED, pack, render_chat

NASTY = (
    "It's  a   test:\n\n  'tis 12  34\t\n x  "
    "\r ...  naïve 日本語🙂 \u00a0\u2028''s <|im_end|> end  \n"
)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    texts = ["a test, is it a test? it's a   test\n\n" * 3, "\n   is it" * 9, "assistant"]
    return Vocabulary.trained_on(texts, 300)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def why_not_text(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_texts([path])
    return str(caught.value)


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", b"\xef\xbb\xbfone\r\n\r\ntwo\n")
    read = read_texts([path])
    assert read.documents == ["one\n\ntwo\n"]
    assert read.sources[0].path == str(path)
    assert read.sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_marker_ends_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\n<|endoftext|>\n<|endoftext|>two<|endoftext|>\n")
    read = read_texts([path])
    assert (read.documents, read.blank) == (["one", "two"], 1)


def test_json_lines_are_documents(tmp_path: Path) -> None:
    lines = ['{"text": "one", "id": 1}', "", '{"text": "  "}', '{"text": "zwei \\u00fc"}']
    path = write(tmp_path / "a.jsonl", "\r\n".join(lines))
    read = read_texts([path, write(tmp_path / "b.txt", "three")])
    assert (read.documents, read.blank) == (["one", "zwei ü", "three"], 1)
    assert read.sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.txt", "", "holds no text"),
        ("a.txt", " \n", "holds no text"),
        ("a.txt", b"one\ntwo \xff", "line 2: byte 8 of the file is 0xff, which is not UTF-8"),
        ("a.txt", "x".encode("utf-16"), "looks like UTF-16"),
        ("a.txt", b"\x1f\x8b\x08", "looks like a gzip file"),
        ("a.jsonl", "\n\n", "holds no text"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b}\n', "line 2: this is not JSON, unterminated"),
        ("a.jsonl", '{"text": "a"} {"text": "b"}', "line 1: this is not JSON, extra data at col"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xe9"}', "line 2: byte 24 of the file is 0xe9"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}', 'line 2: "text" is missing (there is "txt")'),
        ("a.jsonl", '{"text": 5}', 'line 1: "text" is the number 5, want a string'),
        ("a.jsonl", '{"text": null}', 'line 1: "text" is null, want a string'),
        ("a.jsonl", '{"text": "\\ud83d."}', 'line 1: "text" holds \\ud83d at character 1'),
        ("a.jsonl", '["a"]', "line 1: got a list"),
        ("a.json", '[\n{"text": "a"}\n]', "jq -c '.[]'"),
        ("a.jsonl", "[" * 100_000, "line 1: this JSON cannot be read"),
    ],
)
def test_mistakes_in_texts(name: str, content: str | bytes, found: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    why = why_not_text(path)
    assert found in why and str(path) in why


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "is a folder, want files" in why_not_text(tmp_path)
    assert "there is no file" in why_not_text(tmp_path / "none.txt")
    assert "there is no file" in why_not_text(tmp_path / "none.jsonl")


QUESTION, REPLY = {"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}


def test_both_forms_of_conversations(tmp_path: Path) -> None:
    lines = [
        {"conversations": [QUESTION, {**REPLY, "reasoning": "none"}], "id": 3},
        {"messages": [QUESTION, REPLY, QUESTION]},
    ]
    path = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, lines)))
    read = read_conversations([path])
    assert read.conversations == [[QUESTION, REPLY], [QUESTION, REPLY, QUESTION]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ({"messages": []}, 'line 2: "messages" is empty'),
        ({"messages": [QUESTION]}, "line 2: there is no reply to learn"),
        ({"messages": "hello"}, 'line 2: "messages" is a string, want a list of messages'),
        ({"text": "hello"}, '"messages" (or "conversations") is missing (there is "text")'),
        ({"messages": [QUESTION, "r"]}, "line 2, message 2: got a string"),
        ({"messages": [{"content": "q"}, REPLY]}, 'message 1: "role" is missing'),
        ({"messages": [{"role": "user"}, REPLY]}, 'message 1: "content" is missing'),
        ({"messages": [{"from": "human", "value": "q"}]}, '(there is "from", "value")'),
        ({"messages": [{**QUESTION, "role": "human"}]}, 'the role is "human", want one of system'),
        ({"messages": [{**QUESTION, "content": ["q"]}]}, '"content" is a list, want a string'),
        ({"messages": [QUESTION, {**REPLY, "content": "<|im_end|>"}]}, "2: the content holds <|im"),
        ([QUESTION, REPLY], "line 2: got a list"),
    ],
)
def test_mistakes_in_conversations(line: object, found: str, tmp_path: Path) -> None:
    right = json.dumps({"messages": [QUESTION, REPLY]})
    path = write(tmp_path / "a.jsonl", f"{right}\n{json.dumps(line)}\n")
    with pytest.raises(UserError) as caught:
        read_conversations([path])
    assert found in str(caught.value) and str(path) in str(caught.value)


def test_words_that_are_remembered_are_encoded_alike(vocabulary: Vocabulary) -> None:
    encode = encoder(vocabulary)
    draw = random.Random(3)
    texts = ["".join(draw.choices(NASTY, k=60)) for _ in range(60)]
    for text in [NASTY, *texts, *texts]:
        assert encode(text) == vocabulary.tokenizer.encode(text)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_rows_of_texts_are_packed_as_a_whole(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_AT_ONCE", at_once)
    documents = ["abc", "defghij", "k", "lmnopqrs", "tu"]
    rows = text_rows(documents, lambda text: [ord(letter) for letter in text], 4, eos=2, pad=0)
    whole = pack([[ord(letter) for letter in text] for text in documents], 4, 2)
    assert torch.equal(rows.tokens.long(), torch.cat(whole))
    assert rows.lengths.tolist() == [len(row) for row in whole]
    assert rows.predictions.tolist() == [len(row) - 1 for row in whole]
    input_ids, labels = rows.batch([0, len(rows) - 1])
    assert input_ids.tolist() == [[97, 98, 99, 2], [117, 2, 0, 0]]
    assert labels.tolist() == [[97, 98, 99, 2], [117, 2, IGNORED, IGNORED]]


def test_only_replies_are_learned(vocabulary: Vocabulary) -> None:
    """Also one that begins with spaces, which must not merge with the end of its header's line."""
    conversation = [
        {"role": "system", "content": "a test"},
        {"role": "user", "content": "assistant\nit"},
        {"role": "assistant", "content": "   is it\n"},
        {"role": "user", "content": "test"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "not answered"},
    ]
    rows, cut = conversation_rows([conversation], encoder(vocabulary), 1000, pad=0)
    input_ids, labels = rows.batch([0])
    decode = vocabulary.tokenizer.decode
    assert decode(input_ids[0].tolist()) == render_chat(conversation[:5])
    learned = [int(label) for label in labels[0] if label != IGNORED]
    assert decode(learned) == "   is it\n<|im_end|><|im_end|>"
    assert cut == 0 and rows.predictions.tolist() == [len(learned)]


def test_a_conversation_cut_off_before_its_reply_is_no_row(vocabulary: Vocabulary) -> None:
    long = [{"role": "user", "content": "a test " * 20}, REPLY]
    rows, cut = conversation_rows([[QUESTION, REPLY], long], encoder(vocabulary), 30, pad=0)
    assert (len(rows), cut) == (1, 1)


def test_validation_rows_are_taken_out() -> None:
    numbers = [torch.full((3,), number) for number in range(20)]
    rows = Rows.of(((row, row) for row in numbers), pad=0)
    kept, held_out = rows.split(0.2, seed=1)
    assert (len(kept), len(held_out)) == (16, 4)
    both = [*kept.batch(range(16))[0][:, 0].tolist(), *held_out.batch(range(4))[0][:, 0].tolist()]
    assert sorted(both) == list(range(20))
    assert len(rows.split(0.0, seed=1)[1]) == 0


def test_every_pass_takes_all_rows_in_another_order() -> None:
    order = Order(rows=11, per_step=4, seed=3)
    passes = [[order.places(3 * number + step) for step in (1, 2, 3)] for number in range(2)]
    for steps in passes:
        assert [len(places) for places in steps] == [4, 4, 3]
        assert sorted(sum(steps, [])) == list(range(11))
    assert passes[0] != passes[1]
    assert Order(rows=11, per_step=4, seed=3).places(5) == passes[1][1]
    assert Order(rows=11, per_step=4, seed=4).places(5) != passes[1][1]


def test_a_tokenizer_sees_all_parts_of_much_text() -> None:
    documents = ["a" * 25_000, "b" * 95_000 + "<|im_end|>" + "c" * 40_000]
    assert sample_of(documents, 200_000) == ["a" * 25_000, "b" * 95_000, "c" * 40_000]
    sample = sample_of(documents, 60_000)
    assert sum(map(len, sample)) <= 60_000 + 10_000
    assert {part[0] for part in sample if part} == {"a", "b", "c"}
