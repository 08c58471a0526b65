"""What if a deep model starts at its full learning rate?

Twenty-four blocks in the order of the first transformers, with the norm after each addition
(post-norm). The learning rate rises to its peak over 40 steps, or is the peak at once.

Seeds 31 to 35 (`python -m experiments no_warmup 31 32 33 34 35`): loss 1.34 to 1.51 with, 2.78
without. Of 25 other seeds, one got no further than 2.36 with a warm-up, and none got below 2.78
without. At a peak of 0.015, two of 56 learned a little without; at 0.017, three of 33 learned
nothing with one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from torch import Tensor

from experiments.no_residual import exchange_blocks
from experiments.table import Claim, Table, Trial
from experiments.task import at_the_end, batches, small_model, train
from minimind_ref.block import MiniMindBlock
from minimind_ref.kv_cache import KeyValue

STEPS, LAYERS, LR, WARM_UP = 52, 24, 1.6e-2, 40


class PostNormBlock(MiniMindBlock):
    """The reference's block with each norm behind its addition (Vaswani et al. 2017)."""

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue | None]:
        attended, present = self.self_attn(
            hidden_states, position_embeddings, past_key_value, use_cache, attention_mask
        )
        between = self.input_layernorm(hidden_states + attended)
        return self.post_attention_layernorm(between + self.mlp(between)), present


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """Both arms under one seed."""
    rates: dict[str, float | Callable[[int], float]] = {"with": _rising, "without": LR}
    for arm, rate in rates.items():
        model = small_model(seed, num_hidden_layers=LAYERS)
        exchange_blocks(model, PostNormBlock)
        curve = train(model, batches(seed, steps, rows=8, length=20), rate)
        yield Trial(arm, seed, {"loss": at_the_end(curve)}, curve)


def claims(table: Table) -> list[Claim]:
    return [
        Claim(
            "with a warm-up the loss falls below 2.2, under most seeds",
            statistics.median(table.values("with", "loss")) < 2.2,
        ),
        Claim(
            "without it nothing is learned, under most seeds",
            statistics.median(table.values("without", "loss")) > 2.6,
        ),
    ]


def _rising(step: int) -> float:
    return LR * min(1.0, (step + 1) / WARM_UP)
