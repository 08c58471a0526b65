"""Frames: the packets in which a judge and its worker send each other bytes.

A frame is its length in 8 bytes, little-endian, and then its payload: a pickled request to the
worker, an observation in the form of `grader.observation.codec` back. Everything here that reads
takes bytes that learner code may have written.
"""

from __future__ import annotations

import json
import struct
from typing import BinaryIO

from grader.observation.codec import MOST_BYTES, ProtocolError
from grader.observation.record import LONGEST_TEXT

MAX_FRAME = MOST_BYTES
"""The bytes of the largest reply."""
MAX_REQUEST = 1 << 26
"""The bytes of the largest request, which the judge itself has made."""
_MAX_GREETING = 10_000
_LENGTH = struct.Struct("<Q")
_CHUNK = 1 << 20


def framed(payload: bytes) -> bytes:
    """A payload as the frame that carries it."""
    return _LENGTH.pack(len(payload)) + payload


def write_frame(stream: BinaryIO, payload: bytes) -> None:
    """Send one frame."""
    stream.write(framed(payload))
    stream.flush()


def take_frame(received: bytearray, most: int = MAX_FRAME) -> bytes | None:
    """Take the first frame's payload from what was received; None if it is not all there.

    Raises ProtocolError for a frame of more than `most` bytes.
    """
    if len(received) < _LENGTH.size:
        return None
    end = _LENGTH.size + _length(received, most)
    if len(received) < end:
        return None
    with memoryview(received) as view:
        payload = bytes(view[_LENGTH.size : end])
    del received[:end]
    return payload


def check_end(received: bytearray) -> None:
    """Raise ProtocolError where what was received ends inside a frame."""
    if len(received) >= _LENGTH.size:
        had = len(received) - _LENGTH.size
        length = _length(received, MAX_REQUEST)
        raise ProtocolError(f"the stream ended after {had} of {length} bytes")
    if received:
        raise ProtocolError("the stream ended inside a frame's length")


def read_frame(stream: BinaryIO, most: int = MAX_FRAME) -> bytes | None:
    """Receive one frame; None when the other side has closed the stream between frames.

    Raises ProtocolError for a frame of more than `most` bytes, or one that is cut off.
    """
    received = bytearray()
    missing = _LENGTH.size
    while (payload := take_frame(received, most)) is None:
        if len(received) >= _LENGTH.size:
            missing = _LENGTH.size + _length(received, most) - len(received)
        part = stream.read(min(missing, _CHUNK))
        if not part:
            check_end(received)
            return None
        received += part
        missing -= len(part)
    return payload


def _length(received: bytearray, most: int) -> int:
    length: int = _LENGTH.unpack_from(received)[0]
    if length > most:
        raise ProtocolError(f"a frame of {length} bytes, more than the {most} allowed")
    return length


def pack_greeting(refusal: str) -> bytes:
    """A worker's first frame: why it could not lock itself in, empty if it did."""
    return json.dumps({"refusal": refusal[:LONGEST_TEXT]}).encode()


def unpack_greeting(payload: bytes) -> str:
    """The refusal in a worker's first frame. Raises ProtocolError for anything else."""
    if len(payload) > _MAX_GREETING:
        raise ProtocolError("a greeting that is too long")
    try:
        refusal = json.loads(payload.decode())["refusal"]
    except Exception as error:
        raise ProtocolError(f"not a greeting: {type(error).__name__}") from error
    if type(refusal) is not str or len(refusal) > LONGEST_TEXT:
        raise ProtocolError("a greeting without a text, or with one that is too long")
    return refusal
