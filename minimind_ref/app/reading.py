"""A user's data: texts, and conversations as JSON lines, with errors that name the line.

Reading takes time and memory in proportion to the data: every byte is looked at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset import END, START
from .errors import UserError
from .vocabulary import SPECIAL_TOKENS

END_OF_TEXT = SPECIAL_TOKENS[0]
"""Between two documents in one text file, as in GPT-2's and TinyStories' files."""

ROLES = ("system", "user", "assistant", "tool")

Message = dict[str, str]
"""``{"role": ..., "content": ...}``."""

_JSON_LINES = (".jsonl", ".ndjson", ".json")
_TEXT_FORM = '{"text": "..."}'
_CONVERSATION_FORM = '{"messages": [{"role": "user", "content": "..."}, ...]}'


@dataclass(frozen=True)
class Source:
    """A file as it was read.

    Attributes:
        path: absolute.
        sha256: of its bytes, in hexadecimal.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Texts:
    """Documents to learn from.

    Attributes:
        documents: none is blank.
        sources: the files they come from.
        blank: how many blank documents were left out.
    """

    documents: list[str]
    sources: list[Source]
    blank: int


@dataclass(frozen=True)
class Conversations:
    """Conversations to learn from; each has at least one reply of the assistant."""

    conversations: list[list[Message]]
    sources: list[Source]


def read_texts(paths: Sequence[Path]) -> Texts:
    """Read text files and JSON lines.

    Args:
        paths: a name that ends in .jsonl, .ndjson or .json holds ``{"text": "..."}`` a line;
            any other file is UTF-8 text, one document, or several with <|endoftext|> between.

    Raises:
        UserError: a file cannot be read as what it should be, or holds no text.
    """
    documents: list[str] = []
    sources: list[Source] = []
    blank = 0
    for path in paths:
        before = len(documents)
        found, source = _found_in(path)
        documents += (document for document in found if document.strip())
        sources.append(source)
        blank += before + len(found) - len(documents)
        if len(documents) == before:
            raise UserError(f"{path} holds no text; want a text to learn from")
    return Texts(documents, sources, blank)


def read_conversations(
    paths: Sequence[Path], reserved: Iterable[str] = (START, END)
) -> Conversations:
    """Read conversations, a JSON object a line.

    Args:
        paths: each line is ``{"conversations": [{"role": ..., "content": ...}, ...]}``, as MiniMind
            writes them, or the same under "messages", as OpenAI does.
        reserved: markers that no message may hold, since they would end it.

    Raises:
        UserError: a line is something else, or a file holds none.
    """
    conversations: list[list[Message]] = []
    sources: list[Source] = []
    for path in paths:
        before = len(conversations)
        lines = _JsonLines(path, _CONVERSATION_FORM)
        for number, fields in lines:
            conversations.append(_conversation_of(lines.place(number), fields, tuple(reserved)))
        sources.append(lines.source())
        if len(conversations) == before:
            raise UserError(f"{path} holds no conversation; want a line {_CONVERSATION_FORM}")
    return Conversations(conversations, sources)


class _JsonLines:
    """The objects of a file, with their line numbers; blank lines are passed over."""

    def __init__(self, path: Path, form: str) -> None:
        self._path = path
        self._form = form
        self._hash = hashlib.sha256()

    def place(self, number: int) -> str:
        return f"{self._path}, line {number}"

    def source(self) -> Source:
        """What was read, once all of it was."""
        return Source(str(self._path.resolve()), self._hash.hexdigest())

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        _check_is_file(self._path)
        offset = 0
        try:
            with self._path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    self._hash.update(raw)
                    line = _decoded(raw, self._path, first_line=number, first_byte=offset)
                    offset += len(raw)
                    if line.strip():
                        yield number, self._object(number, line.rstrip())
        except OSError as error:
            raise _unreadable(self._path, error) from None

    def _object(self, number: int, line: str) -> dict[str, Any]:
        place = self.place(number)
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            hint = _list_hint(self._path) if line in ("[", "{") else ""
            what = _lower(error.msg).removesuffix(" at")
            raise UserError(
                f"{place}: this is not JSON, {what} at column {error.colno}; want "
                f"{self._form} on a line of its own{hint}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: this JSON cannot be read: {error}") from None
        if not isinstance(value, dict):
            hint = _list_hint(self._path) if isinstance(value, list) else ""
            raise UserError(f"{place}: got {_kind(value)}, want {self._form}{hint}")
        return value


def _found_in(path: Path) -> tuple[list[str], Source]:
    """All documents of a file, blank ones too."""
    if path.suffix.lower() in _JSON_LINES:
        lines = _JsonLines(path, _TEXT_FORM)
        return [_text_of(lines, number, fields) for number, fields in lines], lines.source()
    data = _bytes_of(path)
    source = Source(str(path.resolve()), hashlib.sha256(data).hexdigest())
    return _documents_of(_decoded(data, path)), source


def _text_of(lines: _JsonLines, number: int, fields: dict[str, Any]) -> str:
    place = lines.place(number)
    if "text" not in fields:
        raise UserError(f'{place}: "text" is missing{_what_is_there(fields)}; want {_TEXT_FORM}')
    return _string(place, '"text"', fields["text"])


def _conversation_of(
    place: str, fields: dict[str, Any], reserved: tuple[str, ...]
) -> list[Message]:
    key = next((key for key in ("conversations", "messages") if key in fields), None)
    if key is None:
        raise UserError(
            f'{place}: "messages" (or "conversations") is missing{_what_is_there(fields)}; '
            f"want {_CONVERSATION_FORM}"
        )
    messages = fields[key]
    if not isinstance(messages, list):
        raise UserError(f'{place}: "{key}" is {_kind(messages)}, want a list of messages')
    if not messages:
        raise UserError(f'{place}: "{key}" is empty, want at least a question and a reply')
    checked = [
        _message_of(f"{place}, message {count}", message, reserved)
        for count, message in enumerate(messages, 1)
    ]
    if all(message["role"] != "assistant" for message in checked):
        raise UserError(
            f"{place}: there is no reply to learn; want at least one message with the role "
            '"assistant"'
        )
    return checked


def _message_of(place: str, message: Any, reserved: tuple[str, ...]) -> Message:
    if not isinstance(message, dict):
        raise UserError(f'{place}: got {_kind(message)}, want {{"role": "user", "content": "..."}}')
    for key in ("role", "content"):
        if key not in message:
            raise UserError(
                f'{place}: "{key}" is missing{_what_is_there(message)}; '
                'want {"role": "user", "content": "..."}'
            )
    role, content = (_string(place, f'"{key}"', message[key]) for key in ("role", "content"))
    if role not in ROLES:
        raise UserError(f'{place}: the role is "{role}", want one of {", ".join(ROLES)}')
    for marker in reserved:
        if marker in content:
            raise UserError(
                f"{place}: the content holds {marker}, which marks where a message begins or "
                "ends; take it out"
            )
    return {"role": role, "content": content}


def _string(place: str, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"{place}: {name} is {_kind(value)}, want a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        raise UserError(
            f"{place}: {name} holds {half} at character {error.start + 1}, half of a pair that "
            "stands for nothing alone; take it out"
        ) from None
    return value


def _documents_of(text: str) -> list[str]:
    if END_OF_TEXT not in text:
        return [text]
    parts = [part.strip("\n") for part in text.split(END_OF_TEXT)]
    # A marker behind the last document ends it and begins none.
    return parts if parts[-1].strip() else parts[:-1]


def _bytes_of(path: Path) -> bytes:
    _check_is_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder, want files; name those in it, such as {path}/*.txt")
    if not path.exists():
        raise UserError(f"there is no file {path}")


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read: {error.strerror or error}")


def _decoded(data: bytes, path: Path, *, first_line: int = 1, first_byte: int = 0) -> str:
    """UTF-8 with any kind of line ends, and without a mark at the beginning of the file."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise UserError(
            f"{path}, line {line}: byte {first_byte + error.start} of the file is "
            f"0x{data[error.start]:02x}, which is not UTF-8; want a text in UTF-8{_guess(data)}"
        ) from None
    if first_byte == 0:
        text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n")


def _guess(data: bytes) -> str:
    if data.startswith(b"\x1f\x8b"):
        return ". It looks like a gzip file: unpack it first"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ". It looks like UTF-16: save it as UTF-8"
    return ""


def _list_hint(path: Path) -> str:
    return (
        f". If the whole file is one JSON list, `jq -c '.[]' {path} > FILE.jsonl` makes lines of it"
    )


def _what_is_there(fields: dict[str, Any]) -> str:
    names = ", ".join(f'"{name}"' for name in list(fields)[:5])
    return f" (there is {names})" if names else ""


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
