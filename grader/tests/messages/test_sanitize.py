"""Text from an answer is shown without moving the cursor, hiding, reordering or commanding."""

import pytest

from grader.messages.sanitize import sanitize_line, without_chance


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("back\rover", "back\\rover"),
        ("two\nlines", "two\\nlines"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("in\u200bvisible", "in\\u200bvisible"),
        ("\u2028line", "\\u2028line"),
        ("::error::forged", "· ::error::forged"),
        ("  ::set-output name=x::y", "  · ::set-output name=x::y"),
        ("##[error]forged", "#·#[error]forged"),
        ("so ##vso[task.setvariable]x", "so #·#vso[task.setvariable]x"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_acts_is_shown_as_text(hostile, shown):
    """Every character that acts instead of being seen is written out."""
    assert sanitize_line(hostile) == shown


def test_a_line_has_an_end():
    """A line of a megabyte is cut, and cutting it again changes nothing."""
    cut = sanitize_line("\x1b" * 1_000_000)
    assert len(cut) == 500 and cut.endswith(" …")
    assert sanitize_line(cut) == cut


@pytest.mark.parametrize(
    "text", ["plain", "naïve · 中文 ✓ 🙂", "tab\tkept", "a :: b", "x = y ** 2"]
)
def test_what_is_only_seen_stays(text):
    """Letters of any script, symbols and tabs are left alone."""
    assert sanitize_line(text) == text


@pytest.mark.parametrize(
    ("message", "same"),
    [
        ("no file /tmp/a1b2/model.pt", "no file model.pt"),
        (
            "several values for keys ['a.weight', 'b.weight'], which",
            "several values for keys […], which",
        ),
        ("several values for keys ['a.weight', 'b.wei", "several values for keys […]"),
        ("index [2, 3] is out of range for 'x'", "index [2, 3] is out of range for 'x'"),
        ("got [], want ['", "got [], want [" + "\u2026]"),
    ],
)
def test_what_differs_from_run_to_run_is_left_out(message: str, same: str) -> None:
    assert without_chance(message) == same
