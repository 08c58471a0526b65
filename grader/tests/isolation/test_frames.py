"""What a worker answers arrives unchanged, and what is no answer is refused in one way only."""

import io
import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from grader.isolation.frames import (
    MAX_FRAME,
    ProtocolError,
    pack_greeting,
    pack_observation,
    read_frame,
    unpack_greeting,
    unpack_observation,
    write_frame,
)
from grader.observation.bans import BanHit
from grader.observation.calls import Call
from grader.observation.cost import Cost
from grader.observation.observe import Frame, Observation, Opaque, Trouble

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
TROUBLED = Observation(
    trouble=Trouble(
        "exception",
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
    @pytest.mark.parametrize("observation", [Observation(), FULL, TROUBLED])
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

    def test_frames_follow_each_other_on_a_stream(self) -> None:
        stream = io.BytesIO()
        for payload in (b"one", b"", b"three"):
            write_frame(stream, payload)
        stream.seek(0)
        assert [read_frame(stream) for _ in range(4)] == [b"one", b"", b"three", None]

    def test_a_stream_that_gives_a_byte_at_a_time_will_do(self) -> None:
        class Slow(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(size or 0, 1))

        stream = io.BytesIO()
        write_frame(stream, b"patience")
        assert read_frame(Slow(stream.getvalue())) == b"patience"

    @pytest.mark.parametrize("refusal", ["", "no Landlock here"])
    def test_a_greeting(self, refusal: str) -> None:
        assert unpack_greeting(pack_greeting(refusal)) == refusal


class TestRefusedStreams:
    @pytest.mark.parametrize(
        ("sent", "why"),
        [
            (b"\x01", "inside a frame's length"),
            (struct.pack("<Q", 5) + b"1234", "after 4 of 5 bytes"),
            (struct.pack("<Q", MAX_FRAME + 1), "more than the"),
            (struct.pack("<q", -1), "more than the"),
        ],
    )
    def test_what_is_cut_off_or_too_long(self, sent: bytes, why: str) -> None:
        with pytest.raises(ProtocolError, match=why):
            read_frame(io.BytesIO(sent))

    @pytest.mark.parametrize("sent", [b"", b"\xff", b"[]", b"{}", b'{"refusal": 1}', b"null"])
    def test_what_is_no_greeting(self, sent: bytes) -> None:
        with pytest.raises(ProtocolError):
            unpack_greeting(sent)


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
    "a trouble that only the judge can know": lambda h: h.update(
        trouble=trouble_header(kind="no file")
    ),
    "a trouble of an invented kind": lambda h: h.update(trouble=trouble_header(kind="all right")),
    "a stub that is nowhere": lambda h: h.update(trouble=trouble_header(kind="not implemented")),
    "a frame without a line": lambda h: h.update(
        trouble=trouble_header(frames=[{"path": "", "function": "", "text": ""}])
    ),
}


def trouble_header(**changed: Any) -> dict[str, Any]:
    header = {
        "kind": "exception",
        "type_name": "",
        "message": "",
        "frames": [],
        "in_backward": False,
        "at_load": False,
    }
    return header | changed


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
