"""Under which conditions a check is run again, and what a right answer gives under them.

The reference is run under the same conditions and is the oracle: what changes its outcome, such as
eval mode for an auxiliary loss, may change an answer's, and what it refuses is not asked.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from functools import reduce
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from grader.judging.comparison import errors
from grader.judging.expectation import Expectation, Tolerance, as_exact, in_double
from grader.messages.catalog import say
from grader.observation.conditions import WITHOUT_GRADIENTS, Condition
from grader.observation.observe import observe
from grader.observation.record import Observation, Request

Conditions = frozenset[Condition]
_COMPANY = (Condition.AGAIN, Condition.ANOTHER, Condition.REFUSED)
_ORIGINS = (None, Condition.COPIED, Condition.LOADED)
_MOST_ULPS = 64
_GRADIENTS = (None, Condition.NO_GRAD, Condition.INFERENCE)


def chosen(start: int, turn: int, ruled_out: Mapping[str, str]) -> Conditions:
    """The conditions of a check: any three turns on end have them all, whatever the start.

    Eval mode and views are always among them: plain runs have neither. Raises ValueError where
    `ruled_out`, names with reasons, has a name that is no condition's.
    """
    for name in ruled_out:
        Condition(name)
    picked = (
        _COMPANY[(start + turn) % 3],
        _ORIGINS[(start // 3 + turn) % 3],
        _GRADIENTS[(start // 9 - turn) % 3],
    )
    conditions = {Condition.EVAL, Condition.VIEWS, *(c for c in picked if c)}
    return frozenset(c for c in conditions if c.value not in ruled_out)


def singly(conditions: Conditions) -> Iterator[Conditions]:
    """Each condition by itself, to find the one that matters; all of them where it is none."""
    yield from (frozenset({condition}) for condition in sorted(conditions))
    yield conditions


def described(conditions: Conditions) -> str:
    """Conditions in words: "in eval mode"."""
    words = [_in_words(condition) for condition in sorted(conditions)]
    return reduce(lambda first, last: say("comparing.and", first=first, last=last), words)


def _in_words(condition: Condition) -> str:
    match condition:
        case Condition.EVAL:
            return say("conditions.eval")
        case Condition.NO_GRAD:
            return say("conditions.no_grad")
        case Condition.INFERENCE:
            return say("conditions.inference")
        case Condition.VIEWS:
            return say("conditions.views")
        case Condition.AGAIN:
            return say("conditions.again")
        case Condition.ANOTHER:
            return say("conditions.another")
        case Condition.REFUSED:
            return say("conditions.refused")
        case Condition.COPIED:
            return say("conditions.copied")
        case Condition.LOADED:
            return say("conditions.loaded")


def under(request: Request, conditions: Conditions) -> Request:
    """A request that is run under conditions; there are no gradients under some of them."""
    cotangents = None if conditions & WITHOUT_GRADIENTS else request.cotangents
    return dataclasses.replace(request, conditions=conditions, cotangents=cotangents, meter=False)


def expected_under(
    reference: ModuleType, request: Request, want: Expectation, conditions: Conditions
) -> tuple[Request, Expectation] | None:
    """The request under those of some conditions that the reference stands, and what it gives.

    None if that is none of them. `want` is what a right answer gives to the plain request.
    """
    oracle = _Oracle(reference, request, want)
    possible = oracle.under(conditions)
    if possible is None:
        conditions = frozenset(c for c in conditions if oracle.under(frozenset({c})) is not None)
        possible = oracle.under(conditions) if conditions else None
    return None if possible is None else (under(request, conditions), possible)


def same_under(
    request: Request, seen: Observation, conditions: Conditions
) -> tuple[Request, Expectation]:
    """The request under conditions, whose outcome must be what it was without them.

    It may differ by roundings: other strides have products summed in another order.
    """
    repeated = dataclasses.replace(seen, calls=(), cost=None)
    allowed = {name: _roundings(value) for name, value in seen.outputs.items()}
    numeric = {name: allowance for name, allowance in allowed.items() if allowance is not None}
    return under(request, conditions), Expectation(repeated, repeated, numeric, {})


def _roundings(value: object) -> Tolerance | None:
    """What a number may be off by where the same is computed in another order."""
    if isinstance(value, float):
        return Tolerance(_MOST_ULPS * sys.float_info.epsilon * abs(value))
    if not isinstance(value, Tensor):
        return None
    if not (value.is_floating_point() or value.is_complex()):
        return Tolerance(0.0)
    finite = value[torch.isfinite(value)].abs()
    largest = float(finite.max()) if finite.numel() else 0.0
    return Tolerance(_MOST_ULPS * torch.finfo(value.dtype).eps * largest)


class _Oracle:
    """The reference, run under conditions."""

    def __init__(self, reference: ModuleType, request: Request, want: Expectation) -> None:
        self._reference = reference
        self._request = dataclasses.replace(request, bans=())
        self._want = want

    def under(self, conditions: Conditions) -> Expectation | None:
        """What a right answer gives under conditions; None where it cannot be known."""
        request = under(self._request, conditions)
        form, error = observe(self._reference, request, frozenset(), is_reference=True)
        if error is not None:
            return None
        exact = self._as_usual(form)
        if exact is None:
            exact, error = observe(
                self._reference, in_double(request), frozenset(), is_reference=True
            )
            if error is not None:
                return None
        allowed = {n: a for n in exact.outputs if (a := self._want.outputs.get(n))}
        of_gradients = {
            name: allowance
            for name, gradient in exact.gradients.items()
            if gradient is not None and (allowance := self._want.gradients.get(name))
        }
        if not all(_fits(exact.outputs[n], a) for n, a in allowed.items()):
            return None  # sizes differ under the conditions, and what they may be off by is unknown
        return dataclasses.replace(
            self._want, exact=exact, form=form, outputs=allowed, gradients=of_gradients
        )

    def _as_usual(self, form: Observation) -> Observation | None:
        """The exact values of a plain run, where conditions have changed nothing but roundings."""
        usual = self._want.form
        same = form.outputs.keys() == usual.outputs.keys()
        same = same and all(
            _agree(value, usual.outputs[name], self._want.outputs.get(name))
            for name, value in form.outputs.items()
        )
        same = same and all(
            _agree(value, usual.gradients.get(name), self._want.gradients.get(name))
            for name, value in form.gradients.items()
        )
        return (
            dataclasses.replace(self._want.exact, gradients=self._gradients(form)) if same else None
        )

    def _gradients(self, form: Observation) -> Mapping[str, Tensor | None]:
        """The exact gradients, where there are any under the conditions."""
        return {name: self._want.exact.gradients[name] for name in form.gradients}


def _agree(left: Any, right: Any, allowed: Tolerance | None) -> bool:
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        if isinstance(left, float) and isinstance(right, float) and allowed is not None:
            return bool(errors(as_exact(left), as_exact(right)) <= allowed.element)
        return type(left) is type(right) and bool(left == right)
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if allowed is None:
        return torch.equal(left, right)
    return bool((errors(as_exact(left), as_exact(right)) <= allowed.element).all())


def _fits(value: Any, allowed: Tolerance) -> bool:
    """Whether what is allowed, one number or one for each element, is about a value's elements."""
    if not isinstance(allowed.element, Tensor) or not isinstance(value, Tensor):
        return True
    try:
        allowed.element.expand(as_exact(value).shape)
    except RuntimeError:
        return False
    return True
