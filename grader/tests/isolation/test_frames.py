"""Frames follow each other on a stream; what is cut off, too long or no greeting is refused."""

import io
import struct

import pytest

from grader.isolation.frames import (
    MAX_FRAME,
    pack_greeting,
    read_frame,
    unpack_greeting,
    write_frame,
)
from grader.observation.codec import ProtocolError


class TestRoundTrip:
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

    @pytest.mark.parametrize(
        "sent", [b"", b"\xff", b"[]", b"{}", b'{"refusal": 1}', b"null", b"1" * 20_000]
    )
    def test_what_is_no_greeting(self, sent: bytes) -> None:
        with pytest.raises(ProtocolError):
            unpack_greeting(sent)
