"""What each experiment shows and does not show, in words and with the numbers of this run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grader.messages.catalog import say

if TYPE_CHECKING:
    from experiments.table import Table

_SHARES = {"unchanged", "same", "busiest"}
_COUNTS = {"tokens", "experts_used"}


@dataclass(frozen=True)
class Words:
    """What is said about one experiment.

    Attributes:
        headline: the measure that its chart is about.
        kept: the arm with the part that the experiment is about.
        left: the arm without it.
        more: further numbers of its sentence, each with its arm and its measure.
    """

    headline: str
    kept: str = "with"
    left: str = "without"
    more: Mapping[str, tuple[str, str]] = field(default_factory=dict)


WORDS = {
    "no_rope": Words("loss"),
    "no_residual": Words("loss"),
    "no_scale": Words("keys"),
    "no_cache": Words("tokens", more={"time": ("without", "time")}),
    "renormalised_router": Words("router", left="divided"),
    "no_aux_loss": Words("experts_used"),
    "tied_embeddings": Words("millions", "tied", "separate"),
    "accumulation": Words("apart", "parts", "ragged_parts"),
    "bfloat16_weights": Words(
        "loss",
        "float32",
        "bfloat16",
        {"unchanged": ("bfloat16", "unchanged"), "autocast": ("autocast", "loss")},
    ),
    "weight_decay": Words("unseen"),
    "no_warmup": Words("loss"),
}


def shown(name: str, table: Table) -> str:
    """The sentence on what an experiment shows, with the medians of its arms."""
    words = WORDS[name]
    numbers = {"kept": (words.kept, words.headline), "left": (words.left, words.headline)}
    numbers |= words.more
    values = {key: written(what, table.median(arm, what)) for key, (arm, what) in numbers.items()}
    return say(f"experiments.{name}_shows", **values)


def not_shown(name: str) -> str:
    """The sentence on what an experiment does not show."""
    return say(f"experiments.{name}_not")


def arm_name(arm: str) -> str:
    """What an arm is called; that of a dtype has no other name in any language."""
    return arm if arm in ("float32", "autocast", "bfloat16") else say(f"experiments.arm_{arm}")


def measure_name(measure: str) -> str:
    """What was measured."""
    return say(f"experiments.{measure}")


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
