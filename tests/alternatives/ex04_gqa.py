"""Right answers to ex04_gqa, written differently: each must pass every test."""

import math

import torch
import torch.nn.functional as F


class scaled_dot_product_attention:
    """the built-in with enable_gqa and a mask of its own"""

    def repeat_kv(x, n_rep):
        return x.repeat_interleave(n_rep, dim=2)

    def grouped_attention(q, k, v, *, is_causal=True):
        S, T = q.shape[1], k.shape[1]
        mask = None
        if is_causal and S > 1:
            mask = torch.ones(S, T, dtype=torch.bool, device=q.device).tril(T - S)
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask, enable_gqa=True
        ).transpose(1, 2)
        if mask is not None:
            out = torch.where(mask.any(-1)[None, :, None, None], out, torch.zeros_like(out))
        return out


class loop_over_heads:
    """one head after the other, each with ordinary attention in the dtype of the inputs"""

    def repeat_kv(x, n_rep):
        heads = [x[:, :, h // n_rep] for h in range(x.size(2) * n_rep)]
        return torch.stack(heads, dim=2)

    def grouped_attention(q, k, v, *, is_causal=True):
        B, S, H, d = q.shape
        T, K = k.shape[1], k.shape[2]
        out = torch.zeros_like(q)
        for h in range(H):
            kv = h * K // H
            scores = q[:, :, h] @ k[:, :, kv].transpose(-2, -1) / math.sqrt(d)
            if is_causal:
                future = torch.ones(S, T, dtype=torch.bool).triu(T - S + 1)
                scores = scores.masked_fill(future, float("-inf"))
            probs = torch.softmax(scores.float(), dim=-1).nan_to_num(0.0)
            out[:, :, h] = (probs.to(v.dtype) @ v[:, :, kv]).to(out.dtype)
        return out


class einsum_over_groups:
    """five axes and einsum, with a softmax by hand"""

    def repeat_kv(x, n_rep):
        if n_rep == 1:
            return x
        B, T, K, d = x.shape
        return torch.einsum("btkd,n->btknd", x, torch.ones(n_rep, dtype=x.dtype)).flatten(2, 3)

    def grouped_attention(q, k, v, *, is_causal=True):
        B, S, H, d = q.shape
        T, K = k.size(1), k.size(2)
        grouped = q.float().view(B, S, K, H // K, d) if q.is_contiguous() else None
        if grouped is None:
            grouped = q.float().contiguous().view(B, S, K, H // K, d)
        scores = torch.einsum("bskgd,btkd->bkgst", grouped, k.float()).div_(d**0.5)
        rows = torch.arange(S).unsqueeze(1) + (T - S)
        hidden = (torch.arange(T) > rows) if is_causal else torch.zeros(S, T, dtype=torch.bool)
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        top = scores.amax(-1, keepdim=True).detach()
        weights = torch.exp(scores - top).masked_fill(hidden, 0.0)
        total = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(total == 0, torch.ones_like(total), total)
        out = torch.einsum("bkgst,btkd->bskgd", weights, v.float())
        return out.reshape(B, S, H, d).to(q.dtype)


class copies_and_blocks:
    """copies of k and v as they are, a loop over the key/value heads, only visible keys"""

    def repeat_kv(x, n_rep):
        out = x.new_empty(x.shape[0], x.shape[1], x.shape[2] * n_rep, x.shape[3])
        for copy in range(n_rep):
            out[:, :, copy::n_rep] = x
        return out

    def grouped_attention(q, k, v, *, is_causal=True):
        B, S, H, d = q.shape
        T, K = k.shape[1:3]
        G = H // K
        keys = k.permute(2, 0, 3, 1).contiguous().to(torch.float32)
        values = v.permute(2, 0, 1, 3).contiguous().to(torch.float32)
        groups = []
        for kv in range(K):
            rows = []
            for s in range(S):
                seen = s + T - S + 1 if is_causal else T
                mine = q[:, s, kv * G : (kv + 1) * G].to(torch.float32)
                if seen <= 0:
                    rows.append(torch.zeros_like(mine))
                    continue
                scores = torch.bmm(mine, keys[kv][..., :seen]) * d**-0.5
                weights = (scores - torch.logsumexp(scores, -1, keepdim=True)).exp()
                rows.append(torch.bmm(weights, values[kv][:, :seen]))
            groups.append(torch.stack(rows, dim=1))
        return torch.cat(groups, dim=2).type_as(q)


class queries_into_the_batch:
    """every group member asks in turn: G ordinary attentions over K heads, in float64"""

    def repeat_kv(x, n_rep):
        return torch.cat(
            [x[:, :, h : h + 1].expand(-1, -1, n_rep, -1) for h in range(x.shape[2])], 2
        )

    def grouped_attention(q, k, v, *, is_causal=True):
        S, T, K, d = q.shape[1], k.shape[1], k.shape[2], q.shape[3]
        groups = q.shape[2] // K
        keys, values = k.double().permute(0, 2, 3, 1), v.double().permute(0, 2, 1, 3)
        bias = torch.zeros(S, T, dtype=torch.float64)
        if is_causal:
            bias = torch.full((S, T), -1e300, dtype=torch.float64).triu(T - S + 1)
        some = torch.ones(S, 1)
        if is_causal and S > T:
            some[: S - T] = 0.0
        out = []
        for g in range(groups):
            asked = q[:, :, g::groups].double().transpose(1, 2)
            weights = torch.softmax(asked @ keys / math.sqrt(d) + bias, -1)
            out.append((weights @ values * some).transpose(1, 2))
        return torch.stack(out, dim=3).flatten(2, 3).to(q.dtype)
