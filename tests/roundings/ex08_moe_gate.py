"""Other correct ways to compute the losses of ex08_moe_gate, which round differently."""

import torch


class factor_last:
    """choices become shares first, E comes last, and the qwen loss is the one that is computed"""

    def qwen_aux_loss(scores, topk_idx):
        wide = scores.to(_working_dtype(scores))
        tokens, experts = wide.shape
        counts = torch.bincount(topk_idx.flatten(), minlength=experts).to(wide.dtype)
        return (counts / tokens * wide.mean(dim=0)).sum() * experts

    def batch_aux_loss(scores, topk_idx):
        return qwen_aux_loss(scores, topk_idx) / topk_idx.shape[1]

    def sequence_aux_loss(scores, topk_idx):
        losses = [batch_aux_loss(*each) for each in zip(scores, topk_idx, strict=True)]
        return torch.stack(losses).mean()


class token_by_token:
    """every token's scores are weighed before they are averaged, and sequences are added up"""

    def batch_aux_loss(scores, topk_idx):
        wide = scores.to(_working_dtype(scores))
        counts = torch.bincount(topk_idx.flatten(), minlength=wide.shape[1]).to(wide.dtype)
        weighed = wide @ (counts / topk_idx.numel())
        return weighed.mean() * wide.shape[1]

    def sequence_aux_loss(scores, topk_idx):
        total = scores.new_zeros((), dtype=_working_dtype(scores))
        for each in zip(scores, topk_idx, strict=True):
            total = total + batch_aux_loss(*each)
        return total / len(scores)


class one_after_the_other:
    """scores are added up in a loop over the tokens, which rounds more than sums in pairs"""

    def qwen_aux_loss(scores, topk_idx):
        wide = scores.to(_working_dtype(scores))
        total = torch.zeros_like(wide[0])
        for each in wide:
            total = total + each
        counts = torch.bincount(topk_idx.flatten(), minlength=wide.shape[1]).to(wide.dtype)
        return (counts * total).sum() * (wide.shape[1] / len(wide) ** 2)

    def batch_aux_loss(scores, topk_idx):
        return qwen_aux_loss(scores, topk_idx) / topk_idx.shape[1]

    def sequence_aux_loss(scores, topk_idx):
        losses = [batch_aux_loss(*each) for each in zip(scores, topk_idx, strict=True)]
        return torch.stack(losses).mean()
