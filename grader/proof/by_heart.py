"""Whether the right outcomes can be learnt by heart: what tests expect, seed by seed.

Inputs that differ do not help where the outcome stays the same: a refusal can be learnt, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grader.results.record import share

if TYPE_CHECKING:
    from grader.judging.diagnosis import Evidence
    from grader.proof.jobs import Fact, TestFact

CONSTANT_SHARE = 0.1
"""The most of the points that tests may carry which are the same under every seed."""


def digests(evidence: Iterable[Evidence]) -> dict[str, str]:
    """For each test, a digest of all that it expected of a right answer.

    Where a test looks at outputs itself, that is what a right answer gave.
    """
    told: dict[str, Any] = {}
    for item in evidence:
        right = item.want.exact if item.want else item.seen
        digest = told.setdefault(item.test, hashlib.sha256())
        for part in (right.outputs, right.gradients):
            for piece in _pieces(part):
                digest.update(piece)
    return {test: digest.hexdigest() for test, digest in told.items()}


def _pieces(value: Any) -> Iterator[bytes]:
    """A value as bytes; the same for equal values alone."""
    import torch

    if isinstance(value, torch.Tensor):
        plain = value.detach().contiguous()
        yield f"{plain.dtype} {list(plain.shape)} ".encode()
        yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{key!r}: ".encode()
            yield from _pieces(item)
    elif isinstance(value, (list, tuple)):
        yield f"{len(value)} ".encode()
        for item in value:
            yield from _pieces(item)
    else:
        yield f"{value!r} ".encode()


def constant_tests(facts: Sequence[Fact]) -> list[TestFact]:
    """The tests that expect the same under every seed that was tried."""
    if len(facts) < 2:
        return []
    return [
        test
        for test in facts[0].tests
        if test.weight and len({fact.expected.get(test.test) for fact in facts}) == 1
    ]


def by_heart_problems(facts: Sequence[Fact]) -> Iterator[str]:
    """What is wrong where too many points can be earned without computing anything."""
    constant = {test.test for test in constant_tests(facts)}
    if not constant:
        return
    part = float(share((test.weight, test.test in constant) for test in facts[0].tests))
    if part > CONSTANT_SHARE:
        yield (
            f"tests that expect the same under every seed carry {part:.0%} of "
            f"the points, at most {CONSTANT_SHARE:.0%} may be learnt by heart: "
            + ", ".join(sorted(constant))
        )
