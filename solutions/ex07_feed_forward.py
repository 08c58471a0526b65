"""ex07: the gated feed-forward network."""

import torch
from torch import nn

from minimind_ref.config import MiniMindConfig


class FeedForward(nn.Module):
    """The gated feed-forward network."""

    def __init__(self, config: MiniMindConfig, intermediate_size: int | None = None) -> None:
        super().__init__()
        # BEGIN SOLUTION
        inner = config.intermediate_size if intermediate_size is None else intermediate_size
        self.gate_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.down_proj = nn.Linear(inner, config.hidden_size, bias=False)
        # END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., C] -> [..., C]``."""
        # BEGIN SOLUTION
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))
        # END SOLUTION
