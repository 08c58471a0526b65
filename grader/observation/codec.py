"""An observation as bytes and back: JSON for what is plain, safetensors for tensors, never pickle.

The bytes are `length of the JSON (8 bytes, little-endian) · JSON · safetensors`. A worker sends
them to its judge; the diagnosis compares by them. What reads them takes bytes that learner code may
have written.

How much one observation may hold is limited here and nowhere later: what compares it, keeps it and
shows it can rely on there being little of everything. Our worker cuts what an honest answer might
have too much of, texts above all; so more than that was not written by our worker.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from grader.observation.bans import BanHit
from grader.observation.calls import Call
from grader.observation.cost import Cost
from grader.observation.kind import Kind
from grader.observation.record import (
    DEEPEST,
    DTYPES,
    FRAMES_LIMIT,
    LARGEST,
    LONGEST_TEXT,
    MOST_CHARACTERS,
    MOST_DIMENSIONS,
    MOST_HITS,
    MOST_PRINTED,
    MOST_VALUES,
    Frame,
    Interruption,
    Observation,
    Opaque,
    Plain,
)

MOST_BYTES = 1 << 23
"""The bytes of the largest observation; the course's own answers need a sixtieth of that."""
_MAX_JSON = 1 << 19
_MAX_TENSOR_NAMES = 1 << 17
"""The bytes that safetensors has for the names, dtypes and shapes of the tensors."""
_LONGEST_DIGITS = 4_000
_LARGEST_COUNT = 1 << 63
"""Lines and costs stay below it."""
_MOST_LISTED = 1_000
"""The outputs, gradients, calls and names of one observation, of each kind."""
_LENGTH = struct.Struct("<Q")


class ProtocolError(Exception):
    """The bytes are not what our worker writes; the message says how."""


def pack_observation(observation: Observation) -> bytes:
    """An observation as bytes; texts and lists that are too long are cut.

    Raises ValueError for one with more or larger outputs than can be sent, before it copies them.
    """
    for many in (observation.outputs, observation.gradients):
        if len(many) > _MOST_LISTED:
            raise ValueError(f"{len(many)} of them, where at most {_MOST_LISTED} are taken")
    tensors: dict[str, Tensor] = {}
    header = {
        "outputs": {n: _pack_value(v, tensors) for n, v in observation.outputs.items()},
        "gradients": {n: _pack_value(v, tensors) for n, v in observation.gradients.items()},
        "trouble": observation.interruption and _fields(observation.interruption),
        "modified": [_cut(name) for name in observation.modified[:_MOST_LISTED]],
        "disturbed": [_cut(name) for name in observation.disturbed[:_MOST_LISTED]],
        "banned": [_fields(hit) for hit in observation.banned[:MOST_HITS]],
        "calls": [_fields(call) for call in _ends(observation.calls)],
        "cost": observation.cost and _fields(observation.cost),
        "printed": observation.printed[: MOST_PRINTED + 1],
    }
    # What is printed need not be proper Unicode.
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(text) > _MAX_JSON:
        raise ValueError(f"{len(text)} bytes of plain values, where at most {_MAX_JSON} are taken")
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > MOST_BYTES - 2 * _MAX_JSON:
        most = (MOST_BYTES - 2 * _MAX_JSON) >> 20
        raise ValueError(f"{size >> 20} MiB, where at most {most} MiB are taken: check the shapes")
    return _LENGTH.pack(len(text)) + text + safetensors.torch.save(tensors)


def unpack_observation(payload: bytes) -> Observation:
    """The observation that some bytes hold. Raises ProtocolError for anything else."""
    try:
        return _unpack(payload)
    except ProtocolError:
        raise
    except Exception as error:  # whatever hostile bytes provoke is the same finding
        why = f"{type(error).__name__}: {error}"[:LONGEST_TEXT]
        raise ProtocolError(f"not an observation: {why}") from error


def _unpack(payload: bytes) -> Observation:
    if len(payload) < _LENGTH.size:
        raise ProtocolError("a frame without a header")
    (length,) = _LENGTH.unpack(payload[: _LENGTH.size])
    if length > min(_MAX_JSON, len(payload) - _LENGTH.size):
        raise ProtocolError(f"a header of {length} bytes in a frame of {len(payload)}")
    text = payload[_LENGTH.size : _LENGTH.size + length]
    header = _parsed(text)
    _require(isinstance(header, dict), "the header is not an object")
    tensors = _tensors(payload[_LENGTH.size + length :])
    room = _Room()
    observation = Observation(
        outputs={_text(n): _value(v, tensors, room) for n, v in _items(header, "outputs")},
        gradients={_text(n): _gradient(v, tensors) for n, v in _items(header, "gradients")},
        interruption=_interruption(header["trouble"]),
        modified=_names(header["modified"]),
        disturbed=_names(header["disturbed"]),
        banned=tuple(_record(BanHit, hit) for hit in _list(header["banned"], MOST_HITS)),
        calls=tuple(_record(Call, call) for call in _list(header["calls"])),
        cost=None if header["cost"] is None else _record(Cost, header["cost"]),
        printed=_text(header["printed"], MOST_PRINTED + 1),
    )
    _require(not tensors, "a tensor that is no output and no gradient")
    return observation


def _parsed(text: bytes) -> Any:
    """The header's JSON; without the collector, which would look through the judge again and again
    while half a million brackets come in."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    finally:
        if collects:
            gc.enable()


class _Room:
    """What is left of the plain values and characters that one observation may have."""

    def __init__(self) -> None:
        self._values = MOST_VALUES
        self._characters = MOST_CHARACTERS

    def take(self, values: int, characters: int = 0) -> None:
        self._values -= values
        self._characters -= characters
        _require(self._values >= 0 and self._characters >= 0, "more plain values than are taken")


def _tensors(packed: bytes) -> dict[str, Tensor]:
    """The tensors by their keys, none of them larger or odder than our worker sends."""
    _require(len(packed) >= _LENGTH.size, "no tensors, not even none")
    (names,) = _LENGTH.unpack(packed[: _LENGTH.size])
    _require(names <= _MAX_TENSOR_NAMES, "too many tensors")
    tensors = safetensors.torch.load(packed)
    for tensor in tensors.values():
        _require(tensor.dtype in DTYPES, "a tensor of a dtype that is not taken")
        _require(tensor.dim() <= MOST_DIMENSIONS + 1, "a tensor of too many dimensions")
        small = tensor.nbytes <= LARGEST and max(tensor.shape, default=0) <= LARGEST
        _require(small, "a tensor that is too large")
    return tensors


def _fields(record: Any) -> dict[str, Any]:
    """A flat record as JSON's object; the frames of an interruption are too."""
    return {field.name: _cut(getattr(record, field.name)) for field in dataclasses.fields(record)}


def _cut(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_fields(item) for item in value]
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _ends(calls: Sequence[Call]) -> Sequence[Call]:
    """The calls of a scenario, the middle ones left out where there are too many."""
    return calls if len(calls) <= _MOST_LISTED else (*calls[: _MOST_LISTED - 1], calls[-1])


def _pack_value(value: Tensor | Plain | Opaque, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if isinstance(value, Tensor):
        key = str(len(tensors))
        is_complex = value.is_complex()
        tensors[key] = torch.view_as_real(value).contiguous() if is_complex else value.contiguous()
        return {"tensor": key, "complex": is_complex}
    if isinstance(value, Opaque):
        return {"opaque": _cut(value.description)}
    return {"plain": _pack_plain(value)}


def _pack_plain(value: Any) -> Any:
    """JSON has no tuples, bytes, NaN, nor in every reader ints beyond a float's: say each apart."""
    if isinstance(value, tuple):
        return {"tuple": [_pack_plain(item) for item in value]}
    if isinstance(value, list):
        return {"list": [_pack_plain(item) for item in value]}
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            return {"dict": {key: _pack_plain(item) for key, item in value.items()}}
        return {"pairs": [[_pack_plain(key), _pack_plain(item)] for key, item in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"int": str(value)}
    return value


def _value(packed: Any, tensors: dict[str, Tensor], room: _Room) -> Tensor | Plain | Opaque:
    _require(isinstance(packed, dict) and len(packed) in (1, 2), "a malformed value")
    if "tensor" in packed:
        value = tensors.pop(packed["tensor"])  # each of them is sent for one name alone
        return torch.view_as_complex(value) if packed["complex"] is True else value
    if "opaque" in packed:
        return Opaque(_text(packed["opaque"]))
    plain: Plain = _plain(packed["plain"], 0, room)
    return plain


def _plain(packed: Any, depth: int, room: _Room) -> Any:
    _require(depth <= DEEPEST, "a value nested too deeply")
    if packed is None or type(packed) is bool:
        return packed
    if type(packed) is str:
        room.take(0, len(packed))
        return packed
    _require(type(packed) is dict and len(packed) == 1, "a malformed plain value")
    ((kind, content),) = packed.items()
    if kind in ("tuple", "list"):
        _require(type(content) is list, "a list is missing")
        room.take(len(content))
        items = [_plain(item, depth + 1, room) for item in content]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        _require(type(content) is dict, "a malformed dict")
        room.take(len(content), sum(map(len, content)))
        return {key: _plain(item, depth + 1, room) for key, item in content.items()}
    if kind == "pairs":
        _require(type(content) is list, "a malformed dict")
        room.take(len(content))
        return dict(_pair(pair, depth + 1, room) for pair in content)
    if kind == "bytes":
        room.take(0, len(_text(content, 2 * MOST_CHARACTERS)))
        return bytes.fromhex(content)
    if kind == "float":
        return float.fromhex(_text(content))
    _require(kind == "int", f"a value of unknown kind {kind[:40]!r}")
    digits = _text(content, _LONGEST_DIGITS)
    room.take(0, len(digits))
    return int(digits)


def _pair(packed: Any, depth: int, room: _Room) -> tuple[Any, Any]:
    """A key of a dict and what it stands for."""
    _require(type(packed) is list and len(packed) == 2, "a malformed dict")
    key = _plain(packed[0], depth, room)
    _require(type(key) in (str, bytes, int), "a key that is not taken")
    return key, _plain(packed[1], depth, room)


def _gradient(packed: Any, tensors: dict[str, Tensor]) -> Tensor | None:
    value = _value(packed, tensors, _Room())
    if value is None or isinstance(value, Tensor):
        return value
    raise ProtocolError("a gradient that is no tensor")


def _interruption(packed: Any) -> Interruption | None:
    if packed is None:
        return None
    _require(isinstance(packed, dict), "a malformed interruption")
    frames = tuple(_record(Frame, frame) for frame in _list(packed["frames"], FRAMES_LIMIT))
    kind = _kind(packed["kind"])
    _require(kind is not Kind.NOT_IMPLEMENTED or bool(frames), "a stub without its place")
    interruption: Interruption = _record(
        Interruption, {**packed, "kind": kind, "frames": ()}, kind=kind, frames=frames
    )
    return interruption


def _kind(packed: Any) -> Kind:
    """What went wrong, in the words that are a worker's to use."""
    text = _text(packed)
    known = text in set(Kind) and Kind(text).worker_may_report
    _require(known, "an interruption of an unknown kind")
    return Kind(text)


def _record(cls: type[Any], packed: Any, **given: Any) -> Any:
    """A flat dataclass from its JSON object, each field checked against its annotation."""
    _require(isinstance(packed, dict), f"a malformed {cls.__name__}")
    fields = {item.name: item for item in dataclasses.fields(cls)}
    _require(packed.keys() == fields.keys(), f"the wrong fields in a {cls.__name__}")
    for name, value in packed.items():
        if name not in given:
            wanted = {"str": str, "int": int, "bool": bool}[str(fields[name].type)]
            _require(type(value) is wanted, f"{cls.__name__}.{name} is not {wanted.__name__}")
            size, most = (
                (len(value), LONGEST_TEXT) if wanted is str else (abs(value), _LARGEST_COUNT)
            )
            _require(size <= most, f"{cls.__name__}.{name} is too large")
    return cls(**{**packed, **given})


def _items(header: Mapping[str, Any], key: str) -> Any:
    _require(isinstance(header[key], dict), f"{key} is not an object")
    _require(len(header[key]) <= _MOST_LISTED, f"too many {key}")
    return header[key].items()


def _list(value: Any, most: int = _MOST_LISTED) -> list[Any]:
    _require(type(value) is list, "a list is missing")
    _require(len(value) <= most, "a list that is too long")
    return value  # type: ignore[no-any-return]


def _names(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _text(value: Any, most: int = LONGEST_TEXT) -> str:
    _require(type(value) is str, "a text is missing")
    _require(len(value) <= most, "a text that is too long")
    return value  # type: ignore[no-any-return]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolError(what)
