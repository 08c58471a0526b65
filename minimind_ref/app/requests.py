"""What programs may ask for in OpenAI's protocol, checked and named as `writing` names it.

The fields are those of OpenAI's API reference for chat completions and completions. A field that
would change the answer in a way which there is not here is refused, and so is one that nobody
knows: an answer that silently ignores half of the question is worse than none. Beside them
stand `top_k` and `repetition_penalty`, as other servers of open models have them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .writing import Message, Settings

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# They say nothing about the text.
_IGNORED = {
    *("model", "messages", "prompt", "user", "metadata", "store", "service_tier"),
    *("safety_identifier", "prompt_cache_key"),
}
# Fields that may be there as long as they ask for what there is anyhow.
_ONLY: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "echo": (False,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
_MOST_STOPS = 4


class BadRequest(Exception):
    """A request that cannot be answered.

    Args:
        message: what is wrong.
        param: the field.
        code: OpenAI's word for it.
    """

    def __init__(self, message: str, param: str | None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        model: the name of the model.
        messages: of a conversation, or None.
        prompt: the text to continue, or None.
        settings: how to write.
        streams: whether the answer shall come piece by piece.
        with_usage: whether a stream shall end with how many tokens there were.
    """

    model: str
    messages: list[Message] | None
    prompt: str | None
    settings: Settings
    streams: bool
    with_usage: bool


def chat_request(body: Any) -> Request:
    """Read the body of `POST /v1/chat/completions`. BadRequest: it asks for what is not here."""
    fields = _fields(body)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", messages, "a list with at least one message")
    read = [_message(message, f"messages[{i}]") for i, message in enumerate(messages)]
    return _request(fields, read, None, None)


def completion_request(body: Any) -> Request:
    """Read the body of `POST /v1/completions`. BadRequest: it asks for what is not here."""
    fields = _fields(body)
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise _wrong("prompt", prompt, "a text: one prompt a request")
    return _request(fields, None, prompt, 16)  # the default of the protocol


def _fields(body: Any) -> dict[str, Any]:
    """All fields that are there; null means the default."""
    if not isinstance(body, dict):
        raise BadRequest(f"The body must be a JSON object, not {_kind(body)}.", None)
    return {name: value for name, value in body.items() if value is not None}


def _request(
    fields: dict[str, Any],
    messages: list[Message] | None,
    prompt: str | None,
    most_tokens: int | None,
) -> Request:
    model = fields.get("model")
    if not isinstance(model, str):
        raise _wrong("model", model, "the name of a model; GET /v1/models lists it")
    for name, wanted in _ONLY.items():
        # True is 1 in Python, but not in JSON.
        if name in fields and not any(
            fields[name] == want and isinstance(fields[name], bool) == isinstance(want, bool)
            for want in wanted
        ):
            only = " or ".join(map(repr, wanted))
            raise BadRequest(f"{name} is not supported here, unless it is {only}.", name)
    streams = _flag(fields, "stream")
    with_usage = _stream_options(fields, streams)
    settings = Settings(
        max_new_tokens=_most_tokens(fields, most_tokens),
        temperature=_number(fields, "temperature", 1.0, 0.0, 2.0),
        top_k=_integer(fields, "top_k", 0, 0),
        top_p=_number(fields, "top_p", 1.0, 0.0, 1.0),
        repetition_penalty=_repetition_penalty(fields),
        stop=_stops(fields),
        seed=_integer(fields, "seed", None, -(2**63)),
    )
    known = {
        *("stream", "stream_options", "temperature", "top_k", "top_p", "repetition_penalty"),
        *("stop", "seed", "max_tokens", "max_completion_tokens", *_ONLY, *_IGNORED),
    }
    if unknown := sorted(set(fields) - known):
        raise BadRequest(f"There is no field {unknown[0]!r} here.", unknown[0])
    return Request(model, messages, prompt, settings, streams, with_usage)


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise _wrong(where, message, "an object with role and content")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{where}.role", role, f"one of {', '.join(_ROLES)}")
    if message.get("tool_calls") or message.get("function_call"):
        raise BadRequest(
            f"{where}.tool_calls: this model cannot call tools.", f"{where}.tool_calls"
        )
    return {"role": _ROLES[role], "content": _text(message.get("content"), f"{where}.content")}


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong(where, content, "a text, or a list of text parts")
    texts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise _wrong(f"{where}[{i}].type", kind, "'text': this model reads nothing else")
        if not isinstance(part.get("text"), str):
            raise _wrong(f"{where}[{i}].text", part.get("text"), "a text")
        texts.append(part["text"])
    return "".join(texts)


def _most_tokens(fields: Mapping[str, Any], default: int | None) -> int | None:
    names = [name for name in ("max_completion_tokens", "max_tokens") if name in fields]
    if len(names) == 2:
        raise BadRequest("Give max_completion_tokens or max_tokens, not both.", "max_tokens")
    return _integer(fields, names[0], None, 1) if names else default


def _stream_options(fields: Mapping[str, Any], streams: bool) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise _wrong("stream_options", options, "an object")
    if not streams:
        raise BadRequest("stream_options is only for answers with stream set.", "stream_options")
    return _flag(options, "include_usage", "stream_options.include_usage")


def _stops(fields: Mapping[str, Any]) -> tuple[str, ...]:
    stop = fields.get("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS:
        raise _wrong("stop", stop, f"a text, or a list of at most {_MOST_STOPS}")
    for text in stops:
        if not isinstance(text, str) or not text:
            raise _wrong("stop", text, "texts that are not empty")
    return tuple(stops)


def _repetition_penalty(fields: Mapping[str, Any]) -> float:
    penalty = _number(fields, "repetition_penalty", 1.0, 0.0, math.inf)
    if penalty == 0:
        raise _wrong("repetition_penalty", penalty, "a number above 0")
    return penalty


def _flag(fields: Mapping[str, Any], name: str, shown: str | None = None) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(shown or name, value, "true or false")
    return value


def _number(
    fields: Mapping[str, Any], name: str, default: float, least: float, most: float
) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, value, "a number")
    if not (least <= value <= most and math.isfinite(value)):
        wanted = f"from {least:g} to {most:g}" if math.isfinite(most) else f"{least:g} or more"
        raise _wrong(name, value, f"a number, {wanted}")
    return float(value)


def _integer(fields: Mapping[str, Any], name: str, default: int | None, least: int) -> Any:
    value = fields.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, value, "an integer")
    if not least <= value < 2**63:
        raise _wrong(name, value, f"an integer, {least} or more and below 2^63")
    return value


def _wrong(param: str, got: Any, want: str) -> BadRequest:
    shown = repr(got) if isinstance(got, str | int | float) else _kind(got)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return BadRequest(f"{param}: got {shown}, want {want}.", param)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)
