"""A mixture of feed-forward experts: the reference for ex09.

A router chooses as in Shazeer et al. 2017 (arXiv 1701.06538, equation 1: ``y = sum G(x)_i E_i(x)``,
computed only where G(x)_i is not 0). Beside the chosen ones stand experts that every token shares,
as in DeepSeekMoE (Dai et al. 2024, arXiv 2401.06066, equation 9, whose residual belongs to the
block). Tokens are sorted by expert, so that each expert has its own in one piece.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import MiniMindConfig
from .feed_forward import FeedForward
from .moe_gate import MoEGate


class MoEFeedForward(nn.Module):
    """Feed-forward experts of which every token passes through k, and through all shared ones.

    Args:
        config: the number of experts, of shared ones, their width, and the router's settings.

    Attributes:
        aux_loss: the router's balance loss of the latest call, 0-dim; 0 outside training.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        self.gate = MoEGate(config)
        self.experts = _experts(config, config.num_experts)
        self.shared_experts = _experts(config, config.n_shared_experts)
        self.aux_loss: Tensor = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """``[B, S, C] -> [B, S, C]`` in x's dtype."""
        topk_idx, topk_weight, self.aux_loss = self.gate(x)
        tokens = x.reshape(-1, x.shape[-1])
        outputs = self._outputs(tokens, topk_idx)
        out = _mixed(outputs, topk_weight)
        for shared in self.shared_experts:
            out = out + shared(tokens)
        return out.reshape(x.shape)

    def _outputs(self, tokens: Tensor, topk_idx: Tensor) -> Tensor:
        """What each token's chosen experts make of it: ``[N, C], [N, k] -> [N, k, C]``."""
        choices = topk_idx.flatten()
        by_expert = choices.argsort(stable=True)
        sizes = choices.bincount(minlength=len(self.experts)).tolist()
        sorted_tokens = tokens[by_expert // topk_idx.shape[1]]
        # An expert without tokens runs on none, so that its parameters get a gradient of zeros.
        pieces = zip(self.experts, torch.split(sorted_tokens, sizes), strict=True)
        outputs = torch.cat([expert(piece) for expert, piece in pieces])
        return outputs[by_expert.argsort()].reshape(*topk_idx.shape, -1)


def _experts(config: MiniMindConfig, count: int) -> nn.ModuleList:
    return nn.ModuleList(FeedForward(config, config.moe_intermediate_size) for _ in range(count))


def _mixed(outputs: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum over a token's experts: ``[N, k, C], [N, k] -> [N, C]``."""
    return (outputs * weights.unsqueeze(-1)).sum(dim=1)
