"""The language model: the reference for ex11.

Decoder-only, with the shape and the names of Qwen3 (arXiv 2505.09388) in ``transformers``. Tied
embeddings are Press and Wolf's (arXiv 1608.05859); the start with a standard deviation of 0.02
is GPT-2's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .block import MiniMindBlock
from .config import MiniMindConfig
from .kv_cache import KeyValue
from .moe import MoEFeedForward
from .rmsnorm import RMSNorm
from .rope import precompute_freqs_cis

_NOT_COUNTED = -100


@dataclass
class CausalLMOutput:
    """One call's results; see ``MiniMindForCausalLM.forward``."""

    loss: Tensor | None
    logits: Tensor
    aux_loss: Tensor
    past_key_values: list[KeyValue] | None
    hidden_states: Tensor


def refuse_positions_beyond(capacity: int, end: int, argument: str) -> None:
    """A ValueError that names the argument, where positions below ``end`` are more than there are.

    Args:
        capacity: ``max_position_embeddings``.
        end: the first position after those that are asked for.
        argument: where the tokens came in.
    """
    if end > capacity:
        raise ValueError(
            f"{argument}: got positions up to {end - 1}, want them below "
            f"max_position_embeddings, {capacity}"
        )


class MiniMindModel(nn.Module):
    """Embedding, blocks and final norm.

    Args:
        config: all sizes; ``rope_scaling`` is not looked at.
    """

    _tables: Tensor

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            MiniMindBlock(layer_id, config) for layer_id in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        tables = precompute_freqs_cis(
            config.head_dim, config.max_position_embeddings, config.rope_theta
        )
        self.register_buffer("_tables", torch.stack(tables), persistent=False)
        self.apply(_start)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Sequence[KeyValue] | None = None,
        use_cache: bool = False,
    ) -> tuple[Tensor, list[KeyValue] | None, Tensor]:
        """Read ``[B, S]`` tokens after those of the past.

        Returns:
            ``(hidden [B, S, C], one (k, v) per layer or None, aux_loss)``; aux_loss is 0-dim, in at
            least float32.

        Raises:
            ValueError: there are more positions than ``max_position_embeddings``.
        """
        start = past_key_values[0][0].shape[1] if past_key_values else 0
        end, capacity = start + input_ids.shape[1], self._tables.shape[1]
        refuse_positions_beyond(capacity, end, "input_ids")
        cos, sin = self._tables[:, start:end]
        hidden = self.embed_tokens(input_ids)
        aux_loss = torch.zeros(
            (), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device
        )
        cache: list[KeyValue] = []
        for number, layer in enumerate(self.layers):
            past = past_key_values[number] if past_key_values else None
            hidden, present = layer(hidden, (cos, sin), past, use_cache, attention_mask)
            if present is not None:
                cache.append(present)
            if isinstance(layer.mlp, MoEFeedForward):
                aux_loss = aux_loss + layer.mlp.aux_loss
        return self.norm(hidden), cache if use_cache else None, aux_loss


class MiniMindForCausalLM(nn.Module):
    """The model with a head that predicts the next token.

    Args:
        config: all sizes; ``tie_word_embeddings`` makes head and embedding one parameter.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        self.model = MiniMindModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.model.embed_tokens.weight = self.lm_head.weight
        _start(self.lm_head)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Sequence[KeyValue] | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
        labels: Tensor | None = None,
    ) -> CausalLMOutput:
        """Predict the next token at every position.

        Args:
            input_ids: ``[B, S]``.
            attention_mask: ``[B, P + S]``, nonzero for real tokens.
            past_key_values: one ``(k, v)`` per layer.
            use_cache: whether to return these for all tokens.
            logits_to_keep: how many last positions get logits; 0 for all.
            labels: ``[B, S]``, not shifted; -100 is not counted.

        Returns:
            Logits in the dtype of the hidden states; the loss, without aux_loss, over all positions
            in at least float32.

        Raises:
            ValueError: there are more positions than ``max_position_embeddings``.
        """
        hidden, cache, aux_loss = self.model(input_ids, attention_mask, past_key_values, use_cache)
        if labels is None:
            loss, logits = None, self.lm_head(hidden[:, -logits_to_keep:])
        else:
            whole = self.lm_head(hidden)
            loss, logits = _next_token_loss(whole, labels), whole[:, -logits_to_keep:]
        return CausalLMOutput(loss, logits, aux_loss, cache, hidden)


def count_parameters(model: nn.Module, config: MiniMindConfig) -> tuple[int, int]:
    """All parameters, and those that one token passes through."""
    total = sum(parameter.numel() for parameter in model.parameters())
    if not config.use_moe:
        return total, total
    per_expert = 3 * config.hidden_size * config.moe_intermediate_size
    skipped = config.num_experts - config.num_experts_per_tok
    return total, total - config.num_hidden_layers * skipped * per_expert


def _start(module: nn.Module) -> None:
    """Fill the module's own matrices, a router's as well, which is no ``nn.Linear``."""
    for parameter in module.parameters(recurse=False):
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.02)


def _next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    wide = logits[:, :-1].to(torch.promote_types(logits.dtype, torch.float32))
    targets = labels[:, 1:]
    counted = targets != _NOT_COUNTED
    chosen = wide.gather(-1, targets.masked_fill(~counted, 0)[..., None])[..., 0]
    surprise = (wide.logsumexp(dim=-1) - chosen).masked_fill(~counted, 0.0)
    return surprise.sum() / counted.sum().clamp(min=1)
