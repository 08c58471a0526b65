"""The router of a mixture of experts and its balance losses: the reference for ex08.

Routing is that of Qwen3-MoE in ``transformers``: a softmax over all experts, then the k largest.
Balance is the loss of the Switch Transformer (Fedus et al., arXiv 2101.03961, section 2.2) in
three normalisations: per choice over the batch, per choice within each sequence (DeepSeek-V3,
arXiv 2412.19437, section 2.1.2), and per token over the batch (Qwen).

The router's logits, its softmax and the losses are never narrower than float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import MiniMindConfig


def batch_aux_loss(scores: Tensor, topk_idx: Tensor) -> Tensor:
    """Balance of all tokens together, 1 when every expert is chosen equally often.

    Args:
        scores: ``[N, E]``, probabilities over all experts.
        topk_idx: ``[N, k]``, the chosen experts.

    Returns:
        ``E * sum(f * P)``, 0-dim, in at least float32, with f the shares of the choices and P the
        mean probabilities; differentiable through P.
    """
    return sequence_aux_loss(scores.unsqueeze(0), topk_idx.unsqueeze(0))


def sequence_aux_loss(scores: Tensor, topk_idx: Tensor) -> Tensor:
    """Balance within each sequence, averaged over the sequences.

    Args:
        scores: ``[B, S, E]``, probabilities over all experts.
        topk_idx: ``[B, S, k]``, the chosen experts.

    Returns:
        The mean over B of ``E * sum(f * P)``, 0-dim, in at least float32.
    """
    wide = scores.to(_working_dtype(scores))
    sequences, _, experts = wide.shape
    chosen = topk_idx.flatten(1)
    one_each = torch.ones_like(chosen, dtype=wide.dtype)
    counts = wide.new_zeros(sequences, experts).scatter_add(1, chosen, one_each)
    # Relative to an equal share, so that the factor E is in here.
    load = counts * (experts / chosen.shape[1])
    return (load * wide.mean(dim=1)).sum(dim=1).mean()


def qwen_aux_loss(scores: Tensor, topk_idx: Tensor) -> Tensor:
    """Balance as ``transformers`` counts it for Qwen: choices per token, so k when balanced.

    Args:
        scores: ``[N, E]``, probabilities over all experts.
        topk_idx: ``[N, k]``, the chosen experts.

    Returns:
        ``k * batch_aux_loss``, 0-dim, in at least float32.
    """
    return batch_aux_loss(scores, topk_idx) * topk_idx.shape[1]


class MoEGate(nn.Module):
    """Choose k of E experts for every token, and weigh them.

    Args:
        config: sizes, whether weights are renormalised, and the kind and the coefficient of the
            auxiliary loss.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        self.experts_per_token = config.num_experts_per_tok
        # A single weight divided by itself is 1: the router would get no gradient from it.
        self.renormalise = config.norm_topk_prob and config.num_experts_per_tok > 1
        self.aux_loss_kind = config.aux_loss_kind
        self.aux_loss_coef = config.router_aux_loss_coef
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        nn.init.normal_(self.weight, std=config.hidden_size**-0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Route the tokens of x ``[B, S, C]``.

        Returns:
            ``(topk_idx [N, k], topk_weight [N, k], aux_loss)``; the weights in x's dtype, the loss
            0-dim, with its coefficient, in at least float32, and 0 outside training.
        """
        dtype = _working_dtype(x)
        tokens = x.reshape(-1, x.shape[-1]).to(dtype)
        logits = nn.functional.linear(tokens, self.weight.to(dtype))
        scores = torch.softmax(logits, dim=1)
        topk_idx = logits.topk(self.experts_per_token, dim=1).indices
        topk_weight = scores.gather(1, topk_idx)
        if self.renormalise:
            topk_weight = topk_weight / topk_weight.sum(dim=1, keepdim=True)
        return topk_idx, topk_weight.to(x.dtype), self._aux_loss(scores, topk_idx, x.shape[0])

    def _aux_loss(self, scores: Tensor, topk_idx: Tensor, sequences: int) -> Tensor:
        if not self.training:
            return torch.zeros((), dtype=scores.dtype, device=scores.device)
        if self.aux_loss_kind == "sequence":
            by_sequence = (sequences, scores.shape[0] // sequences, -1)
            loss = sequence_aux_loss(scores.reshape(by_sequence), topk_idx.reshape(by_sequence))
        elif self.aux_loss_kind == "batch":
            loss = batch_aux_loss(scores, topk_idx)
        else:
            loss = qwen_aux_loss(scores, topk_idx)
        return loss * self.aux_loss_coef

    def extra_repr(self) -> str:
        experts, hidden = self.weight.shape
        return f"{hidden}, {experts} experts, {self.experts_per_token} per token"


def _working_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
