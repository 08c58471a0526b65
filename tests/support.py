"""What scenarios of several exercises share. Shipped to the worker by value, like the tests."""

import sys
from contextlib import contextmanager

import torch
from torch.func import functional_call

from grader.observation.cost import CostMeter


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


@contextmanager
def default_dtype(dtype):
    """Another default dtype for a while, as a model may be built under."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def left_padding(count, *pads):
    """The mask [len(pads), count] of rows that begin with so much padding."""
    return (torch.arange(count) >= torch.tensor(pads)[:, None]).long()


def block_weights(rng, config, prefix=""):
    """Random weights for every entry of a block's state dict, those of the norms around 1."""
    hidden, width = config.hidden_size, config.head_dim
    queries, keys = config.num_attention_heads * width, config.num_key_value_heads * width

    def network(name, inner):
        return {
            f"{name}.gate_proj.weight": rng.normal(inner, hidden, scale=0.2),
            f"{name}.up_proj.weight": rng.normal(inner, hidden, scale=0.2),
            f"{name}.down_proj.weight": rng.normal(hidden, inner, scale=0.2),
        }

    weights = {
        "input_layernorm.weight": rng.uniform(hidden, low=0.5, high=2.0),
        "self_attn.q_proj.weight": rng.normal(queries, hidden, scale=0.2),
        "self_attn.k_proj.weight": rng.normal(keys, hidden, scale=0.2),
        "self_attn.v_proj.weight": rng.normal(keys, hidden, scale=0.2),
        "self_attn.o_proj.weight": rng.normal(hidden, queries, scale=0.2),
        "self_attn.q_norm.weight": rng.uniform(width, low=0.5, high=2.0),
        "self_attn.k_norm.weight": rng.uniform(width, low=0.5, high=2.0),
        "post_attention_layernorm.weight": rng.uniform(hidden, low=0.5, high=2.0),
    }
    if config.use_moe:
        weights["mlp.gate.weight"] = rng.normal(config.num_experts, hidden, scale=0.3)
        for expert in range(config.num_experts):
            weights |= network(f"mlp.experts.{expert}", config.moe_intermediate_size)
    else:
        weights |= network("mlp", config.intermediate_size)
    return {prefix + name: value for name, value in weights.items()}


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


def time_and_memory(benchmark, run, device, *, backward, dtype, tokens, kind):
    """Time a run with pytest-benchmark, in one group with the other kinds, and note its peak.

    What is noted beside the times is what pictures are drawn from (`grader.learner.timings`).
    """

    def whole_run():
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)  # or only the launch would be timed

    with CostMeter() as meter:
        whole_run()
    direction, name = "forward + backward" if backward else "forward", str(dtype)[len("torch.") :]
    benchmark.group = f"{direction}, {name}, S = {tokens}"
    benchmark.extra_info |= {
        "device": str(device),
        "direction": direction,
        "dtype": name,
        "tokens": tokens,
        "kind": kind,
        "peak_bytes": meter.cost().peak_bytes,
    }
    benchmark.pedantic(whole_run, rounds=3 if tokens >= 2048 else 9, warmup_rounds=1)
