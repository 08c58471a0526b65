"""What an everyday error of Python's or torch's means, and what to write instead. Pure.

Torch's own words stay where they help; where they are long, or send the wrong way, they are cut
after the first sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from grader.messages.catalog import say
from grader.observation import context
from grader.observation.record import Interruption


@dataclass(frozen=True)
class Advice:
    """The lines that help with an error. `key` is the same for errors of one kind; `message` are
    the words of the error itself that are worth showing."""

    key: str
    lines: tuple[str, ...]
    message: str


def advice_for(interruption: Interruption) -> Advice | None:
    """The advice that there is for an error; None for one that says enough itself."""
    if context.facts(interruption.context, context.RAISED):
        return None
    weights = _weights(interruption)
    if weights:
        return Advice("weights", tuple(weights), "")
    for key, pattern, tell in _EVERYDAY:
        found = pattern.search(interruption.message)
        if found:
            return Advice(key, (tell(),), _first_sentence(interruption.message))
    is_from_the_test = not interruption.frames
    if is_from_the_test and _SIGNATURE.search(interruption.message):
        return Advice("signature", (say("advice.signature"),), interruption.message)
    lines = tuple(_names(interruption))
    return Advice("name", lines, interruption.message) if lines else None


def _first_sentence(message: str) -> str:
    first, stop, _ = message.partition(". ")
    first, colon, rest = first.partition("operation: [")  # which tensor it was, nobody can tell
    return first + ("operation" if colon else stop.strip())


_EVERYDAY: tuple[tuple[str, re.Pattern[str], Callable[[], str]], ...] = tuple(
    (str(number), re.compile(pattern), tell)
    for number, (pattern, tell) in enumerate(
        (
            (r"Can't call numpy\(\) on Tensor that requires grad", lambda: say("advice.numpy")),
            (r"must be (?:a )?Tensor, not numpy", lambda: say("advice.numpy")),
            (
                r"only one element tensors can be converted|converted to Scalar",
                lambda: say("advice.scalar"),
            ),
            (r"'(?:builtin_function_or_)?method'", lambda: say("advice.parentheses")),
            (r"tuple of Tensors, not Tensor", lambda: say("advice.tuple_of_tensors")),
            (r"unsupported ScalarType BFloat16", lambda: say("advice.numpy_bfloat16")),
            (
                r"modified by an inplace operation",
                lambda: say("advice.in_place_backward"),
            ),
            (
                r"is a view and is being modified inplace",
                lambda: say("advice.in_place_view"),
            ),
            (
                r"leaf Variable that requires grad.* in-place",
                lambda: say("advice.in_place_leaf"),
            ),
            (r"does not require grad and does not have a grad_fn", lambda: say("advice.no_graph")),
            (r"backward through the graph a second time", lambda: say("advice.backward_twice")),
            (r"implicitly created only for scalar", lambda: say("advice.backward_scalar")),
            (r"not have been used in the graph", lambda: say("advice.not_in_graph")),
            (r"Inference tensors", lambda: say("advice.inference")),
            (
                r"same dtype|expected scalar type|same scalar type|object of scalar type"
                r"|self\.dtype to be equal",
                lambda: say("advice.dtypes"),
            ),
            (
                r"same device|expected device|device type|at least two devices",
                lambda: say("advice.devices"),
            ),
            (
                r"must match the size of tensor b|must match the existing size"
                r"|does not broadcast with|not broadcastable|Attempting to broadcast",
                lambda: say("advice.broadcast"),
            ),
            (
                r"shapes cannot be multiplied|of batch2 tensor|size mismatch, got",
                lambda: say("advice.multiply"),
            ),
            (r"is invalid for input of size", lambda: say("advice.elements")),
            (r"view size is not compatible", lambda: say("advice.reshape")),
            (
                r"ints?, ?(?:but got|not) float|'float' object cannot be interpreted as an integer"
                r"|\(got float\)|got \((?:\w+, )*float(?:, \w+)*\), but expected",
                lambda: say("advice.whole_sizes"),
            ),
            (r"Boolean value of Tensor", lambda: say("advice.truth")),
            (
                r"used as indices must be|scalar types: Long|int32/int64 for index"
                r"|dtype int64 for index",
                lambda: say("advice.indices"),
            ),
            (r"can't be cast to the desired output type", lambda: say("advice.whole_in_place")),
            (r"boolean masks|to be a boolean tensor", lambda: say("advice.masks")),
            (r"as parameter '\w+' \(torch\.nn\.Parameter", lambda: say("advice.assign_parameter")),
            (
                r"before Module\.__init__\(\) call|has no attribute '_(?:parameters|modules|buffers"
                r"|\w*hooks\w*|non_persistent_buffers_set)'",
                lambda: say("advice.super_module"),
            ),
            (
                r"has no attribute '(?:param_groups|defaults|_optimizer\w*|_zero_grad\w*)'",
                lambda: say("advice.super_optimizer"),
            ),
            (r'missing the required "forward" function', lambda: say("advice.forward")),
            (
                r"NoneType'? object|'NoneType' and|and 'NoneType'|not NoneType",
                lambda: say("advice.none"),
            ),
        )
    )
)
"""Patterns in messages, tried in this order, and what to say of each."""

_SIGNATURE = re.compile(
    r"positional arguments? but|got an unexpected keyword argument"
    r"|missing \d+ required (?:positional|keyword-only) argument"
)


def _names(interruption: Interruption) -> Iterator[str]:
    """The name that was meant, or those that there are."""
    meant = context.facts(interruption.context, context.MEANT)
    there = context.facts(interruption.context, context.HAS)
    if meant:
        yield say("advice.meant", name=meant[0])
    elif there:
        yield say("advice.has", names=there[0])


_OWNER = re.compile(r"Error\(s\) in (?:reparametrizing|loading state_dict) for (\w+):")
_SHARED = re.compile(r"multiple values for keys \[(.*?)\], which are tied")
_QUOTED = re.compile(r"""["']([\w.]+)["']""")
_SIZE = re.compile(
    r"size mismatch for ([\w.]+): copying a param with shape torch\.Size\((\[.*?\])\) from "
    r"checkpoint, the shape in current model is torch\.Size\((\[.*?\])\)"
)
_MOST = 3


def _weights(interruption: Interruption) -> list[str]:
    """Why torch does not put the exercise's weights into a layer: which name is wrong, and how.

    Where the answer itself loads weights, as a checkpoint's, its own names may well be the wrong
    ones: then torch's words say more.
    """
    if interruption.frames:
        return []
    if shared := _SHARED.search(interruption.message):
        names = ", ".join(_QUOTED.findall(shared[1]))
        return [say("advice.weight_shared", names=names)]
    found = _OWNER.search(interruption.message)
    if not found:
        return []
    owner = found[1]
    lacking = _named_after("Unexpected key(s)", interruption.message)
    extra = _named_after("Missing key(s)", interruption.message)
    wanted = dict(_pairs(context.facts(interruption.context, context.WANTED)))
    lines = []
    if len(lacking) == len(extra) == 1 and lacking[0].count(".") == extra[0].count("."):
        lines.append(say("advice.weight_renamed", owner=owner, got=extra[0], want=lacking[0]))
    else:
        lines += _limited(list(_lacking(owner, lacking, wanted, interruption)))
        lines += _limited([_extra(owner, name, interruption) for name in extra])
    lines += _limited(
        [
            say("advice.weight_shape", owner=owner, name=name, got=got, want=want)
            for name, want, got in _SIZE.findall(interruption.message)
        ]
    )
    return lines


def _named_after(title: str, message: str) -> list[str]:
    return [
        name
        for line in message.splitlines()
        if line.strip().startswith(title)
        for name in _QUOTED.findall(line)
    ]


def _pairs(facts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for fact in facts:
        name, _, shape = fact.partition(" ")
        yield name, shape


def _lacking(
    owner: str, names: Sequence[str], wanted: dict[str, str], interruption: Interruption
) -> Iterator[str]:
    plain = context.facts(interruption.context, context.PLAIN)
    listed = context.facts(interruption.context, context.LISTED)
    told = set()
    for name in names:
        hiding = [path for path in listed if name.startswith(f"{path}.")]
        what = f"{name} {wanted.get(name, '')}".rstrip()
        if name in plain:
            yield say("advice.weight_plain", owner=owner, name=name)
        elif hiding:
            if hiding[0] not in told:
                told.add(hiding[0])
                yield say("advice.weight_listed", owner=owner, name=hiding[0])
        elif "." in name:
            layer = name.rpartition(".")[0]
            yield say("advice.weight_in_layer", owner=owner, what=what, layer=layer)
        else:
            yield say("advice.weight_missing", owner=owner, name=name, what=what)


def _extra(owner: str, name: str, interruption: Interruption) -> str:
    if name in context.facts(interruption.context, context.BUFFER):
        return say("advice.weight_buffer", owner=owner, name=name)
    if name.endswith(".bias"):
        return say("advice.weight_bias", owner=owner, name=name)
    return say("advice.weight_extra", owner=owner, name=name)


def _limited(lines: list[str]) -> list[str]:
    """The first few, and how many more there are."""
    if len(lines) <= _MOST:
        return lines
    return [*lines[: _MOST - 1], say("advice.more", count=len(lines) - _MOST + 1)]
