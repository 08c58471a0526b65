"""Right answers to ex09_moe, written differently: each must pass every test."""

import torch
from torch import nn
from torch.nn import functional as F


class as_minimind_3_does:
    """a mask per expert, index_add_ into one tensor, and 0 times the parameters of idle experts"""

    class MoEFeedForward(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.gate = MoEGate(config)
            inner = config.moe_intermediate_size
            self.experts = nn.ModuleList(
                [FeedForward(config, intermediate_size=inner) for _ in range(config.num_experts)]
            )
            if config.n_shared_experts > 0:
                self.shared_experts = nn.ModuleList(
                    [FeedForward(config, inner) for _ in range(config.n_shared_experts)]
                )

        def forward(self, x):
            batch_size, seq_len, hidden_dim = x.shape
            topk_idx, topk_weight, aux_loss = self.gate(x)
            x_flat = x.reshape(-1, hidden_dim)
            y = torch.zeros_like(x_flat)
            for i, expert in enumerate(self.experts):
                mask = topk_idx == i
                if mask.any():
                    token_idx = mask.any(dim=-1).nonzero().flatten()
                    weight = topk_weight[mask].view(-1, 1)
                    y.index_add_(0, token_idx, (expert(x_flat[token_idx]) * weight).to(y.dtype))
                elif self.training:
                    y[0, 0] += 0 * sum(p.sum() for p in expert.parameters())
            self.aux_loss = aux_loss
            y = y.view(batch_size, seq_len, hidden_dim)
            if self.config.n_shared_experts > 0:
                for expert in self.shared_experts:
                    y = y + expert(x)
            return y


class as_minimind_2_does:
    """k copies of every token in training, and in eval choices sorted by expert"""

    class MoEFeedForward(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.k = config.num_experts_per_tok
            width = config.moe_intermediate_size
            self.experts = nn.ModuleList(
                [FeedForward(config, width) for _ in range(config.num_experts)]
            )
            self.gate = MoEGate(config)
            self.shared_experts = nn.ModuleList(
                [FeedForward(config, width) for _ in range(config.n_shared_experts)]
            )
            self.aux_loss = None

        def forward(self, x):
            identity, orig_shape = x, x.shape
            topk_idx, topk_weight, self.aux_loss = self.gate(x)
            x = x.reshape(-1, x.shape[-1])
            flat_topk_idx = topk_idx.view(-1)
            if self.training:
                copies = x.repeat_interleave(self.k, dim=0)
                y = torch.zeros_like(copies)
                for i, expert in enumerate(self.experts):
                    mask = flat_topk_idx == i
                    y[mask] = expert(copies[mask]).to(y.dtype)
                y = (y.view(*topk_weight.shape, -1) * topk_weight.unsqueeze(-1)).sum(dim=1)
            else:
                y = self.moe_infer(x, flat_topk_idx, topk_weight.view(-1, 1))
            y = y.view(*orig_shape)
            for expert in self.shared_experts:
                y = y + expert(identity)
            return y

        def moe_infer(self, x, flat_expert_indices, flat_expert_weights):
            out = torch.zeros_like(x)
            idxs = flat_expert_indices.argsort()
            ends = flat_expert_indices.bincount(minlength=len(self.experts)).cumsum(0).tolist()
            token_idxs = idxs // self.k
            start = 0
            for expert, end in zip(self.experts, ends):
                if start == end:
                    continue
                rows = token_idxs[start:end]
                result = expert(x[rows]) * flat_expert_weights[idxs[start:end]]
                out = out.scatter_add(0, rows.view(-1, 1).repeat(1, x.shape[-1]), result)
                start = end
            return out


class as_transformers_does:
    """a one-hot mask [E, k, N], only the experts that were hit, and a sum of zeros for the rest"""

    class MoEFeedForward(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.num_experts = config.num_experts
            self.gate = MoEGate(config)
            self.experts = nn.ModuleList()
            self.shared_experts = nn.ModuleList()
            for _ in range(config.num_experts):
                self.experts.append(FeedForward(config, config.moe_intermediate_size))
            for _ in range(config.n_shared_experts):
                self.shared_experts.append(FeedForward(config, config.moe_intermediate_size))

        def forward(self, hidden_states):
            shape = hidden_states.shape
            selected, routing_weights, self.aux_loss = self.gate(hidden_states)
            hidden_states = hidden_states.reshape(-1, shape[-1])
            final = torch.zeros(
                hidden_states.shape, dtype=hidden_states.dtype, device=hidden_states.device
            )
            expert_mask = F.one_hot(selected, self.num_experts).permute(2, 1, 0)
            for number in expert_mask.sum(dim=(-1, -2)).nonzero().flatten().tolist():
                place, rows = torch.where(expert_mask[number])
                current = self.experts[number](hidden_states[None, rows].reshape(-1, shape[-1]))
                current = current * routing_weights[rows, place, None]
                final.index_add_(0, rows, current.to(hidden_states.dtype))
            if self.training and torch.is_grad_enabled():
                final = final + 0.0 * torch.stack([p.sum() for p in self.parameters()]).sum()
            for expert in self.shared_experts:
                final = final + expert(hidden_states)
            return final.reshape(shape)


class weights_of_every_choice_gathered:
    """the matrices of all experts stacked, those of each choice gathered, and einsum"""

    class MoEFeedForward(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.gate = MoEGate(config)
            inner = config.moe_intermediate_size
            everyone = [FeedForward(config, inner) for _ in range(config.num_experts)]
            self.experts = nn.ModuleList(everyone)
            shared = [FeedForward(config, inner) for _ in range(config.n_shared_experts)]
            self.shared_experts = nn.ModuleList(shared)

        def _stacked(self, name):
            return torch.stack([getattr(expert, name).weight for expert in self.experts])

        def forward(self, x):
            topk_idx, topk_weight, self.aux_loss = self.gate(x)
            rows = x.flatten(0, 1)
            gate = self._stacked("gate_proj")[topk_idx]
            up = self._stacked("up_proj")[topk_idx]
            down = self._stacked("down_proj")[topk_idx]
            hidden = F.silu(torch.einsum("nc,nkic->nki", rows, gate))
            hidden = hidden * torch.einsum("nc,nkic->nki", rows, up)
            # The weight before the last product is the same as after it: that one is linear.
            hidden = hidden * topk_weight.unsqueeze(-1)
            out = torch.einsum("nki,nkci->nc", hidden, down)
            return (out + sum(expert(rows) for expert in self.shared_experts)).view(x.shape)


class token_by_token:
    """a loop over tokens and their choices, sums in float32, idle experts run on no tokens"""

    class MoEFeedForward(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.gate = MoEGate(config)
            width = config.moe_intermediate_size
            self.experts = nn.ModuleList(
                FeedForward(config, width) for _ in range(config.num_experts)
            )
            self.shared_experts = nn.ModuleList(
                FeedForward(config, width) for _ in range(config.n_shared_experts)
            )
            self.register_buffer("aux_loss", torch.tensor(0.0), persistent=False)

        def forward(self, x):
            chosen, weights, self.aux_loss = self.gate(x)
            rows, results = x.reshape(-1, x.shape[-1]), []
            for row, numbers, shares in zip(rows, chosen.tolist(), weights):
                total = torch.zeros_like(row, dtype=torch.promote_types(x.dtype, torch.float32))
                for number, share in zip(numbers, shares):
                    total = total + share * self.experts[number](row)
                for expert in self.shared_experts:
                    total = total + expert(row)
                results.append(total.to(x.dtype))
            out = torch.stack(results)
            for expert in self.experts:
                out = out + expert(rows[:0]).sum()
            return out.view(x.shape)


class concatenated_and_put_back:
    """outputs of all experts joined, put back by an inverse permutation, and summed over k"""

    class MoEFeedForward(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.gate = MoEGate(config)
            for name, count in (
                ("experts", config.num_experts),
                ("shared_experts", config.n_shared_experts),
            ):
                networks = [FeedForward(config, config.moe_intermediate_size) for _ in range(count)]
                setattr(self, name, nn.ModuleList(networks))

        def forward(self, x):
            idx, weight, self.aux_loss = self.gate(x)
            flat, k = x.reshape(-1, x.size(-1)), idx.size(1)
            order = torch.argsort(idx.reshape(-1))
            back = torch.empty_like(order)
            back[order] = torch.arange(order.numel(), device=x.device)
            counts = [(idx == number).sum().item() for number in range(len(self.experts))]
            parts = flat.index_select(0, order.div(k, rounding_mode="floor")).split(counts)
            outputs = torch.cat([self.experts[i](part) for i, part in enumerate(parts)])
            mixed = torch.bmm(weight.unsqueeze(1), outputs[back].view(-1, k, x.size(-1)))
            extra = [expert(flat) for expert in self.shared_experts]
            return torch.stack([mixed.squeeze(1), *extra]).sum(0).view_as(x)


class dummy_token_for_idle_experts:
    """in training an idle expert computes one token, whose result is multiplied by 0"""

    class MoEFeedForward(nn.Module):
        def __init__(self, config):
            super().__init__()
            inner = config.moe_intermediate_size
            self.gate = MoEGate(config)
            self.experts = nn.ModuleList(
                [FeedForward(config, inner) for _ in range(config.num_experts)]
            )
            self.shared_experts = nn.ModuleList(
                [FeedForward(config, inner) for _ in range(config.n_shared_experts)]
            )

        def forward(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.aux_loss = aux_loss
            rows = x.reshape(-1, x.shape[-1])
            out = rows.new_zeros(rows.shape)
            for i in range(len(self.experts)):
                where = (topk_idx == i).nonzero()
                if where.shape[0] == 0:
                    if self.training:
                        out = out + 0.0 * self.experts[i](rows[:1])
                    continue
                tokens, places = where[:, 0], where[:, 1]
                weighed = self.experts[i](rows[tokens]) * topk_weight[tokens, places][:, None]
                index = tokens[:, None].expand_as(weighed)
                out = out.scatter_add(0, index, weighed)
            for shared in self.shared_experts:
                out = out + shared(rows)
            return out.reshape(x.shape)
