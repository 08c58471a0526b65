"""The worker's answers as bytes: JSON for what is plain, safetensors for tensors, never pickle.

A frame is `length of the rest (8 bytes) · length of the JSON (8 bytes) · JSON · safetensors`, both
lengths little-endian. Everything here that reads takes bytes that learner code may have written.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from grader.bans import BanHit
from grader.cost import Cost
from grader.observing import DEEPEST, Frame, Observation, Opaque, Plain, Trouble
from grader.recording import Call

MAX_FRAME = 1 << 26
_MAX_JSON = 1 << 22
_LENGTH = struct.Struct("<Q")
_CHUNK = 1 << 20
_KINDS = {
    "not implemented",
    "missing",
    "exception",
    "recursion",
    "timed out",
    "exited",
    "unusable",
    "cannot load",
    "syntax",
    "forbidden import",
    "out of memory",
    "forbidden",
}
"""The troubles that a worker can tell of; the judge finds the others out by itself."""


class ProtocolError(Exception):
    """The bytes are not a frame that our worker writes; the message says how."""


def framed(payload: bytes) -> bytes:
    """A payload as the frame that carries it."""
    return _LENGTH.pack(len(payload)) + payload


def write_frame(stream: BinaryIO, payload: bytes) -> None:
    """Send one frame."""
    stream.write(framed(payload))
    stream.flush()


def take_frame(received: bytearray) -> bytes | None:
    """Take the first frame's payload from what was received; None if it is not all there.

    Raises ProtocolError for a frame that is too long.
    """
    if len(received) < _LENGTH.size:
        return None
    end = _LENGTH.size + _length(received)
    if len(received) < end:
        return None
    payload = bytes(received[_LENGTH.size : end])
    del received[:end]
    return payload


def check_end(received: bytearray) -> None:
    """Raise ProtocolError where what was received ends inside a frame."""
    if len(received) >= _LENGTH.size:
        had = len(received) - _LENGTH.size
        raise ProtocolError(f"the stream ended after {had} of {_length(received)} bytes")
    if received:
        raise ProtocolError("the stream ended inside a frame's length")


def read_frame(stream: BinaryIO) -> bytes | None:
    """Receive one frame; None when the other side has closed the stream between frames.

    Raises ProtocolError for a frame that is too long or cut off.
    """
    received = bytearray()
    missing = _LENGTH.size
    while (payload := take_frame(received)) is None:
        if len(received) >= _LENGTH.size:
            missing = _LENGTH.size + _length(received) - len(received)
        part = stream.read(min(missing, _CHUNK))
        if not part:
            check_end(received)
            return None
        received += part
        missing -= len(part)
    return payload


def _length(received: bytearray) -> int:
    length: int = _LENGTH.unpack_from(received)[0]
    if length > MAX_FRAME:
        raise ProtocolError(f"a frame of {length} bytes, more than the {MAX_FRAME} allowed")
    return length


def pack_greeting(refusal: str) -> bytes:
    """A worker's first frame: why it could not lock itself in, empty if it did."""
    return json.dumps({"refusal": refusal}).encode()


def unpack_greeting(payload: bytes) -> str:
    """The refusal in a worker's first frame. Raises ProtocolError for anything else."""
    try:
        refusal = json.loads(payload)["refusal"]
    except Exception as error:
        raise ProtocolError(f"not a greeting: {type(error).__name__}") from error
    return _text(refusal)


def pack_observation(observation: Observation) -> bytes:
    """An observation as the payload of a frame.

    Raises ValueError for one with larger tensors than a frame may have, before it copies them.
    """
    tensors: dict[str, Tensor] = {}
    header = {
        "outputs": {n: _pack_value(v, tensors) for n, v in observation.outputs.items()},
        "gradients": {n: _pack_value(v, tensors) for n, v in observation.gradients.items()},
        "trouble": observation.trouble and dataclasses.asdict(observation.trouble),
        "modified": observation.modified,
        "disturbed": observation.disturbed,
        "banned": [dataclasses.asdict(hit) for hit in observation.banned],
        "calls": [dataclasses.asdict(call) for call in observation.calls],
        "cost": observation.cost and dataclasses.asdict(observation.cost),
        "printed": observation.printed,
    }
    text = json.dumps(header).encode()
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > MAX_FRAME - _MAX_JSON:
        most = (MAX_FRAME - _MAX_JSON) >> 20
        raise ValueError(f"{size >> 20} MiB, where at most {most} MiB are taken: check the shapes")
    return _LENGTH.pack(len(text)) + text + safetensors.torch.save(tensors)


def unpack_observation(payload: bytes) -> Observation:
    """The observation in a frame's payload. Raises ProtocolError for anything else."""
    try:
        return _unpack(payload)
    except ProtocolError:
        raise
    except Exception as error:  # whatever hostile bytes provoke is the same finding
        raise ProtocolError(f"not an observation: {type(error).__name__}: {error}") from error


def _unpack(payload: bytes) -> Observation:
    if len(payload) < _LENGTH.size:
        raise ProtocolError("a frame without a header")
    (length,) = _LENGTH.unpack(payload[: _LENGTH.size])
    if length > min(_MAX_JSON, len(payload) - _LENGTH.size):
        raise ProtocolError(f"a header of {length} bytes in a frame of {len(payload)}")
    text = payload[_LENGTH.size : _LENGTH.size + length]
    header = json.loads(text)
    _require(isinstance(header, dict), "the header is not an object")
    tensors = safetensors.torch.load(payload[_LENGTH.size + length :])
    return Observation(
        outputs={str(n): _unpack_value(v, tensors) for n, v in _items(header, "outputs")},
        gradients={str(n): _gradient(v, tensors) for n, v in _items(header, "gradients")},
        trouble=_trouble(header["trouble"]),
        modified=_names(header["modified"]),
        disturbed=_names(header["disturbed"]),
        banned=tuple(_record(BanHit, hit) for hit in _list(header["banned"])),
        calls=tuple(_record(Call, call) for call in _list(header["calls"])),
        cost=None if header["cost"] is None else _record(Cost, header["cost"]),
        printed=_text(header["printed"]),
    )


def _pack_value(value: Tensor | Plain | Opaque, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if isinstance(value, Tensor):
        key = str(len(tensors))
        is_complex = value.is_complex()
        tensors[key] = torch.view_as_real(value).contiguous() if is_complex else value.contiguous()
        return {"tensor": key, "complex": is_complex}
    if isinstance(value, Opaque):
        return {"opaque": value.description}
    return {"plain": _pack_plain(value)}


def _pack_plain(value: Any) -> Any:
    """JSON has no tuples, no ints beyond a float's in every reader and no NaN: say each apart."""
    if isinstance(value, tuple):
        return {"tuple": [_pack_plain(item) for item in value]}
    if isinstance(value, list):
        return {"list": [_pack_plain(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": {key: _pack_plain(item) for key, item in value.items()}}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"int": str(value)}
    return value


def _unpack_value(packed: Any, tensors: Mapping[str, Tensor]) -> Tensor | Plain | Opaque:
    _require(isinstance(packed, dict) and len(packed) in (1, 2), "a malformed value")
    if "tensor" in packed:
        value = tensors[packed["tensor"]]
        return torch.view_as_complex(value) if packed["complex"] is True else value
    if "opaque" in packed:
        return Opaque(_text(packed["opaque"]))
    plain: Plain = _unpack_plain(packed["plain"], 0)
    return plain


def _unpack_plain(packed: Any, depth: int) -> Any:
    _require(depth <= DEEPEST, "a value nested too deeply")
    if packed is None or type(packed) in (bool, str):
        return packed
    _require(type(packed) is dict and len(packed) == 1, "a malformed plain value")
    ((kind, content),) = packed.items()
    if kind == "tuple":
        return tuple(_unpack_plain(item, depth + 1) for item in _list(content))
    if kind == "list":
        return [_unpack_plain(item, depth + 1) for item in _list(content)]
    if kind == "dict":
        _require(isinstance(content, dict), "a malformed dict")
        return {key: _unpack_plain(item, depth + 1) for key, item in content.items()}
    if kind == "float":
        return float.fromhex(_text(content))
    _require(kind == "int", f"a value of unknown kind {kind[:40]!r}")
    return int(_text(content))


def _gradient(packed: Any, tensors: Mapping[str, Tensor]) -> Tensor | None:
    value = _unpack_value(packed, tensors)
    if value is None or isinstance(value, Tensor):
        return value
    raise ProtocolError("a gradient that is no tensor")


def _trouble(packed: Any) -> Trouble | None:
    if packed is None:
        return None
    _require(isinstance(packed, dict), "a malformed trouble")
    frames = tuple(_record(Frame, frame) for frame in _list(packed["frames"]))
    trouble: Trouble = _record(Trouble, {**packed, "frames": ()}, frames=frames)
    _require(trouble.kind in _KINDS, "a trouble of an unknown kind")
    _require(trouble.kind != "not implemented" or bool(frames), "a stub without its place")
    return trouble


def _record(cls: type[Any], packed: Any, **given: Any) -> Any:
    """A flat dataclass from its JSON object, each field checked against its annotation."""
    _require(isinstance(packed, dict), f"a malformed {cls.__name__}")
    fields = {item.name: item for item in dataclasses.fields(cls)}
    _require(packed.keys() == fields.keys(), f"the wrong fields in a {cls.__name__}")
    for name, value in packed.items():
        if name not in given:
            wanted = {"str": str, "int": int, "bool": bool}[str(fields[name].type)]
            _require(type(value) is wanted, f"{cls.__name__}.{name} is not {wanted.__name__}")
    return cls(**{**packed, **given})


def _items(header: Mapping[str, Any], key: str) -> Any:
    _require(isinstance(header[key], dict), f"{key} is not an object")
    return header[key].items()


def _list(value: Any) -> list[Any]:
    _require(type(value) is list, "a list is missing")
    return value  # type: ignore[no-any-return]


def _names(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _text(value: Any) -> str:
    _require(type(value) is str, "a text is missing")
    return value  # type: ignore[no-any-return]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolError(what)
