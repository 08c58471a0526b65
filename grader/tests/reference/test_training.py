"""`train` and `sft`: what they write, that they go on as if nothing had happened, and refusals."""

import errno
import io
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from rich.console import Console
from safetensors.torch import load_file

import minimind_ref.app.progress as progress
import minimind_ref.app.training as training
from minimind_ref.app.cli import commands
from minimind_ref.app.curve import can_draw
from minimind_ref.app.errors import UserError
from minimind_ref.app.folders import load_model
from minimind_ref.optimizer import get_lr

SMALL = (
    "--hidden-size=16 --layers=1 --heads=2 --kv-heads=1 --intermediate-size=24 --vocab-size=270 "
    "--context=16 --log-every=1 --device=cpu"
).split()


@pytest.fixture(autouse=True)
def no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than training does here."""
    monkeypatch.setattr(training, "can_draw", lambda: False)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads would differ from those of the processes that tests start."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A text of 29 rows of 16 tokens; the last has 3."""
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


def test_a_text_becomes_a_model(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "can_draw", can_draw)
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
    assert "451 tokens in 29 rows" in said
    assert (out / "loss.svg").read_text().rstrip().endswith("</svg>")


def test_rows_are_taken_once_a_pass_in_an_order_of_the_seed(book: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("train", book, "--out", tmp_path / name, *SMALL, "--epochs=1", f"--seed={seed}")
    assert same_training(tmp_path / "a", tmp_path / "b")
    assert metrics_of(tmp_path / "a") != metrics_of(tmp_path / "c")
    read = [metrics_of(tmp_path / name)[-1]["tokens"] for name in "ac"]
    assert read[0] == read[1]


class Killed(BaseException):
    """The process is gone: nothing of the program may look after it."""


def killed_in(name: str, call: int, after: bool, patch: pytest.MonkeyPatch) -> None:
    """End in a call of a function of the loop, before or after it is made."""
    calls = 0
    function = getattr(training, name)

    def last(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **named) if calls < call or after else None
        if calls == call:
            raise Killed
        return result

    patch.setattr(training, name, last)


LONG = [*SMALL, "--steps=11", "--save-every=4", "--batch-size=5", "--lr=0.01", "--warmup=3"]


@pytest.mark.parametrize(
    ("name", "call", "after", "dtype"),
    [
        ("write_record", 1, True, "float32"),  # before anything else is written
        ("save_checkpoint", 1, True, "float32"),  # before there is a model
        ("save_checkpoint", 2, False, "float32"),  # metrics are ahead of the checkpoint
        ("save_model", 2, False, "float32"),  # the model is behind the checkpoint
        ("clip_grad_norm_", 7, False, "float16"),  # in the midst of step 7
        ("save_checkpoint", 4, True, "bfloat16"),  # only the last model is missing
    ],
)
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    name: str, call: int, after: bool, dtype: str, book: Path, tmp_path: Path
) -> None:
    sizes = tmp_path / "sizes.json"
    # Dropout draws random numbers at every step.
    sizes.write_text(json.dumps({"dropout": 0.2, "use_moe": True, "num_experts": 3}))
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    options = [*LONG, f"--dtype={dtype}", "--config", sizes, "--valid-share=0.1"]
    run("train", book, "--out", whole, *options)
    with pytest.MonkeyPatch.context() as patch:
        killed_in(name, call, after, patch)
        with pytest.raises(Killed):
            run("train", book, "--out", torn, *options)
    torch.rand(3)
    run("train", "--out", torn, "--resume")
    assert same_training(whole, torn)
    assert [line["step"] for line in metrics_of(torn) if "valid_loss" in line] == [4, 8, 11]
    assert not [path for path in torn.iterdir() if path.name.startswith(".")]


def forked(function: Callable[..., None], *arguments: Any) -> Any:
    """A process that has torch already; to import it takes longer than all else here."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="torch may be forked on Linux only")


@needs_fork
def test_a_killed_process_goes_on(book: Path, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"

    def train() -> None:
        rate = training.get_lr

        def get_lr(step: int, total: int, lr: float) -> float:
            if step == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return rate(step, total, lr)

        training.get_lr = get_lr
        run("train", book, "--out", torn, *LONG)

    process = forked(train)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [line["step"] for line in metrics_of(torn)] == [1, 2, 3, 4, 5, 6]
    said = run("train", "--out", torn, "--resume")
    assert "goes on after step 4" in said
    run("train", book, "--out", whole, *LONG)
    assert same_training(whole, torn)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    rate = training.get_lr

    def get_lr(step: int, total: int, lr: float) -> float:
        if step == 6:
            signal.raise_signal(number)
        return rate(step, total, lr)

    handlers = [signal.getsignal(other) for other in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(training, "get_lr", get_lr)
        said = run("train", book, "--out", stopped, *LONG, code=128 + number)
    assert f"stopped by {number.name} after step 6 of 11" in said
    assert f"python -m minimind_ref train --out {stopped} --resume" in said
    assert handlers == [signal.getsignal(other) for other in (signal.SIGINT, signal.SIGTERM)]
    assert json.loads((stopped / "training.json").read_text())["step"] == 6
    assert "goes on after step 6" in run("train", "--out", stopped, "--resume")
    run("train", book, "--out", whole, *LONG)
    assert same_training(whole, stopped)


def test_to_go_on_with_a_complete_training_changes_nothing(book: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("train", book, "--out", out, *SMALL, "--steps=2")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".pt"}
    run("train", "--out", out, "--resume")
    assert {name: (out / name).read_bytes() for name in before} == before


def close(one: Path, other: Path) -> bool:
    """The same training but for rounding."""
    weights = [load_file(folder / "model.safetensors") for folder in (one, other)]
    lines = [metrics_of(folder) for folder in (one, other)]
    assert [line["tokens"] for line in lines[0]] == [line["tokens"] for line in lines[1]]
    # Adam makes the same step of a gradient twice as large: its norm has to be looked at, too.
    figures = [torch.tensor([[line["loss"], line["grad_norm"]] for line in of]) for of in lines]
    return torch.allclose(*figures, rtol=1e-3) and all(
        torch.allclose(weights[0][name], weights[1][name], atol=1e-3) for name in weights[0]
    )


# Adam divides by the size of a gradient: with a rate this small, rounding stays rounding.
EVEN = [*SMALL, "--steps=7", "--lr=1e-3"]


def test_batches_accumulate(chats: Path, book: Path, tmp_path: Path) -> None:
    """Replies of different lengths: a micro-batch with more tokens weighs more."""
    run("train", book, "--out", tmp_path / "base", *SMALL, "--steps=1")
    shared = [chats, "--model", tmp_path / "base", "--steps=6", "--lr=1e-3", "--context=40"]
    run("sft", *shared, "--out", tmp_path / "one", "--batch-size=4")
    run("sft", *shared, "--out", tmp_path / "four", "--batch-size=1", "--accumulate=4")
    assert close(tmp_path / "one", tmp_path / "four")


@needs_fork
def test_two_processes_do_what_one_does(book: Path, tmp_path: Path) -> None:
    """As `torchrun` starts them; of the 26 rows not held out, 2 are left for the last step."""
    one, two = tmp_path / "one", tmp_path / "two"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = [*EVEN, "--valid-share=0.1"]

    def train(rank: int) -> None:
        number = str(rank)
        os.environ |= {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        said = run("train", book, "--out", two, *options, "--batch-size=2", "--accumulate=2")
        (tmp_path / number).write_text(said)

    both = [forked(train, rank) for rank in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert "2 processes" in (tmp_path / "0").read_text()
    assert (tmp_path / "1").read_text() == ""
    run("train", book, "--out", one, *options, "--batch-size=8")
    assert close(one, two)
    valid = [metrics_of(folder)[-1]["valid_loss"] for folder in (one, two)]
    assert valid[0] == pytest.approx(valid[1], rel=1e-5)
    assert "--nproc-per-node 2" in refused("train", "--out", two, "--resume")


def test_replies_are_learned(chats: Path, book: Path, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    run("train", book, "--out", base, *SMALL, "--steps=2")
    said = run(
        "sft", chats, "--model", base, "--out", out, "--epochs=20", "--lr=0.01", "--valid", chats
    )
    assert "read 6 conversations" in said and "model is in" in said
    lines = metrics_of(out)
    assert len(lines) == 20 and lines[-1]["loss"] < lines[0]["loss"] - 1
    assert lines[-1]["valid_loss"] < lines[0]["loss"] - 1
    assert load_model(out).vocabulary == load_model(base).vocabulary
    assert load_model(base).config == load_model(out).config


def test_a_tuning_goes_on_without_the_model_it_began_with(
    chats: Path, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, whole, torn = (tmp_path / name for name in ("base", "whole", "torn"))
    run("train", book, "--out", base, *SMALL, "--steps=2")
    options = ["sft", chats, "--model", base, "--steps=5", "--save-every=2"]
    run(*options, "--out", whole)
    with monkeypatch.context() as patch:
        killed_in("save_model", 2, False, patch)
        with pytest.raises(Killed):
            run(*options, "--out", torn)
    run("train", book, "--out", tmp_path / "other", *SMALL, "--steps=2", "--seed=1")
    (base / "model.safetensors").rename(tmp_path / "gone")
    other = ["--model", tmp_path / "other"]
    assert "differs from the model" in refused("sft", "--out", torn, "--resume", *other)
    run("sft", "--out", torn, "--resume")
    assert same_training(whole, torn)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--lr=0.5", "lr: got 0.5, but the training in"),
        ("--steps=9", "steps: got 9"),
        ("--hidden-size=32", "hidden_size: got 32"),
        ("--moe", "use_moe: got True"),
        ("--dtype=bfloat16", "dtype: got bfloat16"),
    ],
)
def test_it_goes_on_with_its_own_settings_alone(
    option: str, named: str, book: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("train", book, "--out", out, *SMALL, "--steps=2")
    assert named in refused("train", "--out", out, "--resume", option)


def test_it_goes_on_with_its_own_data_alone(book: Path, chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("train", book, "--out", out, *SMALL, "--steps=2")
    book.write_text(book.read_text() + "more")
    assert f"{book} differs from the data" in refused("train", "--out", out, "--resume")
    assert "got 2 files of data" in refused("train", book, book, "--out", out, "--resume")
    book.unlink()
    assert f"there is no file {book}" in refused("train", "--out", out, "--resume")
    assert "holds a training of `train`" in refused("sft", "--out", out, "--resume")
    assert "holds no training" in refused("train", "--out", tmp_path, "--resume")
    (out / "training.json").write_text("{")
    assert "is damaged" in refused("train", "--out", out, "--resume")


def test_nothing_is_overwritten_unasked(book: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["train", book, "--out", out, *SMALL, "--steps=2"]
    run(*options)
    before = (out / "model.safetensors").read_bytes()
    (out / "notes.txt").write_text("mine")
    why = refused(*options, "--seed=5")
    assert "model.safetensors" in why and "--resume" in why and "--overwrite" in why
    # What is wrong with the new data is found before the old model is gone.
    assert "no file" in refused("train", "none.txt", "--out", out, *SMALL, "--overwrite")
    assert (out / "model.safetensors").read_bytes() == before
    run(*options, "--seed=5", "--overwrite")
    assert (out / "model.safetensors").read_bytes() != before
    assert (out / "notes.txt").read_text() == "mine"
    assert "is a file" in refused("train", book, "--out", book, *SMALL)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--steps=1", "--epochs=1"], "give one of them"),
        (["--valid=none.txt", "--valid-share=0.1"], "give one of them"),
        (["--vocab-size=100"], "--vocab-size: got 100, want at least 259"),
        (["--heads=3"], "hidden_size"),
        (["--tokenizer=none.json"], "none.json is missing"),
        (["--config=none.json"], "there is no file none.json"),
        (["--device=nonesuch"], "--device nonesuch cannot be used here"),
        (["--valid=none.txt"], "there is no file none.txt"),
    ],
)
def test_impossible_wishes(options: list[str], why: str, book: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert why in refused("train", book, "--out", out, *SMALL, *options)
    assert not out.exists()


def test_a_loss_that_is_no_number_ends_it(book: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    why = refused("train", book, "--out", out, *SMALL, "--steps=9", "--lr=1e38", "--save-every=1")
    assert "is not finite at step" in why and "--lr" in why
    weights = load_file(out / "model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("save_model", OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        ("clip_grad_norm_", torch.OutOfMemoryError("CUDA"), "smaller --batch-size"),
        ("clip_grad_norm_", RuntimeError("DefaultCPUAllocator: can't allocate memory"), "16 rows"),
    ],
)
def test_what_a_machine_lacks_is_said(
    name: str,
    error: Exception,
    why: str,
    book: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(training, name, fail)
    assert why in refused("train", book, "--out", tmp_path / "out", *SMALL, "--steps=2")


def test_a_given_tokenizer_and_sizes(book: Path, tmp_path: Path) -> None:
    run("train", book, "--out", tmp_path / "a", *SMALL, "--steps=1")
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps({"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 300}))
    shared = ["train", book, "--config", sizes, "--tokenizer", tmp_path / "a", "--steps=1"]
    run(*shared, "--out", tmp_path / "b", "--kv-heads=1", "--layers=1")
    loaded = load_model(tmp_path / "b")
    assert (loaded.config.hidden_size, loaded.config.vocab_size) == (8, 300)
    assert loaded.vocabulary == load_model(tmp_path / "a").vocabulary
    sizes.write_text(json.dumps({"width": 8}))
    assert "width is no size of a model" in refused(*shared, "--out", tmp_path / "c")


def test_a_terminal_shows_a_bar(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(progress, "Console", lambda stderr: screen)
    said = run("train", book, "--out", tmp_path / "out", *SMALL, "--steps=3")
    shown = screen.file.getvalue()
    assert "3/3" in shown and "loss 5." in shown and "tokens/s" in shown and "left" in shown
    assert "step 3/3" not in said


def test_without_matplotlib_it_says_so_and_trains(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "can_draw", can_draw)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = run("train", book, "--out", tmp_path / "out", *SMALL, "--steps=1")
    assert "-c constraints.txt -e '.[report]'" in said
    assert not (tmp_path / "out" / "loss.svg").exists()
    assert (tmp_path / "out" / "model.safetensors").exists()
