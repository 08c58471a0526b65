"""A mixture of feed-forward experts: the reference for ex09.

Shazeer et al. 2017 (arXiv 1701.06538) let a router choose; DeepSeekMoE (arXiv 2401.06066) adds
experts that every token shares.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import MiniMindConfig
from .feed_forward import FeedForward
from .moe_gate import MoEGate


class MoEFeedForward(nn.Module):
    """Feed-forward experts of which every token passes through k, and through all shared ones.

    Attributes:
        aux_loss: the router's balance loss of the latest call, 0-dim.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        inner = config.moe_intermediate_size
        self.gate = MoEGate(config)
        self.experts = nn.ModuleList(FeedForward(config, inner) for _ in range(config.num_experts))
        if config.n_shared_experts:
            self.shared_experts = nn.ModuleList(
                FeedForward(config, inner) for _ in range(config.n_shared_experts)
            )
        self.aux_loss: Tensor = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """``[B, S, C] -> [B, S, C]`` in x's dtype."""
        topk_idx, topk_weight, self.aux_loss = self.gate(x)
        tokens = x.reshape(-1, x.shape[-1])
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            rows, choice = (topk_idx == number).nonzero(as_tuple=True)
            weighed = expert(tokens[rows]) * topk_weight[rows, choice, None]
            out = out.index_add(0, rows, weighed)
        for shared in getattr(self, "shared_experts", ()):
            out = out + shared(tokens)
        return out.reshape(x.shape)
