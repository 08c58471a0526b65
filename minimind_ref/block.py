"""One transformer block: the reference for ex10.

The pre-norm order of Xiong et al. (arXiv 2002.04745, figure 1b), with the names of Llama and Qwen3
in ``transformers``.
"""

from __future__ import annotations

from torch import Tensor, nn

from .config import MiniMindConfig
from .feed_forward import FeedForward
from .kv_cache import Attention, KeyValue
from .moe import MoEFeedForward
from .rmsnorm import RMSNorm


class MiniMindBlock(nn.Module):
    """Attention, then a feed-forward network or a mixture of them, both on the residual stream.

    Args:
        layer_id: the block's place in the stack, from 0.
        config: sizes, ``rms_norm_eps``, and ``use_moe``, which holds for every layer.
    """

    def __init__(self, layer_id: int, config: MiniMindConfig) -> None:
        super().__init__()
        self.layer_id = layer_id
        width, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = Attention(config)
        self.input_layernorm = RMSNorm(width, eps=eps)
        self.post_attention_layernorm = RMSNorm(width, eps=eps)
        self.mlp: nn.Module = (MoEFeedForward if config.use_moe else FeedForward)(config)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue | None]:
        """Add to the stream ``[B, S, C]`` what attention and then the network read out of it.

        Returns:
            ``(hidden, present)``; present is None without ``use_cache``.

        Raises:
            ValueError: ``attention_mask`` is not ``[B, T]``.
        """
        residual = hidden_states
        attended, present = self.self_attn(
            self.input_layernorm(residual),
            position_embeddings,
            past_key_value,
            use_cache,
            attention_mask,
        )
        residual = residual + attended
        return residual + self.mlp(self.post_attention_layernorm(residual)), present

    def extra_repr(self) -> str:
        return f"layer {self.layer_id}"
