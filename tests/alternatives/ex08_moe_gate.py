"""Right answers to ex08_moe_gate, written differently: each must pass every test."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class as_minimind_does:
    """one flat view, one-hot means kept apart per choice, a guarded division, Kaiming start"""

    def qwen_aux_loss(scores, topk_idx):
        num_experts = scores.shape[-1]
        load = F.one_hot(topk_idx, num_experts).float().mean(0)
        return (load * scores.float().mean(0)).sum() * num_experts

    def batch_aux_loss(scores, topk_idx):
        return qwen_aux_loss(scores, topk_idx) / topk_idx.shape[1]

    def sequence_aux_loss(scores, topk_idx):
        bsz, seq_len, num_experts = scores.shape
        scores = scores.float()
        ce = torch.zeros(bsz, num_experts, device=scores.device)
        flat = topk_idx.view(bsz, -1)
        ce.scatter_add_(1, flat, torch.ones(flat.shape, device=scores.device))
        ce.div_(flat.shape[1] / num_experts)
        return (ce * scores.mean(dim=1)).sum(dim=1).mean()

    class MoEGate(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.top_k = config.num_experts_per_tok
            self.n_routed_experts = config.num_experts
            self.alpha = config.router_aux_loss_coef
            self.kind = config.aux_loss_kind
            self.norm_topk_prob = config.norm_topk_prob
            self.weight = nn.Parameter(torch.empty(self.n_routed_experts, config.hidden_size))
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

        def forward(self, x):
            bsz, seq_len, h = x.shape
            hidden = x.reshape(-1, h)
            scores = F.linear(hidden.float(), self.weight.float()).softmax(dim=-1)
            topk_weight, topk_idx = torch.topk(scores, k=self.top_k, dim=-1, sorted=False)
            if self.top_k > 1 and self.norm_topk_prob:
                topk_weight = topk_weight / (topk_weight.sum(dim=-1, keepdim=True) + 1e-20)
            if self.training and self.alpha > 0.0:
                if self.kind == "sequence":
                    aux = sequence_aux_loss(
                        scores.view(bsz, seq_len, -1), topk_idx.view(bsz, seq_len, -1)
                    )
                elif self.kind == "batch":
                    aux = batch_aux_loss(scores, topk_idx)
                else:
                    aux = qwen_aux_loss(scores, topk_idx)
                aux_loss = aux * self.alpha
            else:
                aux_loss = scores.new_zeros(1).squeeze()
            return topk_idx, topk_weight.to(x.dtype), aux_loss


class token_by_token:
    """loops over tokens and experts, the choice by a Python sort, the worst of the k first"""

    def batch_aux_loss(scores, topk_idx):
        counts = [0] * scores.shape[1]
        for row in topk_idx.tolist():
            for expert in row:
                counts[expert] += 1
        choices = sum(counts)
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        total = wide.new_zeros(())
        for expert, count in enumerate(counts):
            total = total + count / choices * wide[:, expert].mean()
        return len(counts) * total

    def sequence_aux_loss(scores, topk_idx):
        losses = [batch_aux_loss(s, i) for s, i in zip(scores, topk_idx, strict=True)]
        return torch.stack(losses).mean()

    class MoEGate(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.weight = nn.Parameter(torch.rand(config.num_experts, config.hidden_size) - 0.5)

        def forward(self, x):
            k = self.config.num_experts_per_tok
            logits = torch.stack([sequence.float() @ self.weight.float().T for sequence in x])
            exponentials = torch.exp(logits - logits.amax(dim=2, keepdim=True))
            scores = exponentials / exponentials.sum(dim=2, keepdim=True)
            indices, weights = [], []
            for score in torch.cat(list(scores)):
                ranked = sorted(range(len(score)), key=score.tolist().__getitem__)[-k:]
                weight = torch.stack([score[expert] for expert in ranked])
                if k > 1 and self.config.norm_topk_prob:
                    weight = weight / weight.sum()
                indices.append(torch.tensor(ranked, device=x.device))
                weights.append(weight)
            topk_idx = torch.stack(indices)
            topk_weight = torch.stack(weights).to(x.dtype)
            if not self.training:
                return topk_idx, topk_weight, torch.tensor(0.0, device=x.device)
            if self.config.aux_loss_kind == "sequence":
                loss = sequence_aux_loss(scores, topk_idx.view(*x.shape[:2], k))
            else:
                loss = batch_aux_loss(torch.cat(list(scores)), topk_idx)
                if self.config.aux_loss_kind == "qwen":
                    loss = loss * k
            return topk_idx, topk_weight, loss * self.config.router_aux_loss_coef


class wide_and_dense:
    """float64 inside, dense masks and einsum, the experts of a token in rising order"""

    def _load(topk_idx, experts):
        everyone = torch.arange(experts, device=topk_idx.device)
        return (topk_idx.unsqueeze(-1) == everyone).any(dim=-2).double()

    def batch_aux_loss(scores, topk_idx):
        tokens, experts = scores.shape
        load = _load(topk_idx, experts)
        loss = torch.einsum("ne,me->", load, scores.double()) * experts
        return (loss / (tokens * tokens * topk_idx.shape[1])).float()

    def sequence_aux_loss(scores, topk_idx):
        batch, tokens, experts = scores.shape
        load = _load(topk_idx, experts)
        loss = torch.einsum("bse,bte->b", load, scores.double()).sum() * experts
        return (loss / (batch * tokens * tokens * topk_idx.shape[2])).float()

    class MoEGate(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
            nn.init.xavier_normal_(self.weight)

        def forward(self, x):
            k = self.config.num_experts_per_tok
            logits = torch.einsum("bsc,ec->bse", x.double(), self.weight.double())
            log_scores = torch.log_softmax(logits, dim=-1)
            topk_idx = logits.flatten(0, 1).topk(k, dim=1).indices.sort(dim=1).values
            scores = log_scores.exp().flatten(0, 1)
            chosen = log_scores.flatten(0, 1).gather(1, topk_idx)
            if self.config.norm_topk_prob and k > 1:
                weight = chosen.softmax(dim=-1)
            else:
                weight = chosen.exp()
            aux = torch.zeros([], dtype=torch.float32, device=x.device)
            if self.training:
                kind = self.config.aux_loss_kind
                if kind == "sequence":
                    shape = (*x.shape[:2], -1)
                    aux = sequence_aux_loss(scores.view(shape), topk_idx.view(shape))
                elif kind == "batch":
                    aux = batch_aux_loss(scores, topk_idx)
                else:
                    aux = qwen_aux_loss(scores, topk_idx)
                aux = aux * self.config.router_aux_loss_coef
            return topk_idx, weight.to(x.dtype), aux


class on_fresh_memory:
    """counts by bincount and index_add_, weights renormalised in place, argsort for the choice"""

    def _count(topk_idx, experts):
        return torch.bincount(topk_idx.reshape(-1), minlength=experts)

    def batch_aux_loss(scores, topk_idx):
        scores = scores.to(torch.float32, copy=True)
        share = _count(topk_idx, scores.size(-1)).to(scores) / topk_idx.numel()
        return (scores @ share).mean() * scores.size(-1)

    def sequence_aux_loss(scores, topk_idx):
        total = torch.zeros((), device=scores.device)
        for row in range(scores.size(0)):
            total += batch_aux_loss(scores[row], topk_idx[row])
        return total / scores.size(0)

    def qwen_aux_loss(scores, topk_idx):
        experts = scores.size(-1)
        counts = torch.zeros(experts, dtype=torch.float32, device=scores.device)
        counts.index_add_(0, topk_idx.flatten(), torch.ones(topk_idx.numel()).to(counts))
        return torch.dot(counts / topk_idx.size(0), scores.float().mean(0)).mul(experts)

    class MoEGate(nn.Module):
        def __init__(self, config):
            super().__init__()
            linear = nn.Linear(config.hidden_size, config.num_experts, bias=False)
            self.weight = linear.weight
            self.k = config.num_experts_per_tok
            self.norm = config.norm_topk_prob
            self.kind = config.aux_loss_kind
            self.coef = config.router_aux_loss_coef
            self.aux_loss = None

        def forward(self, x):
            batch, length, _ = x.size()
            with torch.autocast(x.device.type, enabled=False):
                logits = x.float() @ self.weight.float().t()
                scores = F.softmax(logits, dim=2, dtype=torch.float32)
            chosen = logits.argsort(dim=2, descending=True)[:, :, : self.k]
            weight = scores.gather(2, chosen)
            if self.norm and self.k > 1:
                weight /= weight.sum(dim=2, keepdim=True)
            flat = chosen.reshape(batch * length, self.k)
            if not self.training:
                self.aux_loss = torch.zeros_like(scores.sum())
            elif self.kind == "sequence":
                self.aux_loss = self.coef * sequence_aux_loss(scores, chosen)
            else:
                loss = {"qwen": qwen_aux_loss, "batch": batch_aux_loss}[self.kind]
                self.aux_loss = self.coef * loss(scores.reshape(batch * length, -1), flat)
            return flat, weight.reshape(flat.shape).type_as(x), self.aux_loss
