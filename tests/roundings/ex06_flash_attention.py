"""Other correct ways to compute the reference of ex06_flash_attention, which round differently."""

import torch


class divided_at_the_end:
    """both sums are relative to the running maximum, and the result is divided once; products in
    the dtype of the inputs, where a weight far below the maximum loses digits"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        wide = torch.promote_types(lse_a.dtype, torch.float32)
        lse_a, lse_b = lse_a.to(wide), lse_b.to(wide)
        top = torch.maximum(lse_a, lse_b)
        top = top.masked_fill(top == -torch.inf, 0.0)
        a, b = (lse_a - top).exp(), (lse_b - top).exp()
        weighed = a.unsqueeze(-1) * out_a.to(wide) + b.unsqueeze(-1) * out_b.to(wide)
        total = a + b
        out = weighed / total.masked_fill(total == 0, 1.0).unsqueeze(-1)
        return out.to(out_a.dtype), top + total.log()

    def _scores(q, k, hidden):
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = torch.matmul(q, k.mT).to(wide) * q.shape[-1] ** -0.5
        return scores if hidden is None else scores.masked_fill(hidden, -torch.inf)

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        wide = torch.promote_types(q.dtype, torch.float32)
        weighed = torch.zeros(q.shape, dtype=wide, device=q.device)
        total = torch.zeros(q.shape[:-1], dtype=wide, device=q.device)
        top = torch.full_like(total, -torch.inf)
        for rows, keys, hidden in _slices(q, k, is_causal, block_size):
            scores = _scores(q[:, :, rows], k[:, :, keys], hidden)
            before = top[:, :, rows]
            after = torch.maximum(before, scores.amax(-1))
            shift = after.masked_fill(after == -torch.inf, 0.0)
            correction = (before - shift).exp()
            weights = (scores - shift.unsqueeze(-1)).exp()
            total[:, :, rows] = total[:, :, rows] * correction + weights.sum(-1)
            here = torch.matmul(weights.to(v.dtype), v[:, :, keys]).to(wide)
            weighed[:, :, rows] = weighed[:, :, rows] * correction.unsqueeze(-1) + here
            top[:, :, rows] = after
        out = weighed / total.masked_fill(total == 0, 1.0).unsqueeze(-1)
        lse = top.masked_fill(top == -torch.inf, 0.0) + total.log()
        return out.to(q.dtype), lse


class divided_before_the_product:
    """the queries alone are cut; weights are divided in float32 and rounded to the dtype of the
    values, so that equal ones are all off in the same direction"""

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        wide = torch.promote_types(q.dtype, torch.float32)
        queries, keys = q.shape[2], k.shape[2]
        hidden = torch.ones(queries, keys, dtype=torch.bool, device=q.device)
        hidden = hidden.triu(keys - queries + 1) if is_causal else ~hidden
        outs, lses = [], []
        for start in range(0, queries, block_size):
            rows = slice(start, start + block_size)
            scores = torch.matmul(q[:, :, rows], k.mT).to(wide) * q.shape[-1] ** -0.5
            scores = scores.masked_fill(hidden[rows], -torch.inf)
            weights = scores.softmax(-1).masked_fill(hidden[rows], 0.0)
            outs.append(torch.matmul(weights.to(v.dtype), v))
            lses.append(scores.logsumexp(-1))
        return torch.cat(outs, 2), torch.cat(lses, 2)


class weights_of_whole_rows:
    """all weights at once, by the exponential of scores less their largest; the gradient of the
    scores from the weights alone"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        wide = torch.promote_types(q.dtype, torch.float32)
        queries, keys = q.shape[2], k.shape[2]
        everything = torch.ones(queries, keys, dtype=torch.bool, device=q.device)
        hidden = everything.triu(keys - queries + 1) if is_causal else None
        scores = torch.matmul(q.to(wide), k.to(wide).mT) * q.shape[-1] ** -0.5
        scores = scores if hidden is None else scores.masked_fill(hidden, -torch.inf)
        weights = scores.softmax(-1).masked_fill((lse == -torch.inf).unsqueeze(-1), 0.0)
        moved = torch.matmul(grad_out.to(wide), v.to(wide).mT)
        slopes = weights * (moved - (weights * moved).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        dq, dk = torch.matmul(slopes, k.to(wide)), torch.matmul(slopes.mT, q.to(wide))
        dv = torch.matmul(weights.mT, grad_out.to(wide))
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)
