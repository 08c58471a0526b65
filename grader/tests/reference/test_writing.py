"""What a model writes is what `generate` writes, in whole characters, and ends where it should."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from grader.tests.reference.talking import ANSWERS, conversation, talking_model
from minimind_ref.app.cli import commands
from minimind_ref.app.decoder import FastDecoder
from minimind_ref.app.errors import UserError
from minimind_ref.app.folders import LoadedModel, save_model
from minimind_ref.app.vocabulary import Vocabulary
from minimind_ref.app.writing import Continuation, Settings, TooLong, Writer
from minimind_ref.dataset import render_chat
from minimind_ref.generate import generate

CHINESE = "你是谁？"
PARIS = "Where is Paris?"


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer(talking_model())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talking")
    loaded = talking_model()
    save_model(folder, loaded.config, loaded.model.state_dict(), loaded.vocabulary)
    return folder


def answer(writer: Writer, question: str, **settings: Any) -> Continuation:
    return writer.answer(conversation(question), Settings(**{"temperature": 0.0, **settings}))


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(commands, arguments, input=stdin)


class OnlyTokens(torch.nn.Module):
    """The model without the ids that no token has."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.loaded = loaded

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = self.loaded.model(*args, **kwargs)
        out.logits[..., len(self.loaded.vocabulary) :] = -torch.inf
        return out


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_ends_with_its_turn(writer: Writer, question: str) -> None:
    continuation = answer(writer, question)
    assert "".join(continuation) == ANSWERS[question]
    assert continuation.finish_reason == "stop"
    ids = writer.vocabulary.tokenizer.encode
    assert continuation.prompt_tokens == len(ids(render_chat(conversation(question), True)))
    assert continuation.completion_tokens == len(ids(ANSWERS[question])) + 1


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0, "repetition_penalty": 1.7},
        {"temperature": 1.5, "top_k": 7, "top_p": 0.9, "seed": 3},
        {"temperature": 1.2, "top_p": 0.7, "repetition_penalty": 1.3, "seed": 4},
    ],
)
def test_tokens_are_those_of_generate(writer: Writer, settings: dict[str, Any]) -> None:
    loaded = talking_model()
    prompt = writer.conversation(conversation(PARIS))
    rest = dict(settings)
    if seed := rest.pop("seed", None):
        rest["generator"] = torch.Generator().manual_seed(seed)
    page = generate(
        OnlyTokens(loaded), torch.tensor([prompt]), max_new_tokens=40, eos_token_id=2, **rest
    )
    hidden = loaded.vocabulary.hidden_ids
    new = [token for token in page[0, len(prompt) :].tolist() if token not in hidden]
    got = "".join(answer(writer, PARIS, max_new_tokens=40, **settings))
    assert got == loaded.vocabulary.tokenizer.decode(new)


def test_pieces_are_whole_characters(writer: Writer) -> None:
    pieces = list(answer(writer, CHINESE))
    assert all(pieces) and "😀" in pieces
    assert len(pieces) >= 10


def test_a_seed_decides_and_without_one_it_differs(writer: Writer) -> None:
    def drawn(seed: int | None) -> str:
        return "".join(answer(writer, PARIS, temperature=3.0, seed=seed, max_new_tokens=30))

    assert drawn(5) == drawn(5) != drawn(6)
    assert drawn(None) != drawn(None)


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        (("four",), "one two three "),
        (("zzz", "e f"), "one two thre"),
        (("one",), ""),
        (("sevens", "seven!"), "one two three four five six seven"),
    ],
)
def test_a_stop_text_ends_it_and_is_not_seen(
    writer: Writer, stop: tuple[str, ...], left: str
) -> None:
    continuation = answer(writer, "Count!", stop=stop)
    seen = ""
    for piece in continuation:
        seen += piece
        assert left.startswith(seen)
    assert (seen, continuation.finish_reason) == (left, "stop")


def test_the_number_of_tokens_ends_it(writer: Writer) -> None:
    continuation = answer(writer, "Count!", max_new_tokens=4)
    assert ANSWERS["Count!"].startswith("".join(continuation))
    assert (continuation.finish_reason, continuation.completion_tokens) == ("length", 4)


def test_the_context_ends_it(writer: Writer) -> None:
    loaded = talking_model()
    prompt = "one two three four" * 5
    continuation = writer.continue_text(prompt, Settings(seed=1, temperature=2.0))
    list(continuation)
    while continuation.finish_reason == "stop":
        continuation = writer.continue_text(prompt, Settings(temperature=2.0))
        list(continuation)
    assert continuation.finish_reason == "length"
    used = continuation.prompt_tokens + continuation.completion_tokens
    assert used == loaded.config.max_position_embeddings


def test_a_prompt_that_fills_the_context_is_refused(writer: Writer) -> None:
    with pytest.raises(TooLong, match=r"got 300 tokens to read, want at most 95"):
        writer.continue_text("z" * 300, Settings())


def test_ids_without_a_token_are_never_drawn() -> None:
    loaded = talking_model()

    class Lures(FastDecoder):
        """Likes best what no text has."""

        def _read(self, ids: Any) -> torch.Tensor:
            logits = super()._read(ids)
            logits[len(loaded.vocabulary) :] = 1e4
            return logits

    writer = Writer(loaded, Lures(loaded.model))
    assert "".join(answer(writer, PARIS)) == ANSWERS[PARIS]


def test_special_tokens_are_not_seen_unless_they_are_visible() -> None:
    loaded = talking_model()
    vocabulary = loaded.vocabulary
    start = vocabulary.id_of("<|im_start|>")

    class Begins(FastDecoder):
        def prefill(self, ids: Any) -> torch.Tensor:
            self._kept = super().prefill(ids)
            return torch.nn.functional.one_hot(torch.tensor(start), len(self._kept)).float()

        def step(self, token: int) -> torch.Tensor:
            return self._kept if token == start else super().step(token)

    def written(visible: tuple[str, ...]) -> str:
        shown = Vocabulary(vocabulary.vocab, vocabulary.merges, visible=visible)
        model = LoadedModel(loaded.config, loaded.model, shown)
        return "".join(answer(Writer(model, Begins(loaded.model)), PARIS, max_new_tokens=5))

    assert written(()).startswith("Paris")
    assert written(("<|im_start|>",)).startswith("<|im_start|>Paris")


def test_a_vocabulary_without_turns_cannot_chat() -> None:
    loaded = talking_model()
    plain = Vocabulary(loaded.vocabulary.vocab, loaded.vocabulary.merges, ("<|endoftext|>",))
    writer = Writer(LoadedModel(loaded.config, loaded.model, plain))
    with pytest.raises(UserError, match="lacks <|im_start|>"):
        writer.answer(conversation(PARIS), Settings())
    assert "".join(writer.continue_text("on", Settings(max_new_tokens=2, seed=1)))


def test_half_a_character_is_refused(writer: Writer) -> None:
    with pytest.raises(UserError, match="surrogate"):
        writer.continue_text("a\ud83d", Settings())


def test_the_command_prints_what_comes(folder: Path) -> None:
    prompt = render_chat(conversation(PARIS), add_generation_prompt=True)
    for arguments, stdin in (((prompt,), None), ((), prompt.encode())):
        done = run("generate", str(folder), *arguments, "--temperature", "0", stdin=stdin)
        assert done.stdout == ANSWERS[PARIS] + "\n", done.output


def test_the_command_prints_json(folder: Path) -> None:
    prompt = render_chat(conversation(CHINESE), add_generation_prompt=True)
    options = ["--temperature", "0", "--stop", "，", "--json"]
    said = json.loads(run("generate", str(folder), prompt, *options).stdout)
    assert said["text"] == "我是一个小模型😀"
    assert said["finish_reason"] == "stop"
    assert said["prompt_tokens"] == 15


def test_the_command_says_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    assert "holds no model" in str(run("generate", str(tmp_path), "x").exception)
    assert "--device nowhere cannot be used" in str(
        run("generate", str(folder), "x", "--device", "nowhere").exception
    )
    assert "not UTF-8" in str(run("generate", str(folder), stdin=b"\xff").exception)
    assert run("generate", str(folder), "x", "--top-p", "0").exit_code == 2
