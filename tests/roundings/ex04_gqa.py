"""Other correct ways to compute the reference of ex04_gqa, which round differently.

The contract allows the built-in, a loop over heads and products in the dtype of the inputs; a key
that several heads read then collects its gradient in that dtype.
"""

import torch


class built_in:
    """scaled_dot_product_attention with enable_gqa"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys = q.shape[1], k.shape[1]
        visible = torch.ones(queries, keys, dtype=torch.bool, device=q.device)
        if is_causal:
            visible = visible.tril(keys - queries)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, enable_gqa=True
        )
        return out.masked_fill(~visible.any(-1)[:, None], 0.0).transpose(1, 2)


class head_after_head:
    """a loop over query heads, products in the dtype of the inputs, scaled after the product"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, heads, width = q.shape[1:]
        keys, kv_heads = k.shape[1:3]
        hidden = _hidden(queries, keys, q.device)[:, 0] & is_causal
        outs = []
        for head in range(heads):
            kv = head * kv_heads // heads
            scores = q[:, :, head] @ k[:, :, kv].mT / width**0.5
            scores = scores.to(torch.promote_types(q.dtype, torch.float32))
            weights = scores.masked_fill(hidden, -torch.inf).softmax(-1).masked_fill(hidden, 0.0)
            outs.append(weights.to(v.dtype) @ v[:, :, kv])
        return torch.stack(outs, dim=2)


class softmax_by_hand:
    """exp of the scores less their logarithm of the sum of exp"""

    def _softmax(scores, hidden):
        if hidden is None:
            hidden = torch.zeros((), dtype=torch.bool)
        low = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        return (low - low.logsumexp(-1, keepdim=True)).exp().masked_fill(hidden, 0.0)


class exponentials_over_their_sum:
    """exp of the scores less the largest, over the sum; the scores are divided by sqrt(d)"""

    def grouped_attention(q, k, v, *, is_causal=True):
        batch, queries, heads, width = q.shape
        keys, kv_heads = k.shape[1:3]
        dtype = torch.promote_types(q.dtype, torch.float32)
        q, k, v, out_dtype = q.to(dtype), k.to(dtype), v.to(dtype), q.dtype
        grouped = q.reshape(batch, queries, kv_heads, -1, width)
        scores = torch.einsum("bskgd,btkd->bkgst", grouped, k) / width**0.5
        hidden = _hidden(queries, keys, q.device)[:, 0] & is_causal
        scores = scores.masked_fill(hidden, torch.finfo(dtype).min)
        weights = (scores - scores.amax(-1, keepdim=True).detach()).exp().masked_fill(hidden, 0.0)
        weights = weights / weights.sum(-1, keepdim=True).masked_fill(hidden.all(-1)[:, None], 1.0)
        return torch.einsum("bkgst,btkd->bskgd", weights, v).flatten(2, 3).to(out_dtype)
