"""Points and times in words."""

from __future__ import annotations

from fractions import Fraction

from grader.messages.catalog import say


def points(value: Fraction) -> str:
    """Points with at most one decimal, rounded down: 99.97 is not 100."""
    tenths = int(value * 10)
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths / 10:.1f}"


def duration(minutes: int) -> str:
    """Minutes in words: "12 min", "3 h 5 min", "2 h"."""
    hours, rest = divmod(minutes, 60)
    words = [say("report.hours", count=hours)] if hours else []
    if rest or not hours:
        words.append(say("report.minutes", count=rest))
    return " ".join(words)
