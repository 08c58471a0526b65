"""What each experiment shows and does not show, in words and with the numbers of this run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grader.messages.catalog import say

if TYPE_CHECKING:
    from experiments.table import Table


@dataclass(frozen=True)
class Words:
    """The sentences about one experiment, and the measure that its chart is about."""

    headline: str
    shows: Callable[[Table], str]
    not_shown: Callable[[], str]


def number(table: Table, arm: str, measure: str) -> str:
    """The median of an arm's numbers, as people write it."""
    return written(measure, table.median(arm, measure))


def written(measure: str, value: float) -> str:
    """A measured number: shares in per cent, counts without decimals."""
    if measure in _SHARES:
        return f"{value:.0%}"
    if measure in _COUNTS:
        return f"{value:,.0f}"
    if measure == "time":
        return f"{value:.1f} x"
    if value and (abs(value) < 0.001 or abs(value) >= 10_000):
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


_SHARES = {"unchanged", "same", "busiest"}
_COUNTS = {"tokens", "experts_used"}

WORDS = {
    "no_rope": Words(
        "loss",
        lambda t: say(
            "experiments.no_rope_shows",
            kept=number(t, "with", "loss"),
            left=number(t, "without", "loss"),
        ),
        lambda: say("experiments.no_rope_not"),
    ),
    "no_residual": Words(
        "loss",
        lambda t: say(
            "experiments.no_residual_shows",
            kept=number(t, "with", "loss"),
            left=number(t, "without", "loss"),
        ),
        lambda: say("experiments.no_residual_not"),
    ),
    "no_scale": Words(
        "keys",
        lambda t: say(
            "experiments.no_scale_shows",
            kept=number(t, "with", "keys"),
            left=number(t, "without", "keys"),
        ),
        lambda: say("experiments.no_scale_not"),
    ),
    "no_cache": Words(
        "tokens",
        lambda t: say(
            "experiments.no_cache_shows",
            kept=number(t, "with", "tokens"),
            left=number(t, "without", "tokens"),
            time=number(t, "without", "time"),
        ),
        lambda: say("experiments.no_cache_not"),
    ),
    "renormalised_router": Words(
        "router",
        lambda t: say(
            "experiments.renormalised_router_shows",
            kept=number(t, "with", "router"),
            left=number(t, "divided", "router"),
        ),
        lambda: say("experiments.renormalised_router_not"),
    ),
    "no_aux_loss": Words(
        "experts_used",
        lambda t: say(
            "experiments.no_aux_loss_shows",
            kept=number(t, "with", "experts_used"),
            left=number(t, "without", "experts_used"),
        ),
        lambda: say("experiments.no_aux_loss_not"),
    ),
    "tied_embeddings": Words(
        "millions",
        lambda t: say(
            "experiments.tied_embeddings_shows",
            kept=number(t, "tied", "millions"),
            left=number(t, "separate", "millions"),
        ),
        lambda: say("experiments.tied_embeddings_not"),
    ),
    "accumulation": Words(
        "apart",
        lambda t: say(
            "experiments.accumulation_shows",
            kept=number(t, "parts", "apart"),
            left=number(t, "ragged_parts", "apart"),
        ),
        lambda: say("experiments.accumulation_not"),
    ),
    "bfloat16_weights": Words(
        "loss",
        lambda t: say(
            "experiments.bfloat16_weights_shows",
            kept=number(t, "float32", "loss"),
            left=number(t, "bfloat16", "loss"),
            unchanged=number(t, "bfloat16", "unchanged"),
            autocast=number(t, "autocast", "loss"),
        ),
        lambda: say("experiments.bfloat16_weights_not"),
    ),
    "weight_decay": Words(
        "unseen",
        lambda t: say(
            "experiments.weight_decay_shows",
            kept=number(t, "with", "unseen"),
            left=number(t, "without", "unseen"),
        ),
        lambda: say("experiments.weight_decay_not"),
    ),
    "no_warmup": Words(
        "loss",
        lambda t: say(
            "experiments.no_warmup_shows",
            kept=number(t, "with", "loss"),
            left=number(t, "without", "loss"),
        ),
        lambda: say("experiments.no_warmup_not"),
    ),
}

_ARMS: dict[str, Callable[[], str]] = {
    "with": lambda: say("experiments.arm_with"),
    "without": lambda: say("experiments.arm_without"),
    "divided": lambda: say("experiments.arm_divided"),
    "tied": lambda: say("experiments.arm_tied"),
    "separate": lambda: say("experiments.arm_separate"),
    "whole": lambda: say("experiments.arm_whole"),
    "parts": lambda: say("experiments.arm_parts"),
    "ragged_whole": lambda: say("experiments.arm_ragged_whole"),
    "ragged_parts": lambda: say("experiments.arm_ragged_parts"),
    "float32": lambda: "float32",
    "autocast": lambda: "autocast",
    "bfloat16": lambda: "bfloat16",
}

_MEASURES: dict[str, Callable[[], str]] = {
    "loss": lambda: say("experiments.loss"),
    "unchanged": lambda: say("experiments.unchanged"),
    "keys": lambda: say("experiments.keys"),
    "gradient": lambda: say("experiments.gradient"),
    "tokens": lambda: say("experiments.tokens"),
    "time": lambda: say("experiments.time"),
    "same": lambda: say("experiments.same"),
    "router": lambda: say("experiments.router"),
    "experts": lambda: say("experiments.experts"),
    "experts_used": lambda: say("experiments.experts_used"),
    "busiest": lambda: say("experiments.busiest"),
    "error": lambda: say("experiments.error"),
    "millions": lambda: say("experiments.millions"),
    "apart": lambda: say("experiments.apart"),
    "unseen": lambda: say("experiments.unseen"),
    "norm": lambda: say("experiments.norm"),
}


def arm_name(arm: str) -> str:
    """What an arm is called."""
    return _ARMS[arm]()


def measure_name(measure: str) -> str:
    """What was measured."""
    return _MEASURES[measure]()
