"""ex09: the mixture of experts."""

import torch
from torch import nn

from minimind_ref.config import MiniMindConfig

from .ex07_feed_forward import FeedForward
from .ex08_moe_gate import MoEGate


class MoEFeedForward(nn.Module):
    """A mixture of experts."""

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        # BEGIN SOLUTION
        inner = config.moe_intermediate_size
        self.gate = MoEGate(config)
        self.experts = nn.ModuleList(FeedForward(config, inner) for _ in range(config.num_experts))
        if config.n_shared_experts > 0:
            shared = range(config.n_shared_experts)
            self.shared_experts = nn.ModuleList(FeedForward(config, inner) for _ in shared)
        self.aux_loss = torch.zeros(())
        # END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, S, C] -> [B, S, C]``."""
        # BEGIN SOLUTION
        topk_idx, topk_weight, self.aux_loss = self.gate(x)
        flat = x.reshape(-1, x.shape[-1])
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            tokens, places = torch.where(topk_idx == number)
            out.index_add_(0, tokens, topk_weight[tokens, places, None] * expert(flat[tokens]))
        if hasattr(self, "shared_experts"):
            for expert in self.shared_experts:
                out = out + expert(flat)
        return out.reshape(x.shape)
        # END SOLUTION
