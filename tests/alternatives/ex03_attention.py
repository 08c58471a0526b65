"""Right answers to ex03_attention, written differently: each must pass every test."""

import torch


class through_logsumexp:
    """logsumexp for the softmax, einsum for the products, half precision as long as possible"""

    def softmax(x, dim=-1):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return torch.exp(wide - torch.logsumexp(wide, dim=dim, keepdim=True)).type_as(x)

    def causal_mask(q_len, kv_len):
        rows = torch.arange(q_len).unsqueeze(1) + (kv_len - q_len)
        return torch.arange(kv_len).unsqueeze(0) <= rows

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        B, H, S, d = q.shape
        T = k.size(2)
        scores = torch.einsum("bhsd,bhtd->bhst", q, k) * d**-0.5
        hidden = torch.zeros(B, 1, S, T, dtype=torch.bool, device=q.device)
        if is_causal:
            hidden = hidden | ~causal_mask(S, T).to(q.device)
        if attention_mask is not None:
            if attention_mask.shape != (B, T):
                raise ValueError(f"attention_mask: {tuple(attention_mask.shape)}, want {(B, T)}")
            hidden = hidden | (attention_mask == 0).view(B, 1, 1, T)
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        weights = softmax(scores) * ~hidden.all(-1, keepdim=True)
        return torch.einsum("bhst,bhtd->bhsd", weights, v)


class nan_to_num_after_filling:
    """-inf filled in, the NaN of an empty row replaced in the weights; queries scaled first"""

    def softmax(x, dim=-1):
        y = x.float()
        y = y - y.max(dim, keepdim=True).values
        e = y.exp()
        return (e / e.sum(dim, keepdim=True)).to(x.dtype)

    def causal_mask(q_len, kv_len):
        return ~torch.ones(q_len, kv_len).triu(kv_len - q_len + 1).bool()

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores = (q * q.size(-1) ** -0.5) @ k.mT
        if is_causal:
            keep = causal_mask(q.size(2), k.size(2)).to(q.device)
            scores = scores.masked_fill(~keep, float("-inf"))
        if attention_mask is not None:
            if tuple(attention_mask.shape) != (k.size(0), k.size(2)):
                raise ValueError("attention_mask must be [B, T]")
            keep = attention_mask.to(torch.bool)
            scores = scores.masked_fill(~keep[:, None, None], float("-inf"))
        return torch.nan_to_num(softmax(scores), nan=0.0) @ v


class one_query_at_a_time:
    """loops over batch, heads and queries in float64, indexing only the keys that are visible"""

    def softmax(x, dim=-1):
        rows = x.double().movedim(dim, -1)
        shifted = rows - rows.detach().max(-1, keepdim=True)[0]
        weights = shifted.exp()
        weights = weights * weights.sum(-1, keepdim=True).reciprocal()
        return weights.movedim(-1, dim).to(x.dtype)

    def causal_mask(q_len, kv_len):
        mask = torch.zeros(q_len, kv_len, dtype=torch.bool)
        for row in range(q_len):
            mask[row, : max(0, row + kv_len - q_len + 1)] = True
        return mask

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        batch, heads, queries, dim = q.shape
        keys = k.shape[2]
        if attention_mask is not None and list(attention_mask.shape) != [batch, keys]:
            raise ValueError(f"attention_mask is {attention_mask.shape}")
        out = torch.zeros(q.shape, dtype=torch.float64, device=q.device)
        for b in range(batch):
            for s in range(queries):
                seen = [
                    t
                    for t in range(keys)
                    if (not is_causal or t <= s + keys - queries)
                    and (attention_mask is None or attention_mask[b, t] != 0)
                ]
                if not seen:
                    continue
                for h in range(heads):
                    scores = (k[b, h, seen].double() @ q[b, h, s].double()) / dim**0.5
                    out[b, h, s] = softmax(scores, 0) @ v[b, h, seen].double()
        return out.to(q.dtype)


class normalised_at_the_end:
    """exponentials of visible keys meet the values; the result is divided by their sum"""

    def causal_mask(q_len, kv_len):
        n = max(q_len, kv_len)
        return torch.tril(torch.ones(n, n, dtype=torch.bool))[n - q_len :, n - kv_len :]

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None and attention_mask.shape != k.shape[::2][:2]:
            raise ValueError(f"attention_mask {attention_mask.shape} does not fit k {k.shape}")
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = torch.matmul(q.to(wide), k.to(wide).transpose(2, 3)) / q.shape[3] ** 0.5
        allowed = torch.ones_like(scores, dtype=torch.bool)
        if is_causal:
            allowed &= causal_mask(*scores.shape[2:]).to(q.device)
        if attention_mask is not None:
            allowed &= (attention_mask > 0)[:, None, None]
        scores = torch.where(allowed, scores, torch.finfo(wide).min)
        top = scores.detach().amax(-1, keepdim=True)
        powers = torch.exp(scores - top) * allowed
        total = powers.sum(-1, keepdim=True)
        return (powers @ v.to(wide) / torch.where(total == 0, 1, total)).to(q.dtype)


class a_bias_over_merged_heads:
    """batch and heads merged for bmm; -1e9 added in float32, where it is low enough"""

    def softmax(x, dim=-1):
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        largest, _ = torch.max(wide, dim=dim, keepdim=True)
        out = torch.sub(wide, largest).exp_()
        return out.div(out.sum(dim=dim, keepdim=True)).to(dtype=x.dtype)

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        b, h, s, d = q.shape
        t = k.shape[2]
        bias = torch.zeros(b, h, s, t, device=q.device)
        if is_causal:
            bias += -1e9 * (~causal_mask(s, t)).float().to(q.device)
        if attention_mask is not None:
            if (
                attention_mask.ndim != 2
                or attention_mask.size(0) != b
                or attention_mask.size(1) != t
            ):
                raise ValueError(f"attention_mask: got {list(attention_mask.shape)}, want {[b, t]}")
            bias += (1.0 - attention_mask.float())[:, None, None, :] * -1e9
        merged = [x.reshape(b * h, -1, d).float() for x in (q, k, v)]
        scores = torch.baddbmm(bias.flatten(0, 1), merged[0], merged[1].mT, alpha=d**-0.5)
        weights = softmax(scores) * (bias == 0).flatten(0, 1)
        return torch.bmm(weights, merged[2]).view(b, h, s, d).to(q.dtype)
