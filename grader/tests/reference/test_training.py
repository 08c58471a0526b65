"""`train` and `sft`: what they write, that they go on as if nothing had happened, and refusals."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from minimind_ref.app.cli import commands
from minimind_ref.app.errors import UserError
from minimind_ref.app.folders import load_model
from minimind_ref.optimizer import get_lr

SMALL = (
    "--hidden-size=16 --layers=1 --heads=2 --kv-heads=1 --intermediate-size=24 --vocab-size=270 "
    "--context=16 --log-every=1 --device=cpu"
).split()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads would differ from those of the processes that tests start."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A text of 41 rows of 16 tokens; the last is shorter."""
    words = "the cat sat on a mat and saw the other cat that sat on the other mat".split()
    draw = random.Random(5)
    path = tmp_path / "book.txt"
    path.write_text(" ".join(draw.choice(words) for _ in range(250)) + ".\n")
    return path


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    lines = [
        [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": "n" * n}]
        for n in range(1, 7)
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines))
    return path


def run(*arguments: Any, code: int = 0) -> str:
    """What a command prints."""
    result: Result = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def refused(*arguments: Any) -> str:
    """Why a command did nothing."""
    with pytest.raises(UserError) as caught:
        run(*arguments)
    return str(caught.value)


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """All but the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if name != "seconds"} for line in lines]


def same_training(one: Path, other: Path) -> bool:
    weights = [(folder / "model.safetensors").read_bytes() for folder in (one, other)]
    return weights[0] == weights[1] and metrics_of(one) == metrics_of(other)


def test_a_text_becomes_a_model(book: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "book"
    said = run("train", book, "--out", out, *SMALL, "--steps=30", "--lr=0.01", "--batch-size=8")
    assert "step 30/30 · loss" in said and "tokens/s" in said and "left" in said
    loaded = load_model(out)
    assert loaded.config.hidden_size == 16 and loaded.config.num_key_value_heads == 1
    assert loaded.vocabulary.tokenizer.encode("cat<|im_end|>")[-1] == loaded.config.eos_token_id
    lines = metrics_of(out)
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert [line["lr"] for line in lines] == [get_lr(step, 30, 0.01) for step in range(1, 31)]
    assert lines[-1]["loss"] < lines[0]["loss"] - 1
    assert lines[0]["tokens"] == 8 * 16
    assert (out / "loss.svg").read_text().rstrip().endswith("</svg>")
