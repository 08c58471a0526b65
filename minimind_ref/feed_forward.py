"""The gated feed-forward network: the reference for ex07.

SwiGLU as in Shazeer 2020, GLU Variants Improve Transformer (arXiv 2002.05202), without biases, with
the names of Llama and Qwen3 in ``transformers``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .config import MiniMindConfig


class FeedForward(nn.Module):
    """``down(silu(gate(x)) * up(x))``.

    Args:
        config: ``hidden_size``, and ``intermediate_size`` unless the argument gives another.
        intermediate_size: the inner width I; None or 0 for the config's.
    """

    def __init__(self, config: MiniMindConfig, intermediate_size: int | None = None) -> None:
        super().__init__()
        inner = intermediate_size or config.intermediate_size
        self.gate_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.down_proj = nn.Linear(inner, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., C] -> [..., C]`` in x's dtype."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
