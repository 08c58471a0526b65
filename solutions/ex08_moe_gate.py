"""ex08: the router of a mixture of experts (MoE).

A mixture of experts has E feed-forward networks where a dense layer has one, and lets each token
pass through k of them only. So it has the parameters of E networks at the price of k. The router
decides which: it scores every expert for every token, takes the k best, and says how much each of
their outputs counts.

    logits = x @ weight.T               one number per token and expert
    scores = softmax(logits)            over all E experts, so the scores of a token sum to 1
    topk_idx, topk_weight               the k largest scores of each token, and where they are

Left alone, a router sends everything to a few favourites: who is chosen learns, and who has
learned is chosen. An auxiliary loss, added to the loss of the model, holds against that. With
f_e the share of all choices that fell on expert e, and P_e the mean score of expert e,

    loss = E * sum over e of f_e * P_e

which is 1 when all experts are chosen equally often, and E when all tokens are sure of one. No
gradient goes through f: choosing is counting, and counts have no slope. It goes through P, which f
weighs: the more often an expert was chosen, the more its scores are pushed down.

You write the three forms of this loss that are in use, and then the router.

Axes: B batch, S positions, N = B * S tokens, C hidden size, E experts, k experts per token. No
function here modifies an argument. Inputs need not be contiguous.
"""

import torch
from torch import nn
from torch.nn import functional as F

from minimind_ref.config import MiniMindConfig

# BEGIN SOLUTION


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _counts(topk_idx: torch.Tensor, experts: int) -> torch.Tensor:
    """How many choices fell on each expert: ``[..., tokens, k] -> [..., experts]``."""
    return F.one_hot(topk_idx, experts).sum(dim=(-3, -2))


def _fractions(topk_idx: torch.Tensor, experts: int) -> torch.Tensor:
    """f: each expert's share of the choices, ``[..., tokens, k] -> [..., experts]``."""
    tokens, k = topk_idx.shape[-2:]
    return _counts(topk_idx, experts) / (tokens * k)


def _mean_scores(wide: torch.Tensor) -> torch.Tensor:
    """P: each expert's mean score, ``[..., tokens, experts] -> [..., experts]``."""
    return wide.mean(dim=-2)


def _balance(scores: torch.Tensor, topk_idx: torch.Tensor) -> torch.Tensor:
    """``E * sum f * P`` of each group of tokens, the axis -2 of both: ``[...]``."""
    wide = _widen(scores)
    experts = wide.shape[-1]
    share = _fractions(topk_idx, experts).to(wide.dtype)
    return experts * (share * _mean_scores(wide)).sum(dim=-1)


# END SOLUTION


def batch_aux_loss(scores: torch.Tensor, topk_idx: torch.Tensor) -> torch.Tensor:
    """Balance over all tokens together: ``E * sum over e of f_e * P_e``.

    f_e is the share of the N * k choices that fell on expert e (some experts may have none), P_e
    the mean over the N tokens of the scores of expert e. The result is 1 when every expert has
    the same share of the choices.

    Computed in float32 at least and returned in that dtype: float32 for scores in half precision.

    Args:
        scores: ``[N, E]``, softmax probabilities over all E experts, not renormalised.
        topk_idx: ``[N, k]``, the experts each token chose, in any order.

    Returns:
        A tensor without axes. Gradients reach the scores through P, never through f.
    """
    # BEGIN SOLUTION
    return _balance(scores, topk_idx)
    # END SOLUTION


def sequence_aux_loss(scores: torch.Tensor, topk_idx: torch.Tensor) -> torch.Tensor:
    """Balance within each sequence: the loss above for every sequence alone, then their mean.

    Two sequences that load different experts can be balanced together while neither is by itself.
    Here f and P belong to one sequence: f_e is its share of that sequence's S * k choices, P_e the
    mean over its S tokens.

    Computed in float32 at least and returned in that dtype.

    Args:
        scores: ``[B, S, E]``, softmax probabilities over all E experts, not renormalised.
        topk_idx: ``[B, S, k]``, the experts each token chose, in any order.

    Returns:
        A tensor without axes. Gradients as above.
    """
    # BEGIN SOLUTION
    return _balance(scores, topk_idx).mean()
    # END SOLUTION


def qwen_aux_loss(scores: torch.Tensor, topk_idx: torch.Tensor) -> torch.Tensor:
    """Balance as in Qwen and ``transformers``: k times ``batch_aux_loss``.

    They divide the counts by the number of tokens, not by that of choices, so that the k experts
    of a token each count in full and the loss is k when balanced.

    Args:
        scores: ``[N, E]``, as in ``batch_aux_loss``.
        topk_idx: ``[N, k]``, likewise.

    Returns:
        A tensor without axes, in float32 at least.
    """
    # BEGIN SOLUTION
    return topk_idx.shape[-1] * batch_aux_loss(scores, topk_idx)
    # END SOLUTION


class MoEGate(nn.Module):
    """The router: which k of the E experts each token goes to, and what each of them counts.

    Has one parameter, ``weight``, of shape ``[E, C]``, and no bias; nothing else appears in its
    state dict. The weight starts with random numbers: from a constant every token would score
    all experts alike, and they would never part.

    Args:
        config: of it the router uses ``hidden_size`` (C), ``num_experts`` (E),
            ``num_experts_per_tok`` (k), ``norm_topk_prob``, ``aux_loss_kind`` and
            ``router_aux_loss_coef``.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        # BEGIN SOLUTION
        self.config = config
        self.weight = nn.Parameter(self._initial_weight(config.num_experts, config.hidden_size))
        # END SOLUTION

    # BEGIN SOLUTION
    def _initial_weight(self, experts: int, hidden: int) -> torch.Tensor:
        return torch.randn(experts, hidden) * 0.05

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, S, C] -> [B, S, E]``; x and the weight may have different dtypes."""
        wide = _widen(x)
        return F.linear(wide, self.weight.to(wide.dtype))

    def _scores(self, x: torch.Tensor) -> torch.Tensor:
        """Each token's probabilities of all experts: ``[B, S, C] -> [B, S, E]``."""
        return self._logits(x).softmax(dim=-1)

    def _renormalises(self) -> bool:
        # With k = 1 every weight would be 1 whatever the router says, and its gradient 0.
        return self.config.norm_topk_prob and self.config.num_experts_per_tok > 1

    def _choose(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The k best experts of each token and their weights, each ``[B, S, k]``."""
        topk_weight, topk_idx = scores.topk(self.config.num_experts_per_tok, dim=-1)
        if self._renormalises():
            topk_weight = topk_weight / topk_weight.sum(dim=-1, keepdim=True)
        return topk_idx, topk_weight

    def _balance_loss(self, scores: torch.Tensor, topk_idx: torch.Tensor) -> torch.Tensor:
        """The kind of loss that the config asks for."""
        if self.config.aux_loss_kind == "sequence":
            return sequence_aux_loss(scores, topk_idx)
        loss = qwen_aux_loss if self.config.aux_loss_kind == "qwen" else batch_aux_loss
        return loss(scores.flatten(0, 1), topk_idx.flatten(0, 1))

    def _aux_loss(self, scores: torch.Tensor, topk_idx: torch.Tensor) -> torch.Tensor:
        """What the router adds to the loss of the model: nothing outside training."""
        if not self.training:
            return scores.new_zeros(())
        return self.config.router_aux_loss_coef * self._balance_loss(scores, topk_idx)

    # END SOLUTION

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Route every token of x.

        1. The logits are ``x @ weight.T``, the scores their softmax over all E experts.
        2. Each token's experts are those of its k largest scores.
        3. Their weights are these scores. If ``norm_topk_prob`` is set *and* k > 1, they are
           divided by their sum, so that the weights of a token sum to 1. Not with k = 1: every
           weight would then be 1 whatever the router says, and it would never learn.
        4. In training the auxiliary loss is that of ``aux_loss_kind`` ("qwen", "batch" or
           "sequence"), from the scores before step 3, times ``router_aux_loss_coef``. In eval it
           is 0.

        All of this runs in float32 at least, the product in step 1 and the division in step 3 too,
        whatever the weight's dtype is: two logits that bfloat16 cannot tell apart decide where a
        token goes. Only the finished weights are cast back.

        Args:
            x: hidden states ``[B, S, C]``. Every position counts, padding as well.

        Returns:
            ``(topk_idx, topk_weight, aux_loss)``: the experts' numbers ``[N, k]`` and their
            weights ``[N, k]``, one row per token, sequence after sequence, the k of a row in any
            order but the same in both; weights in x's dtype. The loss is a tensor without axes,
            in the dtype of the computation. Gradients reach x and the weight through the weights
            and through the loss.
        """
        # BEGIN SOLUTION
        scores = self._scores(x)
        topk_idx, topk_weight = self._choose(scores)
        aux_loss = self._aux_loss(scores, topk_idx)
        return topk_idx.flatten(0, 1), topk_weight.flatten(0, 1).to(x.dtype), aux_loss
        # END SOLUTION
