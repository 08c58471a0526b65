"""Independent oracles for ex14: a chat template in jinja2, a search by regular expressions."""

import importlib
import random
import re

import pytest
import torch

ANSWERS = ["minimind_ref.dataset", "solutions.ex14_dataset"]
SEEDS = range(40)

TEMPLATE = """\
{%- for message in messages -%}
{{ "<|im_start|>" ~ message.role ~ "\\n" ~ message.content ~ "<|im_end|>\\n" }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ "<|im_start|>assistant\\n" }}
{%- endif -%}
"""
"""The format as a chat template, as it would stand in a tokenizer's config."""

PIECES = (
    *("hello", " ", "\n", "\n\n", "\t", "  x", "<|im_start|>", "<|im_end|>", "{{ 7 * 7 }}", "\r\n"),
    *("{% raw %}", "<b>&amp;</b>", "'\"", "北京", "🙂", "\u2028", "assistant\n", "\\n", ""),
)


@pytest.fixture(params=ANSWERS)
def dataset(request):
    return importlib.import_module(request.param)


def conversation(draw):
    def text():
        return "".join(draw.choices(PIECES, k=draw.randrange(6)))

    roles = ("system", "user", "assistant", "tool", "a critic")
    return [{"role": draw.choice(roles), "content": text()} for _ in range(draw.randrange(1, 7))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("prompt", [True, False])
def test_a_chat_is_what_jinja2_renders(dataset, seed, prompt):
    """With the settings of transformers, which renders such templates with jinja2."""
    sandbox = pytest.importorskip("jinja2.sandbox")
    environment = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE)
    messages = conversation(random.Random(seed))
    expected = template.render(messages=messages, add_generation_prompt=prompt)
    assert dataset.render_chat(messages, add_generation_prompt=prompt) == expected
    if not prompt:
        assert dataset.render_chat(messages) == expected


def test_transformers_renders_the_same(dataset):
    """Its own function, which a tokenizer's `apply_chat_template` ends in."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    for seed in range(10):
        messages = conversation(random.Random(seed))
        for prompt in (True, False):
            rendered, _ = utils.render_jinja_template(
                [messages], chat_template=TEMPLATE, add_generation_prompt=prompt
            )
            assert dataset.render_chat(messages, prompt) == rendered[0]


def drawn_row(draw):
    """A row over a handful of ids, in which markers are found by chance, and overlap."""
    header = [draw.randrange(4) for _ in range(draw.randrange(1, 4))]
    end = [draw.randrange(3, 6) for _ in range(draw.randrange(1, 3))]
    pad = draw.randrange(7)
    row = []
    for _ in range(draw.randrange(1, 12)):
        row += draw.choice([header, end, [pad], [draw.randrange(7)], [draw.randrange(7)]])
    return row + [pad] * draw.randrange(4), header, end, pad


def labels_by_pattern(row, header, end, pad):
    """The same search by the rules of regular expressions, on ids written as letters."""

    def letters(ids):
        return "".join(chr(ord("a") + token) for token in ids)

    text = letters(row)
    labels = [-100] * len(row)
    complete = re.compile(f"{letters(header)}(.*?{letters(end)})")
    at = 0
    while match := complete.search(text, at):
        start, at = match.span(1)
        labels[start:at] = row[start:at]
    cut = re.compile(letters(header)).search(text, at)
    if cut:
        rest = text[cut.end() :].rstrip(letters([pad]))
        stop = cut.end() + len(rest)
        labels[cut.end() : stop] = row[cut.end() : stop]
    return labels


@pytest.mark.parametrize("seed", range(300))
def test_labels_are_those_of_a_pattern(dataset, seed):
    row, header, end, pad = drawn_row(random.Random(seed))
    labels = dataset.sft_labels(row, header, end, pad=pad)
    assert labels.dtype == torch.long
    assert labels.tolist() == labels_by_pattern(row, header, end, pad)


def test_the_rows_above_are_of_all_kinds():
    """Replies that are complete, cut off, cut off and padded, several in a row, and none."""
    kinds = set()
    for seed in range(300):
        row, header, end, pad = drawn_row(random.Random(seed))
        labels = labels_by_pattern(row, header, end, pad)
        learned = "".join("." if label == -100 else "x" for label in labels)
        kinds.add("none" if "x" not in learned else "several" if "x." in learned[:-6] else "one")
        kinds.add("to the end" if learned.endswith("x") else "not to the end")
    assert kinds == {"none", "one", "several", "to the end", "not to the end"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_row_is_what_its_rules_say(dataset, seed):
    draw = random.Random(seed)
    ids = [draw.randrange(9) for _ in range(draw.randrange(14))]
    length, bos, eos, pad = draw.randrange(2, 12), *(draw.randrange(9) for _ in range(3))
    input_ids, labels = dataset.pretrain_example(ids, length, bos=bos, eos=eos, pad=pad)
    kept = ids[: length - 2]
    real = len(kept) + 2
    assert input_ids.tolist() == [bos, *kept, eos] + [pad] * (length - real)
    assert labels.tolist() == [bos, *kept, eos] + [-100] * (length - real)
    assert input_ids.dtype == labels.dtype == torch.long
    input_ids.zero_()
    assert labels.tolist()[:real] == [bos, *kept, eos]


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_come_apart_into_the_sequences(dataset, seed):
    """Nothing is lost: joined again and cut at their lengths, the blocks are the sequences."""
    draw = random.Random(seed)
    sequences = [
        [draw.randrange(5) for _ in range(draw.randrange(8))] for _ in range(draw.randrange(1, 7))
    ]
    length, eos = draw.randrange(1, 9), draw.randrange(5)
    blocks = dataset.pack(sequences, length, eos)
    assert all(block.dtype == torch.long for block in blocks)
    assert [len(block) for block in blocks[:-1]] == [length] * (len(blocks) - 1)
    assert 1 <= len(blocks[-1]) <= length
    stream = torch.cat(blocks).tolist()
    for sequence in sequences:
        assert stream[: len(sequence) + 1] == [*sequence, eos]
        del stream[: len(sequence) + 1]
    assert stream == []


def test_training_on_the_labels_leaves_out_what_is_not_learned(dataset):
    """The loss of torch ignores -100 by default, so the labels need nothing else."""
    row, header, end = [7, 8, 3, 4, 9, 5], [7, 8], [9]
    labels = dataset.sft_labels(row, header, end, pad=0)
    logits = torch.randn(6, 12, generator=torch.Generator().manual_seed(1))
    loss = torch.nn.functional.cross_entropy(logits, labels)
    learned = torch.nn.functional.cross_entropy(logits[2:5], torch.tensor([3, 4, 9]))
    assert loss.item() == pytest.approx(learned.item())
