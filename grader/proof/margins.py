"""How much of the allowed error right answers use, and by how much mistakes exceed it.

Both must keep clear of the limit between right and wrong, or another machine or seed may cross it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from grader.observation.kind import Kind
from grader.proof.jobs import Fact, TestFact

_FLOAT32_USED, _FLOAT32_EXCEEDED = 1 / 3, 10.0
_HALF_USED, _HALF_EXCEEDED = 1 / 2, 2.0
_USED_LATER = 1.5
"""How much more of the allowed error later seeds may use: the worst of a thousand is worse."""
_NUMERIC = (Kind.VALUE, Kind.GRADIENT)
_HALVES = ("bfloat16", "float16")


@dataclass(frozen=True)
class Margin:
    """One check's margin for a right answer or a mistake; `used` is error over allowed error."""

    test: str
    who: str
    precision: str
    used: float


def use_allowed(precision: str, is_later: bool) -> float:
    """The part of the allowed error that a right answer may use, with the first or later seeds."""
    use = _HALF_USED if precision in _HALVES else _FLOAT32_USED
    return use * _USED_LATER if is_later else use


def highest_use(fact: Fact) -> dict[tuple[str, str], float]:
    """The largest part of the allowed error that a run used, by (test, precision)."""
    most: dict[tuple[str, str], float] = {}
    for test in fact.tests:
        for (precision, _), used in test.used.items():
            key = (test.test, precision)
            most[key] = max(most.get(key, 0.0), used)
    return most


def right_margins(facts: Iterable[Fact]) -> Iterator[Margin]:
    """How much right answers use at most, for every test and precision."""
    most: dict[tuple[str, str], tuple[float, str]] = {}
    for fact in facts:
        for key, used in highest_use(fact).items():
            if used >= most.get(key, (-1.0, ""))[0]:
                most[key] = used, fact.job.name
    for (test, precision), (used, who) in sorted(most.items()):
        yield Margin(test, who, precision, used)


def mistake_margins(facts: Iterable[Fact]) -> Iterator[Margin]:
    """By how much each mistake exceeds the allowed error where it shows most, in its worst run."""
    least: dict[str, Margin] = {}
    for fact in facts:
        best = best_margin(fact)
        if best and best.used <= least.get(fact.job.name, best).used:
            least[fact.job.name] = best
    yield from least.values()


def best_margin(fact: Fact) -> Margin | None:
    """Where a run of a mistake is farthest beyond its limit; None where it passes every test."""
    margins = [margin for test in fact.failed for margin in _exceeded(fact.job.name, test)]
    return max(margins, key=times_the_limit, default=None)


def times_the_limit(margin: Margin) -> float:
    """How far a mistake is beyond the limit that it must exceed, which is 1 here."""
    return margin.used / (_HALF_EXCEEDED if margin.precision in _HALVES else _FLOAT32_EXCEEDED)


def _exceeded(who: str, test: TestFact) -> Iterator[Margin]:
    if test.kind not in _NUMERIC:
        yield Margin(test.test, who, test.kind, math.inf)
        return
    for (precision, _), used in test.used.items():
        yield Margin(test.test, who, precision, used)
