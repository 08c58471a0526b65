"""The judge's end of the conversation with a worker: frames out, frames in, nothing that waits.

A worker may never read, never write, or write without end: sending does not wait for it, receiving
waits as long as it is told to, and of what a worker sends no more is kept than one frame and a
little.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
import time
from typing import BinaryIO, Protocol

from grader.isolation import frames
from grader.observation.codec import ProtocolError

_CHUNK = 1 << 20
_TRICKLE = 4096
_PAUSE_SECONDS = 0.005
"""Who sends a frame byte by byte is listened to once in a while, or each byte would be work."""
_UNREAD = 2
"""Frames that may wait to be read: the reply, and one too many, which gives the answer away."""


class Stream(Protocol):
    """Frames to a worker and from it. Whether it is still there, receiving tells."""

    def send(self, payload: bytes) -> None:
        """Begin to send a frame."""

    def receive(self, seconds: float) -> bytes | None:
        """The next frame, None at the end of the stream.

        Raises TimeoutError where it does not come in time, and ProtocolError for what is no frame.
        """

    def close(self) -> None:
        """End the conversation."""


class SocketStream:
    """By a socket, in the caller's own thread: what cannot be sent at once goes while it waits.

    Another thread would get its turn when the judge's has a pause, milliseconds too late.
    """

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)
        self._socket = stream
        self._unsent = bytearray()
        self._received = bytearray()

    def send(self, payload: bytes) -> None:
        self._unsent += frames.framed(payload)
        self._push()

    def receive(self, seconds: float) -> bytes | None:
        deadline = time.monotonic() + seconds
        trickles = False
        while (payload := frames.take_frame(self._received)) is None:
            if trickles:
                time.sleep(_PAUSE_SECONDS)
            poll = select.poll()
            poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            left = deadline - time.monotonic()
            if left <= 0 or not (ready := poll.poll(left * 1000)):  # it may send byte after byte
                raise TimeoutError
            if ready[0][1] & select.POLLOUT:
                self._push()
            had = len(self._received)
            if ready[0][1] & ~select.POLLOUT and not self._pull():
                frames.check_end(self._received)
                return None
            trickles = 0 < len(self._received) - had < _TRICKLE
        return payload

    def _push(self) -> None:
        with contextlib.suppress(OSError):  # its death is told where the reply is received
            del self._unsent[: self._socket.send(self._unsent)]

    def _pull(self) -> bool:
        """Read what is there; False at the end."""
        try:
            piece = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._received += piece
        return bool(piece)

    def close(self) -> None:
        self._socket.close()


class PipeStream:
    """By two pipes, which not every system can wait for with a limit: a thread for each.

    The threads close the pipes: whoever else did would wait for them.
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._replies: queue.Queue[bytes | None | Exception] = queue.Queue(_UNREAD)
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, args=(reader,), daemon=True).start()
        threading.Thread(target=self._write, args=(writer,), daemon=True).start()

    def send(self, payload: bytes) -> None:
        self._requests.put(payload)

    def receive(self, seconds: float) -> bytes | None:
        try:
            reply = self._replies.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        self._requests.put(None)

    def _read(self, stream: BinaryIO) -> None:
        """Read until the end; a worker that sends more than it was asked for is read no further."""
        last: Exception | None = None
        with contextlib.suppress(queue.Full, OSError), stream:
            try:
                while (payload := frames.read_frame(stream)) is not None:
                    self._replies.put_nowait(payload)
            except ProtocolError as error:
                last = error
            except (OSError, ValueError):
                pass  # it was ended by us
            self._replies.put_nowait(last)

    def _write(self, stream: BinaryIO) -> None:
        with contextlib.suppress(OSError, ValueError), stream:  # its death is told by the reply
            while (payload := self._requests.get()) is not None:
                frames.write_frame(stream, payload)
