"""What scenarios of several exercises share. Shipped to the worker by value, like the tests."""

import sys

from torch.func import functional_call


def refusal(call):
    """How a call ends: "ValueError", the name of another error, or "no error"."""
    try:
        call()
    except NotImplementedError:
        raise
    except Exception as error:
        return "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return "no error"


def copied(value):
    """A copy of a tensor with the same strides: `clone` would close the gaps of a view."""
    return value.new_empty_strided(value.shape, value.stride()).copy_(value)


def run(layer, weights, *args, **kwargs):
    """Call a module with the given weights in place of its own, all of them and no others.

    Buffers that are not in the state dict are no weights: a layer may keep what it likes in them.
    """
    saved = layer.state_dict()
    private = {name: value for name, value in layer.named_buffers() if name not in saved}
    return functional_call(layer, private | weights, args, kwargs, strict=True)


def lines_executed(call):
    """How many lines of Python a call executes, a line of a loop once for each round.

    A debugger or a measurement of coverage that traces this thread goes on after the call. Where a
    comprehension or a built-in function loops, its rounds do not count everywhere.
    """
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    earlier = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(earlier)
    return lines
