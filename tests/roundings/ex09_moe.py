"""Other correct ways to compute the reference of ex09_moe, which round differently."""

import torch


class one_choice_after_the_other:
    """the weighted outputs are rounded and added one by one"""

    def _mixed(outputs, weights):
        out = torch.zeros_like(outputs[:, 0])
        for output, weight in zip(outputs.unbind(1), weights.unbind(1), strict=True):
            out = out + output * weight.unsqueeze(-1)
        return out


class in_float32:
    """the sum over choices is taken in float32 at least, and rounded once"""

    def _mixed(outputs, weights):
        wide = torch.promote_types(outputs.dtype, torch.float32)
        return torch.einsum("nkc,nk->nc", outputs.to(wide), weights.to(wide)).to(outputs.dtype)


class weighed_before_the_last_product:
    """silu's product is rounded once more, times the weight, before down_proj"""

    class MoEFeedForward(MoEFeedForward):
        def _one(self, number, row, weight):
            expert = self.experts[number]
            gate = expert.gate_proj(row)
            return expert.down_proj(nn.functional.silu(gate) * expert.up_proj(row) * weight)

        def forward(self, x):
            topk_idx, topk_weight, self.aux_loss = self.gate(x)
            tokens = x.reshape(-1, x.shape[-1])
            rows = []
            for row, numbers, weights in zip(tokens, topk_idx.tolist(), topk_weight, strict=True):
                chosen = zip(numbers, weights, strict=True)
                rows.append(sum(self._one(n, row.unsqueeze(0), weight) for n, weight in chosen))
            out = torch.cat(rows)
            for expert in self.experts:
                out = out + expert(tokens[:0]).sum()
            for expert in self.shared_experts:
                out = out + expert(tokens)
            return out.reshape(x.shape)
