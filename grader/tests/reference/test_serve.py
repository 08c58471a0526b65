"""The server, as the `openai` client and plain HTTP see it, on a port of this machine."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from grader.tests.reference.talking import ANSWERS, conversation, talking_model
from minimind_ref.app.cli import commands
from minimind_ref.app.decoder import FastDecoder
from minimind_ref.app.errors import UserError
from minimind_ref.app.folders import save_model
from minimind_ref.app.serve import LARGEST_BODY, application, listen
from minimind_ref.app.writing import Writer

openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")

PARIS, COUNT, CHINESE = "Where is Paris?", "Count!", "你是谁？"
CHAT = "/v1/chat/completions"


class Watched(FastDecoder):
    """A decoder that counts, and that waits when it is told to."""

    steps = 0
    reading = 0
    most_reading = 0
    may_go_on = threading.Event()
    waits_at: int | None = None

    def prefill(self, ids: Any) -> torch.Tensor:
        Watched.reading += 1
        Watched.most_reading = max(Watched.most_reading, Watched.reading)
        logits = super().prefill(ids)
        Watched.reading -= 1
        return logits

    def step(self, token: int) -> torch.Tensor:
        Watched.steps += 1
        if Watched.steps == Watched.waits_at:
            assert Watched.may_go_on.wait(60)
        return super().step(token)


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    Watched.steps, Watched.waits_at = 0, None
    Watched.may_go_on.clear()
    yield
    Watched.may_go_on.set()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    loaded = talking_model()
    writer = Writer(loaded, Watched(loaded.model))
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(application(writer, "tiny"), log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Any]:
    base = f"http://127.0.0.1:{port}/v1"
    with openai.OpenAI(api_key="none", base_url=base, max_retries=0, timeout=120) as client:
        yield client


def ask(client: Any, question: str, **options: Any) -> Any:
    fields = {"model": "tiny", "temperature": 0, "messages": conversation(question), **options}
    return client.chat.completions.create(**fields)


def post(port: int, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_models_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.parametrize("question", ANSWERS)
def test_it_answers(client: Any, question: str) -> None:
    said = ask(client, question)
    (choice,) = said.choices
    assert (choice.message.role, choice.message.content) == ("assistant", ANSWERS[question])
    assert (choice.finish_reason, said.object, said.model) == ("stop", "chat.completion", "tiny")
    ids = talking_model().vocabulary.tokenizer.encode(ANSWERS[question])
    assert said.usage.completion_tokens == len(ids) + 1
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens


def test_it_streams(client: Any) -> None:
    options = {"include_usage": True}
    *chunks, last = ask(client, CHINESE, stream=True, stream_options=options)
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == ANSWERS[CHINESE]
    assert len(pieces) > 10
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert len({chunk.id for chunk in [*chunks, last]}) == 1
    assert last.choices == [] and last.usage == ask(client, CHINESE).usage
    assert all(chunk.usage is None for chunk in chunks)


def test_pieces_come_while_the_model_writes(client: Any) -> None:
    Watched.waits_at = 8
    stream = iter(ask(client, COUNT, stream=True))
    early = [next(stream) for _ in range(5)]
    assert Watched.steps <= 8
    Watched.may_go_on.set()
    chunks = [*early, *stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWERS[COUNT]


def test_a_stream_ends_with_done(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        body = {"model": "tiny", "messages": conversation(PARIS), "stream": True, "temperature": 0}
        connection.request("POST", CHAT, json.dumps(body))
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, rest = answer.read().decode().split("\n\n")
    assert (events[-1], rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") for event in events)


def test_lengths_stops_and_seeds(client: Any) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        said = ask(client, COUNT, **{name: 3})
        assert said.choices[0].finish_reason == "length"
        assert said.usage.completion_tokens == 3
    for stop in ("four", ["four", "never"]):
        said = ask(client, COUNT, stop=stop).choices[0]
        assert (said.message.content, said.finish_reason) == ("one two three ", "stop")

    def drawn(seed: int) -> str:
        said = ask(client, PARIS, seed=seed, temperature=2.0, top_p=0.99, max_tokens=30)
        return str(said.choices[0].message.content)

    assert drawn(1) == drawn(1) != drawn(2)


def test_content_may_be_parts(client: Any) -> None:
    parts = [{"type": "text", "text": PARIS[:5]}, {"type": "text", "text": PARIS[5:]}]
    said = ask(client, "", messages=[{"role": "user", "content": parts}])
    assert said.choices[0].message.content == ANSWERS[PARIS]


def test_several_clients_are_answered_one_after_the_other(client: Any) -> None:
    Watched.most_reading = 0
    questions = [*ANSWERS] * 3

    def answered(place: int) -> str:
        if place % 2:
            chunks = ask(client, questions[place], stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        return str(ask(client, questions[place]).choices[0].message.content)

    with ThreadPoolExecutor(len(questions)) as pool:
        got = list(pool.map(answered, range(len(questions))))
    assert got == [*ANSWERS.values()] * 3
    assert Watched.most_reading == 1


def test_a_client_that_goes_away_ends_its_answer(client: Any) -> None:
    Watched.waits_at = 4
    stream = ask(client, COUNT, stream=True)
    next(iter(stream))
    stream.close()
    Watched.may_go_on.set()
    assert ask(client, PARIS).choices[0].message.content == ANSWERS[PARIS]
    ids = talking_model().vocabulary.tokenizer.encode
    whole = len(ids(ANSWERS[COUNT])) + len(ids(ANSWERS[PARIS]))
    assert Watched.steps < whole


def test_a_client_that_does_not_wait_ends_its_answer(port: int, client: Any) -> None:
    Watched.waits_at = 4
    body = json.dumps({"model": "tiny", "temperature": 0, "messages": conversation(COUNT)})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", CHAT, body)
    for _ in range(600):
        if Watched.steps == Watched.waits_at:
            break
        threading.Event().wait(0.1)
    connection.close()
    # The server has seen it once it answers another.
    client.models.list()
    Watched.may_go_on.set()
    assert ask(client, PARIS).choices[0].message.content == ANSWERS[PARIS]
    ids = talking_model().vocabulary.tokenizer.encode
    assert Watched.steps < len(ids(ANSWERS[COUNT])) + len(ids(ANSWERS[PARIS]))


def test_texts_are_continued(client: Any) -> None:
    prompt = "<|im_start|>user\nCount!<|im_end|>\n<|im_start|>assistant\n"
    fields: dict[str, Any] = {"model": "tiny", "prompt": prompt, "temperature": 0}
    said = client.completions.create(**fields, max_tokens=60)
    assert (said.choices[0].text, said.choices[0].finish_reason) == (ANSWERS[COUNT], "stop")
    chunks = client.completions.create(**fields, max_tokens=60, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == ANSWERS[COUNT]
    assert client.completions.create(**fields).usage.completion_tokens == 16


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": "z" * 300}]}, "messages"),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "messages"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"seed": "one"}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": -1}, "presence_penalty"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_what_is_not_here_is_refused_by_name(
    port: int, changes: dict[str, Any], param: str
) -> None:
    body = {"model": "tiny", "messages": conversation(PARIS), **changes}
    status, said = post(port, CHAT, json.dumps(body).encode())
    assert status == 400
    assert set(said["error"]) == {"message", "type", "param", "code"}
    assert (said["error"]["param"], said["error"]["type"]) == (param, "invalid_request_error")
    assert said["error"]["message"]


def test_what_asks_for_the_usual_is_accepted(client: Any) -> None:
    usual = {
        "n": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "stop": None,
        "seed": None,
        "response_format": {"type": "text"},
        "user": "me",
        "stream": False,
    }
    assert ask(client, PARIS, **usual).choices[0].message.content == ANSWERS[PARIS]


def test_errors_have_their_status(port: int, client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        ask(client, PARIS, model="other")
    assert error.value.code == "model_not_found"
    for body in (b"", b"{", b"[1]", b'{"a": "\xff"}', b"[" * 100_000):
        status, said = post(port, CHAT, body)
        assert (status, said["error"]["type"]) == (400, "invalid_request_error"), body[:20]
    status, said = post(port, CHAT, b" " * (LARGEST_BODY + 1))
    assert status == 413 and "larger" in said["error"]["message"]
    status, said = post(port, "/v1/other", b"{}")
    assert status == 404 and said["error"]["message"]
    status, said = post(port, "/v1/models", b"{}")
    assert status == 405 and said["error"]["message"]


def test_a_model_that_fails_says_so(
    port: int, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(Watched, "prefill", failing)
        with pytest.raises(openai.InternalServerError) as error:
            ask(client, PARIS)
        assert "secret" not in str(error.value)
        with pytest.raises(openai.APIError, match="failed"):
            list(ask(client, PARIS, stream=True))
    assert ask(client, PARIS).choices[0].message.content == ANSWERS[PARIS]


def test_a_port_that_is_taken_is_said(port: int) -> None:
    with pytest.raises(UserError, match=f"port {port}.*--port"):
        listen("127.0.0.1", port)


def test_the_command_says_where_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = talking_model()
    save_model(tmp_path / "tiny", loaded.config, loaded.model.state_dict(), loaded.vocabulary)
    served: list[str] = []
    monkeypatch.setattr(
        "minimind_ref.app.serve.run", lambda writer, name, listener: served.append(name)
    )
    done = CliRunner().invoke(commands, ["serve", str(tmp_path / "tiny"), "--port", "0"])
    assert served == ["tiny"]
    assert "tiny answers at http://127.0.0.1:" in done.stdout
