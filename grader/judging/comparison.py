"""Compare what an answer did with what a right answer does; the first thing wrong is the finding.

Everything here runs in the judge and is pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grader.judging.expectation import Expectation, Tolerance, as_exact
from grader.messages.catalog import reworded, say
from grader.observation.bans import BanHit
from grader.observation.calls import Call, describe
from grader.observation.kind import Kind
from grader.observation.record import Interruption, Observation, Opaque

_DIGITS = (3, 4, 6, 9, 12)


@dataclass(frozen=True)
class Finding:
    """The first thing wrong with an answer: its kind and the lines that describe it."""

    kind: Kind
    lines: tuple[str, ...]
    interruption: Interruption | None = None
    condition: str = ""


@dataclass
class Margins:
    """How much of the allowed error was used, at most, over the numbers that were compared."""

    used: float = 0.0
    where: str = ""
    by_name: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, used: float) -> None:
        self.by_name[name] = max(self.by_name.get(name, 0.0), used)
        if used > self.used:
            self.used, self.where = used, name


def judge(
    seen: Observation,
    want: Expectation,
    *,
    margins: Margins | None = None,
    label: str = "",
) -> Finding | None:
    """The first thing that is wrong, in the order that a learner can mend it; None if all is right.

    `label` says under which precision the check ran, in words: "in bfloat16".
    """
    other = _other_kind(seen, want)
    if seen.interruption:
        if other and seen.interruption.kind in (Kind.UNUSABLE, Kind.EXCEPTION):
            return other
        return _interrupted(seen.interruption, seen.calls, want.form.calls)
    margins = margins if margins is not None else Margins()
    steps: tuple[Callable[[], Finding | None], ...] = (
        lambda: _structure(seen, want),
        lambda: _shapes(seen, want),
        lambda: _dtypes(seen, want),
        lambda: _finite(seen, want),
        lambda: _values(seen, want, margins),
        lambda: _gradients(seen, want, margins),
        lambda: _modified(seen),
        lambda: _disturbed(seen),
        lambda: _banned(seen),
        lambda: overspent(seen, want),
    )
    first: Finding | None = None
    for step in steps:
        finding = step()
        if finding and first is None:
            first = finding
            if not finding.kind.is_numeric:
                break  # what follows would compare unlike things; numbers are measured to the end
    first = first and (other or first)
    if first and label:
        line = say("comparing.labelled", line=first.lines[0], label=label)
        first = Finding(first.kind, (line, *first.lines[1:]))
    return first


def side_effects(seen: Observation) -> Finding | None:
    """What is wrong with a run whose outputs the test itself looks at."""
    if seen.interruption:
        return _interrupted(seen.interruption, seen.calls)
    return _modified(seen) or _disturbed(seen) or _banned(seen)


def _other_kind(seen: Observation, want: Expectation) -> Finding | None:
    """The first call that gave something of another kind: one tensor, say, and no pair.

    Whatever went wrong, went wrong after it. A tensor that is taken for a pair may break nothing:
    with two rows it comes apart into them. What is neither, such as a named tuple, may be right.
    """
    for got, wanted in zip(seen.calls, want.form.calls, strict=False):
        if got.name != wanted.name:
            return None
        kinds = _kind_of(got.returned), _kind_of(wanted.returned)
        if all(kinds) and kinds[0] != kinds[1]:
            return Finding(Kind.TYPE, (_returned(got, wanted),))
    return None


_KINDS = re.compile(r"(None)|an? (?:tuple|list) of (\d+)|an? (?:\w+ )*(tensor) \[")


def _kind_of(description: str) -> str | None:
    """None, a tensor, or how many things; None for everything else."""
    found = _KINDS.match(description)
    return found and found[found.lastindex or 0]


def _returned(call: Call, wanted: Call | None) -> str:
    """What a call returned, and what it should have."""
    got = reworded(call.returned)
    if wanted is None:
        line = say("comparing.returned", name=call.name, got=got)
    else:
        want = reworded(wanted.returned)
        line = say("comparing.returned_wanted", name=call.name, got=got, want=want)
    return line + (say("comparing.no_return") if call.returned == "None" else "")


def _interrupted(
    interruption: Interruption, calls: Sequence[Call], wanted: Sequence[Call] = ()
) -> Finding:
    """The finding about a run without outputs.

    Where a scenario broke on what the answer returned, it says which call returned what.
    """
    lines: tuple[str, ...] = ()
    if interruption.kind is Kind.UNUSABLE and calls and calls[-1].returned:
        call, last = calls[-1], len(calls) - 1
        same = last < len(wanted) and wanted[last].name == call.name
        if not same or call.returned != wanted[last].returned:
            lines = (_returned(call, wanted[last] if same else None),)
    return Finding(interruption.kind, lines, interruption)


def _structure(seen: Observation, want: Expectation) -> Finding | None:
    for name, wanted in want.form.outputs.items():
        got = seen.outputs.get(name)
        if _kind(got) != _kind(wanted):
            line = say("comparing.value", name=name, got=_described(got), want=_described(wanted))
            return Finding(Kind.TYPE, (line + (say("comparing.no_return") if got is None else ""),))
        if not isinstance(wanted, (Tensor, float)) and got != wanted:
            return Finding(Kind.PLAIN_VALUE, (_other_value(name, got, wanted),))
    return None


def _other_value(name: str, got: Any, wanted: Any) -> str:
    """Two plain values that are not equal: all of both, or the first place where they differ."""
    whole = repr(got), repr(wanted)
    if max(map(len, whole)) <= _LONGEST_VALUE or not _have_parts(got, wanted):
        return say("comparing.value", name=name, got=whole[0], want=whole[1])
    place, got, wanted = _first_apart(name, got, wanted)
    if isinstance(got, _Count):
        return say("comparing.items", place=place, got=got.items, want=wanted.items)
    return say("comparing.value", name=place, got=_short(got), want=_short(wanted))


_LONGEST_VALUE = 120
"""Of two plain values that are longer only the part is shown that differs."""
_BEFORE, _AFTER = 12, 36
"""The characters of a long text that are shown before and after the first that differs."""


@dataclass(frozen=True)
class _Count:
    """How many items there are, where those that both have are the same."""

    items: int


def _have_parts(got: Any, wanted: Any) -> bool:
    return type(got) is type(wanted) and isinstance(got, (str, bytes, list, tuple, dict))


def _first_apart(place: str, got: Any, wanted: Any) -> tuple[str, Any, Any]:
    """The innermost part that differs first, and where it is."""
    if not _have_parts(got, wanted) or len(repr(got)) + len(repr(wanted)) <= _LONGEST_VALUE:
        return place, got, wanted
    if isinstance(got, (str, bytes)):
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), None)  # noqa: B905
        at = min(len(got), len(wanted)) if at is None else at
        begin = max(0, at - _BEFORE)
        where = f"{place}[{begin}:{at + _AFTER}]"
        return where, got[begin : at + _AFTER], wanted[begin : at + _AFTER]
    if isinstance(got, dict):
        for key in (*wanted, *got):
            if key not in got or key not in wanted:
                return f"{place}[{key!r}]", got.get(key, _NOTHING), wanted.get(key, _NOTHING)
            if got[key] != wanted[key]:
                return _first_apart(f"{place}[{key!r}]", got[key], wanted[key])
    for index, (mine, other) in enumerate(zip(got, wanted, strict=False)):
        if mine != other:
            return _first_apart(f"{place}[{index}]", mine, other)
    return place, _Count(len(got)), _Count(len(wanted))


class _Nothing:
    """What stands for an entry that is not there."""


_NOTHING = _Nothing()


def _short(value: Any) -> str:
    if value is _NOTHING:
        return say("comparing.nothing")
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} …"


def _kind(value: Any) -> type:
    return Tensor if isinstance(value, Tensor) else type(value)


def _described(value: Any) -> str:
    return reworded(value.description if isinstance(value, Opaque) else describe(value))


def _tensors(seen: Observation, want: Expectation) -> Iterator[tuple[str, Tensor, Tensor]]:
    for name, wanted in want.form.outputs.items():
        got = seen.outputs[name]
        if isinstance(wanted, Tensor) and isinstance(got, Tensor):
            yield name, got, wanted


def _shapes(seen: Observation, want: Expectation) -> Finding | None:
    for name, got, wanted in _tensors(seen, want):
        if got.shape != wanted.shape:
            return Finding(Kind.SHAPE, (_other_shape(name, got, wanted),))
    return None


def _other_shape(label: str, got: Tensor, wanted: Tensor) -> str:
    return say("comparing.shape", name=label, got=list(got.shape), want=list(wanted.shape))


def _dtypes(seen: Observation, want: Expectation) -> Finding | None:
    for name, got, wanted in _tensors(seen, want):
        if got.dtype != wanted.dtype:
            return Finding(Kind.DTYPE, (_other_dtype(name, got, wanted),))
    return None


def _other_dtype(label: str, got: Tensor, wanted: Tensor) -> str:
    return say("comparing.dtype", name=label, got=_dtype(got), want=_dtype(wanted))


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _finite(seen: Observation, want: Expectation) -> Finding | None:
    for name, got, _ in _tensors(seen, want):
        finding = _not_finite(name, got, want.exact.outputs[name])
        if finding:
            return finding
    return None


def _not_finite(name: str, got: Any, wanted: Any, kind: Kind = Kind.VALUE) -> Finding | None:
    got, wanted = as_exact(got), as_exact(wanted)
    bad = ~torch.isfinite(got) & torch.isfinite(wanted)
    if not bad.any():
        return None
    first = _first(bad)
    line = say(
        "comparing.not_finite",
        place=f"{_told(kind, name)}{_place(first)}",
        got=_number(got[first], 3),
        want=_number(wanted[first], 3),
        count=int(bad.sum()),
        total=got.numel(),
    )
    return Finding(Kind.NOT_FINITE, (line,))


def _values(seen: Observation, want: Expectation, margins: Margins) -> Finding | None:
    first = None
    for name, allowance in want.outputs.items():
        got, wanted = seen.outputs[name], want.exact.outputs[name]
        finding = _numbers(name, got, wanted, allowance, margins, Kind.VALUE)
        first = first or finding
    return first


def _gradients(seen: Observation, want: Expectation, margins: Margins) -> Finding | None:
    first = None
    for name, allowance in want.gradients.items():
        wanted = want.exact.gradients[name]
        assert wanted is not None
        finding = _gradient(name, seen.gradients.get(name), wanted, want, allowance, margins)
        first = first or finding
    for name, got in seen.gradients.items():
        if name not in want.gradients and got is not None and bool((got != 0).any()):
            line = say("comparing.gradient_unwanted", name=name)
            first = first or Finding(Kind.GRADIENT, (line,))
    return first


def _gradient(
    name: str,
    got: Tensor | None,
    wanted: Tensor,
    want: Expectation,
    allowance: Tolerance,
    margins: Margins,
) -> Finding | None:
    label = f"gradient of {name}"
    if got is None:
        if not bool((wanted != 0).any()):
            return None  # no gradient and a zero gradient say the same
        margins.note(label, math.inf)
        return Finding(Kind.GRADIENT, (say("comparing.gradient_cut_off", name=name),))
    if got.shape != wanted.shape:  # torch always gives the input's; a forged one would broadcast
        margins.note(label, math.inf)
        return Finding(Kind.GRADIENT, (_other_shape(_told(Kind.GRADIENT, name), got, wanted),))
    form = want.form.gradients.get(name)
    if form is not None and got.dtype != form.dtype:
        return Finding(Kind.GRADIENT, (_other_dtype(_told(Kind.GRADIENT, name), got, form),))
    bad = _not_finite(name, got, wanted, Kind.GRADIENT)
    if bad:
        margins.note(label, math.inf)
        return bad
    return _numbers(name, got, wanted, allowance, margins, Kind.GRADIENT)


def _told(kind: Kind, name: str) -> str:
    """What a learner reads for an output, or for an input's gradient."""
    return say("comparing.gradient_of", name=name) if kind is Kind.GRADIENT else name


def _numbers(
    name: str, got: Any, wanted: Any, allowance: Tolerance, margins: Margins, kind: Kind
) -> Finding | None:
    # In English whatever the learner reads: only authors see it.
    label = f"gradient of {name}" if kind is Kind.GRADIENT else name
    got, wanted = as_exact(got), as_exact(wanted)
    error = errors(got, wanted)
    over = error > allowance.element
    margins.note(label, excess(error, allowance.element))
    if over.any():
        first = _first(over)
        told = _told(kind, name)
        return Finding(kind, (_difference(told, got, wanted, first, error, over, allowance),))
    if allowance.mean is None:
        return None
    finite = torch.isfinite(wanted) & torch.isfinite(got)
    bias = float((got - wanted)[finite].mean())
    margins.note(f"mean of {label}", abs(bias) / allowance.mean)
    if abs(bias) <= allowance.mean:
        return None
    told, off = _told(kind, name), _number(bias, 3)
    line = say("comparing.biased", name=told, got=off, allowed=allowance.mean)
    return Finding(kind, (line,))


def errors(got: Tensor, wanted: Tensor) -> Tensor:
    """Absolute errors; equal infinities and NaN where NaN is expected are no error."""
    error = (got - wanted).abs()
    same = (got == wanted) | (got.isnan() & wanted.isnan())
    return torch.where(same, 0.0, torch.nan_to_num(error, nan=math.inf, posinf=math.inf))


def excess(error: Tensor, allowed: float | Tensor) -> float:
    """The largest error as a multiple of the allowed one."""
    if not error.numel():
        return 0.0
    allowed = torch.as_tensor(allowed, dtype=torch.float64).expand_as(error)
    ratio = torch.where(error == 0, 0.0, error / allowed)
    return float(ratio.max())


def _difference(
    label: str,
    got: Tensor,
    wanted: Tensor,
    first: tuple[int, ...],
    error: Tensor,
    over: Tensor,
    allowance: Tolerance,
) -> str:
    allowed = allowance.element
    if isinstance(allowed, Tensor):
        allowed = float(allowed.expand_as(error)[first])
    place, largest = f"{label}{_place(first)}", float(error.max())
    got_text, want_text = _apart(got[first], wanted[first])
    is_one, count = got.numel() == 1, int(over.sum())
    if not allowed:  # what is exact, such as an index, is not wrong by so much
        if is_one:
            return say("comparing.exact_number", place=place, got=got_text, want=want_text)
        return say(
            "comparing.exact_numbers",
            place=place,
            got=got_text,
            want=want_text,
            count=count,
            total=got.numel(),
        )
    if is_one:
        return say(
            "comparing.number",
            place=place,
            got=got_text,
            want=want_text,
            largest=largest,
            allowed=allowed,
        )
    return say(
        "comparing.numbers",
        place=place,
        got=got_text,
        want=want_text,
        count=count,
        total=got.numel(),
        largest=largest,
        allowed=allowed,
    )


def _apart(got: Tensor, wanted: Tensor) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ."""
    for digits in _DIGITS:
        pair = _number(got, digits), _number(wanted, digits)
        if pair[0] != pair[1]:
            break
    return pair


def _number(value: Tensor | float, digits: int) -> str:
    return f"{float(value):.{digits}g}"


def _first(where: Tensor) -> tuple[int, ...]:
    return tuple(int(index) for index in where.nonzero()[0])


def _place(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _modified(seen: Observation) -> Finding | None:
    if not seen.modified:
        return None
    kinds = [name.partition(":")[2] for name in seen.modified]
    names = listed([name.partition(":")[0] for name in seen.modified])
    if all(kinds):
        line = say("comparing.modified_plain", names=names, kind=kinds[0])
        return Finding(Kind.MODIFIED, (line,))
    if len(seen.modified) == 1:
        return Finding(Kind.MODIFIED, (say("comparing.modified_one", names=names),))
    return Finding(Kind.MODIFIED, (say("comparing.modified_many", names=names),))


def _disturbed(seen: Observation) -> Finding | None:
    if not seen.disturbed:
        return None
    names = listed([_state(name) for name in seen.disturbed])
    if len(seen.disturbed) == 1:
        return Finding(Kind.DISTURBED, (say("comparing.disturbed_one", names=names),))
    return Finding(Kind.DISTURBED, (say("comparing.disturbed_many", names=names),))


_STATES: dict[str, Callable[[], str]] = {
    "the default dtype": lambda: say("comparing.default_dtype"),
    "the default device": lambda: say("comparing.default_device"),
    "the grad mode": lambda: say("comparing.grad_mode"),
    "the number of threads": lambda: say("comparing.threads"),
    "autocast": lambda: say("comparing.autocast"),
    "the float32 matmul precision": lambda: say("comparing.matmul_precision"),
    "deterministic algorithms": lambda: say("comparing.deterministic"),
    "torch's random generator": lambda: say("comparing.torch_generator"),
    "Python's random generator": lambda: say("comparing.python_generator"),
    "NumPy's random generator": lambda: say("comparing.numpy_generator"),
}


def _state(name: str) -> str:
    """A piece of global state as a learner reads it; its name comes from the answer's process."""
    told = _STATES.get(name)
    return told() if told else name


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "x", "q and k", "q, k and v"."""
    *others, last = names
    if not others:
        return last
    return say("comparing.and", first=say("comparing.comma").join(others), last=last)


def _banned(seen: Observation) -> Finding | None:
    if not seen.banned:
        return None
    return Finding(Kind.BANNED, (banned_call(seen.banned[0]),))


def banned_call(hit: BanHit) -> str:
    """What a banned call was and where, in a sentence."""
    return say("comparing.banned", call=hit.spelling, line=hit.line)


_COSTS: dict[str, Callable[[int, int], str]] = {
    "peak_elements": lambda spent, limit: say("comparing.peak_elements", spent=spent, limit=limit),
    "largest_elements": lambda spent, limit: say(
        "comparing.largest_elements", spent=spent, limit=limit
    ),
    "flops": lambda spent, limit: say("comparing.flops", spent=spent, limit=limit),
}


def overspent(seen: Observation, want: Expectation) -> Finding | None:
    """What a run cost beyond its limits."""
    for name, told in _COSTS.items():
        limit = getattr(want.limits, name)
        spent = getattr(seen.cost, name, None)
        if limit is not None and spent is not None and spent > limit:
            return Finding(Kind.COST, (told(spent, limit),))
    return None


def gradients_agree(
    left: Mapping[str, Tensor | None], right: Mapping[str, Tensor | None], name: str
) -> bool:
    """Whether both lack a gradient, or both have one; zeros count as lacking."""
    return _absent(left.get(name)) == _absent(right.get(name))


def _absent(gradient: Tensor | None) -> bool:
    return gradient is None or not bool((gradient != 0).any())
