"""What if the residual stream is left out?

Each block then hands on what it computed and nothing of what it got. Four blocks in a row are
enough that nothing is learned. It is not that gradients vanish at the start: what was put in is
lost on the way, and has to be rebuilt by every block.

Seeds 11 to 15 (`python -m experiments no_residual 11 12 13 14 15`):
loss 0.05 to 0.07 with, 2.77 to 2.78 without.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from experiments.table import Claim, Table, Trial
from experiments.task import at_the_end, batches, small_config, small_model, train
from minimind_ref.block import MiniMindBlock
from minimind_ref.kv_cache import KeyValue
from minimind_ref.model import MiniMindForCausalLM

STEPS, LAYERS = 100, 4


class BlockWithoutResidual(MiniMindBlock):
    """The reference's block without its two additions."""

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue | None]:
        attended, present = self.self_attn(
            self.input_layernorm(hidden_states),
            position_embeddings,
            past_key_value,
            use_cache,
            attention_mask,
        )
        return self.mlp(self.post_attention_layernorm(attended)), present


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """Both arms under one seed."""
    for arm in ("with", "without"):
        model = small_model(seed, num_hidden_layers=LAYERS)
        if arm == "without":
            exchange_blocks(model, BlockWithoutResidual)
        curve = train(model, batches(seed, steps))
        yield Trial(arm, seed, {"loss": at_the_end(curve)}, curve)


def claims(table: Table) -> list[Claim]:
    return [
        Claim("with the residual the loss falls below 0.4", table.high("with", "loss") < 0.4),
        Claim("without it nothing is learned", table.low("without", "loss") > 2.7),
    ]


def exchange_blocks(model: MiniMindForCausalLM, kind: type[MiniMindBlock]) -> None:
    """Put blocks of another kind, with the same weights, in the place of a small model's."""
    layers = model.model.layers
    config = small_config(num_hidden_layers=len(layers))
    others = [kind(number, config) for number in range(len(layers))]
    for other, layer in zip(others, layers, strict=True):
        other.load_state_dict(layer.state_dict())
    model.model.layers = nn.ModuleList(others)
