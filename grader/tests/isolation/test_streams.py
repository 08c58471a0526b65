"""The judge's end of a stream: it waits for nobody, whatever the other end does."""

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest

from grader.isolation.frames import MAX_FRAME, framed, read_frame, write_frame
from grader.isolation.streams import PipeStream, SocketStream, Stream
from grader.observation.codec import ProtocolError

LONG = 600.0
"""A backstop: what waits for nobody, and for no clock, is long done."""
SHORT = 0.2


class Pair:
    """A stream, and the files that stand for the worker's end of it."""

    def __init__(self, stream: Stream, reader: BinaryIO, writer: BinaryIO) -> None:
        self.stream = stream
        self.reader = reader
        self.writer = writer

    def says(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            self.writer.flush()

    def ends(self) -> None:
        self.writer.close()
        self.reader.close()


def by_socket() -> Pair:
    ours, theirs = socket.socketpair()
    files = theirs.makefile("rb"), theirs.makefile("wb")
    theirs.close()
    return Pair(SocketStream(ours), *files)


def by_pipes() -> Pair:
    to_worker, to_judge = os.pipe(), os.pipe()
    stream = PipeStream(os.fdopen(to_judge[0], "rb"), os.fdopen(to_worker[1], "wb"))
    return Pair(stream, os.fdopen(to_worker[0], "rb"), os.fdopen(to_judge[1], "wb"))


POLLS = pytest.mark.skipif(not hasattr(select, "poll"), reason="workers have sockets on Linux")


@pytest.fixture(params=[pytest.param(by_socket, marks=POLLS), by_pipes], ids=["socket", "pipes"])
def pair(request: Any) -> Iterator[Pair]:
    made: Pair = request.param()
    yield made
    made.stream.close()
    made.ends()


def test_frames_come_and_go_in_order(pair: Pair) -> None:
    pair.stream.send(b"one")
    pair.stream.send(b"")
    assert [read_frame(pair.reader), read_frame(pair.reader)] == [b"one", b""]
    pair.says(framed(b"first"), framed(b""))
    assert pair.stream.receive(LONG) == b"first"
    assert pair.stream.receive(LONG) == b""


def test_a_frame_may_come_in_pieces(pair: Pair) -> None:
    threading.Timer(SHORT, lambda: pair.says(b"e", b"nd")).start()
    pair.says(framed(b"the end")[:-3])
    assert pair.stream.receive(LONG) == b"the end"


def test_at_the_end_of_the_stream_there_is_nothing_more(pair: Pair) -> None:
    pair.says(framed(b"last"))
    pair.ends()
    assert pair.stream.receive(LONG) == b"last"
    assert pair.stream.receive(LONG) is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (framed(b"x" * MAX_FRAME)[:7], "inside a frame's length"),
        (framed(b"four")[:-1], "after 3 of 4 bytes"),
        ((MAX_FRAME + 1).to_bytes(8, "little"), "more than the"),
    ],
)
def test_what_is_no_frame_is_refused(pair: Pair, said: bytes, why: str) -> None:
    pair.says(said)
    pair.ends()
    with pytest.raises(ProtocolError, match=why):
        pair.stream.receive(LONG)


def test_silence_is_waited_for_no_longer_than_asked(pair: Pair) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        pair.stream.receive(SHORT)
    assert SHORT <= time.monotonic() - started < LONG


def test_nor_is_a_frame_that_comes_byte_by_byte(pair: Pair) -> None:
    talking = threading.Event()
    talking.set()

    def talk() -> None:
        pair.says(MAX_FRAME.to_bytes(8, "little"))
        while talking.is_set():
            pair.says(b"x")
            time.sleep(0)

    thread = threading.Thread(target=talk)
    thread.start()
    started = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            pair.stream.receive(SHORT)
        assert time.monotonic() - started < LONG
    finally:
        talking.clear()
        thread.join()


def test_a_worker_that_does_not_read_stops_nobody_and_gets_all_once_it_does(pair: Pair) -> None:
    much = os.urandom(1 << 20) * 8
    pair.stream.send(much)
    pair.stream.send(b"and more")
    heard: list[bytes | None] = []

    def listen() -> None:
        heard.extend([read_frame(pair.reader), read_frame(pair.reader)])
        write_frame(pair.writer, b"heard")

    threading.Thread(target=listen).start()
    assert pair.stream.receive(LONG) == b"heard"
    assert heard == [much, b"and more"]


def test_a_worker_that_is_gone_is_told_by_what_is_received(pair: Pair) -> None:
    pair.ends()
    for _ in range(3):
        pair.stream.send(b"x" * 1_000_000)
    assert pair.stream.receive(LONG) is None
