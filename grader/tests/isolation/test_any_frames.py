"""Whatever bytes arrive are an observation or a ProtocolError, nothing else.

`EXAMPLES=30000` searches far longer than a run of the tests can: 60,000 mutated frames and more.
"""

import io
import os
import select
import socket
from collections.abc import Callable
from typing import Any

import pytest

from grader.isolation.frames import framed, read_frame
from grader.isolation.streams import SocketStream
from grader.observation.codec import ProtocolError, pack_observation, unpack_observation
from grader.observation.record import MOST_HITS
from grader.tests.observation.test_codec import FULL, with_header

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

EXAMPLES = int(os.environ.get("EXAMPLES", "300"))

searched = hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES == 300
)
keys = st.sampled_from(["tensor", "plain", "int", "float", "list", "dict", "complex", "opaque"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["outputs", "gradients", "trouble", "modified", "banned", "calls", "cost"])


def only_a_protocol_error(read: Callable[[Any], Any], given: Any) -> None:
    try:
        read(given)
    except ProtocolError:
        pass


@searched
@hypothesis.given(st.binary(max_size=200))
def test_random_bytes(payload: bytes) -> None:
    only_a_protocol_error(unpack_observation, payload)


@searched
@hypothesis.given(st.data())
def test_mutated_frames(data: Any) -> None:
    payload = bytearray(pack_observation(FULL))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(payload) - 1))
        payload[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    only_a_protocol_error(unpack_observation, bytes(payload))
    only_a_protocol_error(unpack_observation, bytes(payload[:cut]))


@searched
@hypothesis.given(anything, fields)
def test_anything_in_any_field(value: Any, field: str) -> None:
    payload = with_header(lambda header: header.update({field: value}), FULL)
    only_a_protocol_error(unpack_observation, payload)


@searched
@hypothesis.given(st.dictionaries(st.text(max_size=5), anything, max_size=3))
def test_any_outputs(outputs: dict[str, Any]) -> None:
    payload = with_header(lambda header: header.update(outputs=outputs), FULL)
    only_a_protocol_error(unpack_observation, payload)


@searched
@hypothesis.given(st.binary(max_size=40))
def test_any_stream(sent: bytes) -> None:
    only_a_protocol_error(read_frame, io.BytesIO(sent))


def received(receive: Callable[[], bytes | None]) -> list[bytes | str]:
    """All that comes until the end, and why it ended where that was no end."""
    came: list[bytes | str] = []
    try:
        while (payload := receive()) is not None:
            came.append(payload)
    except ProtocolError as error:
        came.append(str(error))
    return came


@pytest.mark.skipif(not hasattr(select, "poll"), reason="workers have sockets on Linux alone")
@searched
@hypothesis.given(st.lists(st.binary(max_size=20) | st.binary(max_size=20).map(framed)))
def test_a_socket_gives_what_a_file_does(pieces: list[bytes]) -> None:
    file = io.BytesIO(b"".join(pieces))
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    for piece in pieces:
        theirs.send(piece)
    theirs.close()
    came = received(lambda: stream.receive(10.0))
    stream.close()
    assert came == received(lambda: read_frame(file))


@searched
@hypothesis.given(
    st.sampled_from(["modified", "disturbed", "banned", "calls"]), st.integers(0, 1_200)
)
def test_however_much_comes_little_is_taken(field: str, count: int) -> None:
    item = {
        "banned": {"line": 1, "spelling": "", "ban": "", "file": ""},
        "calls": {"name": "", "returned": ""},
    }.get(field, "")
    payload = with_header(lambda header: header.update({field: [item] * count}), FULL)
    most = MOST_HITS if field == "banned" else 1_000
    try:
        assert len(getattr(unpack_observation(payload), field)) == count <= most
    except ProtocolError:
        assert count > most
