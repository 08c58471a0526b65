"""Single keys from the terminal, as they are pressed: POSIX by termios, Windows by msvcrt.

A key is the character it types, or one of the names in `NAMES`.
"""

from __future__ import annotations

import codecs
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType

NAMES = (
    *("up", "down", "left", "right", "home", "end", "page up", "page down"),
    *("enter", "escape", "backspace", "interrupt", "suspend"),
)

_SEQUENCES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "1~": "home",
    "4~": "end",
    "5~": "page up",
    "6~": "page down",
    "7~": "home",
    "8~": "end",
}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x03": "interrupt",
    "\x04": "interrupt",
    "\x1a": "suspend",
}
_CHUNK = 1024
_ESCAPE_SECONDS = 0.05
"""How long the rest of a key's sequence may take to arrive before an escape was one by itself."""

Pressed = Callable[[str], None]


def keys_in(text: str) -> tuple[list[str], str]:
    """The keys that a terminal's text stands for, and the start of a sequence at its end."""
    keys: list[str] = []
    place = 0
    while place < len(text):
        if text[place] != "\x1b" or text[place + 1 : place + 2] not in ("", "[", "O"):
            keys += _key(text[place])
            place += 1
            continue
        end = _end_of_sequence(text, place)
        if end is None:
            return keys, text[place:]
        keys += [_SEQUENCES[name]] if (name := text[place + 2 : end]) in _SEQUENCES else []
        place = end
    return keys, ""


def _end_of_sequence(text: str, place: int) -> int | None:
    """Where a sequence ends: parameters below "@" come first, then one character from there on."""
    for end in range(place + 2, len(text)):
        if "@" <= text[end] <= "~":
            return end + 1
    return None


def _key(character: str) -> list[str]:
    if character in _CONTROLS:
        return [_CONTROLS[character]]
    return [character] if character.isprintable() else []


if sys.platform == "win32":
    import msvcrt

    _SCAN_CODES = {
        "H": "up",
        "P": "down",
        "K": "left",
        "M": "right",
        "G": "home",
        "O": "end",
        "I": "page up",
        "Q": "page down",
    }

    class RawKeys:
        """While entered, hands every key to `pressed`, in a thread of its own."""

        def __init__(self, pressed: Pressed) -> None:
            self._pressed = pressed

        def __enter__(self) -> RawKeys:
            threading.Thread(target=self._read, daemon=True).start()
            return self

        def __exit__(self, *_: object) -> None:
            pass  # the thread waits for a key that nobody will hear, and ends with the process

        def _read(self) -> None:
            while True:
                character = msvcrt.getwch()
                if character in ("\x00", "\xe0"):
                    character = _SCAN_CODES.get(msvcrt.getwch(), "")
                    keys = [character] if character else []
                else:
                    keys = _key(character)
                for key in keys:
                    self._pressed(key)

else:
    import select
    import termios

    def _read_or_nothing(descriptor: int) -> bytes:
        try:
            return os.read(descriptor, _CHUNK)
        except OSError:  # a terminal that was closed
            return b""

    class RawKeys:
        """While entered, hands every key to `pressed`, in a thread of its own, and echoes none."""

        def __init__(self, pressed: Pressed) -> None:
            self._pressed = pressed
            self._terminal = sys.stdin.fileno()

        def __enter__(self) -> RawKeys:
            self._stop, self._stopped = os.pipe()
            self._before = termios.tcgetattr(self._terminal)
            raw = termios.tcgetattr(self._terminal)
            raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
            termios.tcsetattr(self._terminal, termios.TCSANOW, raw)
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            os.write(self._stopped, b"\n")
            self._thread.join()
            termios.tcsetattr(self._terminal, termios.TCSAFLUSH, self._before)
            os.close(self._stop)
            os.close(self._stopped)

        def _read(self) -> None:
            decode = codecs.getincrementaldecoder("utf-8")(errors="ignore").decode
            text = ""
            while True:
                patience = _ESCAPE_SECONDS if text else None
                ready, _, _ = select.select([self._terminal, self._stop], [], [], patience)
                if self._stop in ready:
                    return
                if ready:
                    read = _read_or_nothing(self._terminal)
                    if not read:  # the terminal is gone
                        self._pressed("interrupt")
                        return
                    keys, text = keys_in(text + decode(read))
                else:
                    keys, text = (["escape"] if text == "\x1b" else []), ""
                for key in keys:
                    self._pressed(key)
