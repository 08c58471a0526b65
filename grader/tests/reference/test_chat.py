"""A conversation in the terminal, from lines that are piped in."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from grader.tests.reference.talking import ANSWERS, talking_model
from minimind_ref.app.chat import Conversation, chat
from minimind_ref.app.cli import commands
from minimind_ref.app.decoder import FastDecoder
from minimind_ref.app.errors import UserError
from minimind_ref.app.folders import LoadedModel, save_model
from minimind_ref.app.vocabulary import Vocabulary
from minimind_ref.app.writing import Settings, TooLong, Writer

PARIS, COUNT, CHINESE = "Where is Paris?", "Count!", "你是谁？"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talking")
    loaded = talking_model()
    save_model(folder, loaded.config, loaded.model.state_dict(), loaded.vocabulary)
    return folder


def talk(folder: Path, *lines: str, options: tuple[str, ...] = ()) -> Result:
    arguments = ["chat", str(folder), "--temperature", "0", *options]
    return CliRunner().invoke(commands, arguments, input="".join(f"{line}\n" for line in lines))


def conversing(**settings: Any) -> Conversation:
    return Conversation(Writer(talking_model()), Settings(temperature=0.0, **settings))


def test_it_answers_each_line(folder: Path) -> None:
    done = talk(folder, CHINESE, "/clear", "", PARIS, "/quit", COUNT)
    assert done.stdout.splitlines() == [
        ANSWERS[CHINESE],
        "The conversation is forgotten.",
        ANSWERS[PARIS],
    ]
    assert done.exit_code == 0


def test_it_knows_its_commands(folder: Path) -> None:
    out = talk(folder, "/help", "/hello").stdout
    for command in ("/clear", "/help", "/quit", "Ctrl-C", "Ctrl-D"):
        assert command in out
    assert "There is no command /hello" in out


def test_the_model_reads_all_that_was_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    prefill = FastDecoder.prefill

    def noted(self: FastDecoder, ids: Any) -> Any:
        read.append(talking_model().vocabulary.tokenizer.decode(ids))
        return prefill(self, ids)

    monkeypatch.setattr(FastDecoder, "prefill", noted)
    talk(folder, COUNT, PARIS, options=("--system", "Hi"))
    told = "<|im_start|>system\nHi<|im_end|>\n<|im_start|>user\nCount!<|im_end|>\n"
    assert read[0] == told + "<|im_start|>assistant\n"
    assert read[1].startswith(f"{told}<|im_start|>assistant\n")
    assert read[1].endswith(f"<|im_start|>user\n{PARIS}<|im_end|>\n<|im_start|>assistant\n")


def test_what_no_longer_fits_is_forgotten_from_the_front() -> None:
    talked = conversing()
    talked.system = "Hi"
    assert talked.ask(COUNT) == 0
    talked.answered(ANSWERS[COUNT])
    assert talked.ask(PARIS) == 0
    talked.answered(ANSWERS[PARIS])
    assert talked.ask(CHINESE) == 2
    said = [message["content"] for message in talked.messages()]
    assert said == ["Hi", PARIS, ANSWERS[PARIS], CHINESE]


def test_what_is_left_begins_with_a_question() -> None:
    talked = conversing()
    for size in range(1, 12):
        talked.ask("a" * size)
        assert [turn["role"] for turn in talked.turns][::2] == ["user"] * len(talked.turns[::2])
        talked.answered("b" * 2 * size)


def test_that_it_forgets_is_said(folder: Path) -> None:
    out = talk(folder, PARIS, COUNT, CHINESE, PARIS).stdout
    assert "messages are forgotten" in out


def test_a_message_too_long_by_itself_is_said_and_not_kept(folder: Path) -> None:
    talked = conversing()
    talked.ask(COUNT)
    talked.answered(ANSWERS[COUNT])
    with pytest.raises(TooLong, match="fewer than 96 tokens"):
        talked.ask("z" * 200)
    assert [turn["content"] for turn in talked.turns] == [COUNT, ANSWERS[COUNT]]
    assert ANSWERS[PARIS] in talk(folder, "z" * 200, PARIS).stdout


def test_an_answer_that_breaks_off_says_so(folder: Path) -> None:
    out = talk(folder, COUNT, options=("--max-new-tokens", "3")).stdout
    assert "longer than there was room for" in out


def test_ctrl_c_ends_the_answer_and_not_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    step = FastDecoder.step

    def interrupted(self: FastDecoder, token: int) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt
        return step(self, token)

    monkeypatch.setattr(FastDecoder, "step", interrupted)
    lines = iter([COUNT, KeyboardInterrupt(), "/clear", PARIS])

    def read() -> str:
        line = next(lines, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    chat(Writer(talking_model()), Settings(temperature=0.0), system=None, read=read)
    out = capsys.readouterr().out
    first, _, rest = out.partition("\n(stopped)\n")
    assert first and ANSWERS[COUNT].startswith(first)
    assert "/quit" in rest and rest.endswith(ANSWERS[PARIS] + "\n")


def test_a_model_that_cannot_chat_is_refused_at_once() -> None:
    loaded = talking_model()
    plain = Vocabulary(loaded.vocabulary.vocab, loaded.vocabulary.merges, ())
    writer = Writer(LoadedModel(loaded.config, loaded.model, plain))
    with pytest.raises(UserError, match="generate"):
        chat(writer, Settings(), system=None, read=lambda: "")
