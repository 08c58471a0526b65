"""Make text that comes from an answer safe to show: on a terminal, in a CI log, in a report."""

from __future__ import annotations

import re
import unicodedata

_DANGEROUS = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Control and format characters (colours, cursor, bidi, zero width), surrogates, odd line ends."""
_COMMAND = re.compile(r"^(\s*)(::)")
"""How a line starts that GitHub would obey."""
_COMMAND_ANYWHERE = re.compile(r"##(?=\w*\[)")
"""What GitHub, Azure and TeamCity look for in the middle of a line too."""
_LONGEST = 500
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^/\\'\"\s]+[/\\])+")
"""What stands before a file's name: temporary folders have another name in every run."""
_NAMES = re.compile(r"\[(?:'[^'\]]*'?(?:, )?)+(?:\]|$)")
"""A list of names as Python writes it, perhaps cut off."""


def sanitize_line(line: str) -> str:
    """One line in which nothing moves the cursor, hides, reorders or commands, and not too long."""
    shown = "".join(
        character if _is_plain(character) else _escaped(character)
        for character in line[: _LONGEST + 1]
    )
    shown = _COMMAND_ANYWHERE.sub("#·#", _COMMAND.sub(r"\1· \2", shown))
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 2]} …"


def without_chance(message: str) -> str:
    """A message without what differs from run to run.

    Files stand there by their names alone. A list of names is left out: torch finds the parameters
    that it complains about in a set, whose order is another one in every process.
    """
    return _NAMES.sub("[…]", _FOLDERS.sub("", message))


def _is_plain(character: str) -> bool:
    return character == "\t" or unicodedata.category(character) not in _DANGEROUS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
