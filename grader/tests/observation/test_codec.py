"""An observation arrives as it was sent, and bytes that are none are refused in one way only."""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from grader.observation.bans import BanHit
from grader.observation.calls import Call
from grader.observation.codec import ProtocolError, pack_observation, unpack_observation
from grader.observation.cost import Cost
from grader.observation.kind import Kind
from grader.observation.record import Frame, Interruption, Observation, Opaque

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
]
FULL = Observation(
    outputs={
        "a tensor": torch.arange(6.0).reshape(2, 3),
        "complex": torch.tensor([1 + 2j]),
        "plain": (1, [2.5, "x", None, True], {"k": -(10**30)}),
        "odd": math.inf,
        "opaque": Opaque("a function"),
    },
    gradients={"q": torch.ones(2, dtype=torch.bfloat16), "k": None},
    modified=("x", "w.q"),
    disturbed=("the grad mode",),
    banned=(BanHit(3, "torch.softmax", "torch.softmax"),),
    calls=(Call("f", "None"),),
    cost=Cost(1, 4, 1, 0),
    printed="héllo\n\x00\ud800",
)
INTERRUPTED = Observation(
    interruption=Interruption(
        Kind.EXCEPTION,
        "ValueError",
        "why",
        (Frame("/a.py", 3, "f", "raise ValueError"),),
        in_backward=True,
    )
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return (
            isinstance(right, Tensor)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and torch.equal(left, right)
        )
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return type(left) is type(right) and left == right


def assert_same(left: Observation, right: Observation) -> None:
    assert same(dict(left.outputs), dict(right.outputs))
    assert same(dict(left.gradients), dict(right.gradients))
    bare = {"outputs": {}, "gradients": {}}
    assert replace(left, **bare) == replace(right, **bare)


class TestRoundTrip:
    @pytest.mark.parametrize("observation", [Observation(), FULL, INTERRUPTED])
    def test_an_observation_arrives_unchanged(self, observation: Observation) -> None:
        assert_same(unpack_observation(pack_observation(observation)), observation)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
    def test_every_dtype_and_shape(self, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        value = torch.ones(shape).to(dtype)
        observation = Observation(outputs={"x": value})
        assert_same(unpack_observation(pack_observation(observation)), observation)

    def test_nan_and_minus_zero_keep_their_bits(self) -> None:
        value = torch.tensor([math.nan, -0.0, math.inf, -math.inf])
        back = unpack_observation(pack_observation(Observation(outputs={"x": value})))
        got = back.outputs["x"]
        assert isinstance(got, Tensor)
        assert torch.equal(got.view(torch.int32), value.view(torch.int32))


def with_header(change: Callable[[dict[str, Any]], object], observation: Observation) -> bytes:
    """The bytes of an observation whose header somebody has changed."""
    payload = pack_observation(observation)
    (length,) = struct.unpack("<Q", payload[:8])
    header = json.loads(payload[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload[8 + length :]


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = {"list": [value]}
    return value


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a key is missing": lambda h: h.pop("printed"),
    "outputs are a list": lambda h: h.update(outputs=[]),
    "an output is a bare number": lambda h: h["outputs"].update(x=3),
    "an output names a tensor that is not there": lambda h: h["outputs"].update(
        x={"tensor": "99", "complex": False}
    ),
    "a real tensor is called complex": lambda h: h["outputs"]["a tensor"].update(complex=True),
    "a plain value of an unknown kind": lambda h: h["outputs"].update(
        x={"plain": {"pickle": "gASV"}}
    ),
    "a plain number without its kind": lambda h: h["outputs"].update(x={"plain": 1}),
    "a whole number in letters": lambda h: h["outputs"].update(x={"plain": {"int": "ten"}}),
    "a whole number of many digits": lambda h: h["outputs"].update(
        x={"plain": {"int": "9" * 10_000}}
    ),
    "a value nested too deeply": lambda h: h["outputs"].update(x={"plain": nested(30)}),
    "a gradient that is no tensor": lambda h: h["gradients"].update(x={"plain": "text"}),
    "a name that is a number": lambda h: h.update(modified=[3]),
    "names in a text": lambda h: h.update(disturbed="abc"),
    "a hit with a field too many": lambda h: h["banned"][0].update(points=100),
    "a line that is true": lambda h: h["banned"][0].update(line=True),
    "a cost in words": lambda h: h["cost"].update(flops="none"),
    "printed bytes": lambda h: h.update(printed=None),
    "a stub that is nowhere": lambda h: h.update(trouble=interrupted(kind="not implemented")),
    "a frame without a line": lambda h: h.update(
        trouble=interrupted(frames=[{"path": "", "function": "", "text": ""}])
    ),
    "an error in bytes": lambda h: h.update(trouble=interrupted(message=[0])),
}


def interrupted(**changed: Any) -> dict[str, Any]:
    """An interruption as it stands in a header."""
    header = {
        "kind": "exception",
        "type_name": "",
        "message": "",
        "frames": [],
        "in_backward": False,
        "at_load": False,
        "context": "",
        "how": "",
    }
    return header | changed


def header_says(**changed: Any) -> bytes:
    """The bytes of an observation with an interruption that somebody has written."""
    return with_header(lambda h: h.update(trouble=interrupted(**changed)), Observation())


@pytest.mark.parametrize("kind", Kind)
def test_a_worker_reports_what_it_can_know_and_nothing_else(kind: Kind) -> None:
    place = {"path": "/a.py", "line": 1, "function": "f", "text": "..."}
    payload = header_says(kind=str(kind), frames=[place])
    if kind.worker_may_report:
        seen = unpack_observation(payload).interruption
        assert seen is not None and seen.kind is kind
    else:
        with pytest.raises(ProtocolError, match="an interruption of an unknown kind"):
            unpack_observation(payload)


@pytest.mark.parametrize("kind", ["all right", "", "EXCEPTION", 3, None, ["exception"]])
def test_an_invented_kind_is_refused(kind: object) -> None:
    with pytest.raises(ProtocolError, match="unknown kind|a text is missing"):
        unpack_observation(header_says(kind=kind))


@pytest.mark.parametrize("change", HEADERS)
def test_a_header_that_our_worker_would_not_write_is_refused(change: str) -> None:
    with pytest.raises(ProtocolError):
        unpack_observation(with_header(HEADERS[change], FULL))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        b"\x80\x04K\x01.",  # a pickle
    ],
)
def test_bytes_that_are_no_observation_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack_observation(payload)
