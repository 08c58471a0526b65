"""Right answers to ex06_flash_attention, written differently: each must pass every test."""

import math

import torch


class keys_outside_queries_inside:
    """as the first paper has it: keys in the outer loop, and out kept divided after every tile"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        m = torch.maximum(lse_a, lse_b)
        m_safe = torch.where(torch.isinf(m), torch.zeros_like(m), m)
        p_a, p_b = torch.exp(lse_a - m_safe), torch.exp(lse_b - m_safe)
        denominator = p_a + p_b
        scale_a, scale_b = p_a / (denominator + 1e-30), p_b / (denominator + 1e-30)
        out = out_a.float() * scale_a[..., None] + out_b.float() * scale_b[..., None]
        return out.type_as(out_a), torch.log(denominator) + m_safe

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        B, H, S, d = q.shape
        T = k.shape[2]
        o = torch.zeros(B, H, S, d, device=q.device)
        total = torch.zeros(B, H, S, 1, device=q.device)
        m = torch.full((B, H, S, 1), -math.inf, device=q.device)
        for j in range(0, T, block_size):
            Kj, Vj = k[:, :, j : j + block_size].float(), v[:, :, j : j + block_size].float()
            for i in range(0, S, block_size):
                last = min(i + block_size, S) - 1
                if is_causal and j > last + T - S:
                    continue
                Qi = q[:, :, i : i + block_size].float()
                s_ij = torch.einsum("bhid,bhjd->bhij", Qi, Kj) / math.sqrt(d)
                if is_causal:
                    row = torch.arange(i, last + 1, device=q.device)[:, None]
                    col = torch.arange(j, j + Kj.shape[2], device=q.device)[None, :]
                    s_ij = torch.where(col <= row + T - S, s_ij, -math.inf)
                m_i, l_i, o_i = (x[:, :, i : last + 1] for x in (m, total, o))
                m_new = torch.maximum(m_i, s_ij.max(dim=-1, keepdim=True).values)
                known = m_new > -math.inf
                alpha = torch.where(known, torch.exp(m_i - m_new), 0.0)
                p = torch.where(known, torch.exp(s_ij - m_new), 0.0)
                l_new = alpha * l_i + p.sum(-1, keepdim=True)
                o_new = (l_i * alpha * o_i + p @ Vj) / torch.where(l_new > 0, l_new, 1.0)
                o[:, :, i : last + 1] = o_new
                total[:, :, i : last + 1] = l_new
                m[:, :, i : last + 1] = m_new
        lse = torch.where(total > 0, m + torch.log(total), -math.inf)
        return o.to(q.dtype), lse.squeeze(-1)

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        S, T, d = q.shape[2], k.shape[2], q.shape[3]
        dQ, dK, dV = (torch.zeros(x.shape, device=x.device) for x in (q, k, v))
        D = torch.sum(grad_out.float() * out.float(), dim=-1)
        for j in range(0, T, block_size):
            Kj, Vj = k[:, :, j : j + block_size].float(), v[:, :, j : j + block_size].float()
            for i in range(0, S, block_size):
                stop = min(i + block_size, S)
                if is_causal and j > stop - 1 + T - S:
                    continue
                Qi, dOi = q[:, :, i:stop].float(), grad_out[:, :, i:stop].float()
                s_ij = Qi @ Kj.mT / math.sqrt(d)
                row = torch.arange(i, stop, device=q.device)[:, None]
                col = torch.arange(j, j + Kj.shape[2], device=q.device)[None, :]
                L = lse[:, :, i:stop, None].float()
                visible = L > -math.inf
                if is_causal:
                    visible = visible & (col <= row + T - S)
                p = torch.where(visible, torch.exp(s_ij - L), 0.0)
                dV[:, :, j : j + block_size] += p.mT @ dOi
                ds = p * (dOi @ Vj.mT - D[:, :, i:stop, None]) / math.sqrt(d)
                dQ[:, :, i:stop] += ds @ Kj
                dK[:, :, j : j + block_size] += ds.mT @ Qi
        return dQ.to(q.dtype), dK.to(k.dtype), dV.to(v.dtype)


class keys_alone_in_tiles:
    """all queries at once, keys tile by tile, products in the dtype of the inputs; nothing is
    skipped, since no tile is hidden from all queries"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse = torch.logaddexp(lse_a.float(), lse_b.float())
        share_a = (lse_a - lse).exp().nan_to_num(0.0).unsqueeze(-1)
        share_b = (lse_b - lse).exp().nan_to_num(0.0).unsqueeze(-1)
        return torch.add(share_a * out_a, share_b * out_b).to(out_a.dtype), lse

    def _mask(S, T, start, stop, device):
        ahead = (
            torch.arange(start, stop, device=device)[None] - torch.arange(S, device=device)[:, None]
        )
        return ahead > T - S

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        S, T = q.size(-2), k.size(-2)
        maximum = q.new_full(q.shape[:-1] + (1,), -torch.inf, dtype=torch.float32)
        total = torch.zeros_like(maximum)
        acc = torch.zeros_like(q, dtype=torch.float32)
        for start in range(0, T, block_size):
            stop = min(T, start + block_size)
            scores = (q @ k[..., start:stop, :].transpose(-1, -2)).float() * q.size(-1) ** -0.5
            if is_causal:
                scores.masked_fill_(_mask(S, T, start, stop, q.device), -torch.inf)
            before, maximum = maximum, torch.maximum(maximum, scores.amax(-1, keepdim=True))
            safe = maximum.nan_to_num(neginf=0.0)
            alpha = (before - safe).exp()
            scores = (scores - safe).exp()
            total = alpha * total + scores.sum(-1, keepdim=True)
            acc = alpha * acc + (scores.to(v.dtype) @ v[..., start:stop, :]).float()
        out = torch.where(total == 0, 0.0, acc / total)
        return out.to(q.dtype), (total.log() + maximum).squeeze(-1)

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        S, T = q.size(-2), k.size(-2)
        delta = (grad_out.float() * out.float()).sum(-1, keepdim=True)
        safe = lse.masked_fill(lse.isneginf(), torch.inf).unsqueeze(-1)
        dq = torch.zeros_like(q, dtype=torch.float32)
        dks, dvs = [], []
        for start in range(0, T, block_size):
            stop = min(T, start + block_size)
            kt, vt = k[..., start:stop, :], v[..., start:stop, :]
            scores = (q @ kt.transpose(-1, -2)).float() * q.size(-1) ** -0.5
            if is_causal:
                scores = scores.masked_fill(_mask(S, T, start, stop, q.device), -torch.inf)
            p = (scores - safe).exp()
            ds = p * ((grad_out @ vt.transpose(-1, -2)).float() - delta) * q.size(-1) ** -0.5
            dvs.append(p.to(q.dtype).transpose(-1, -2) @ grad_out)
            dks.append(ds.to(q.dtype).transpose(-1, -2) @ q)
            dq += ds.to(q.dtype) @ kt
        return dq.to(q.dtype), torch.cat(dks, dim=-2), torch.cat(dvs, dim=-2)


class whole_rows_of_few_queries:
    """queries tile by tile, each with a whole softmax over the keys it may see"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        both = torch.stack((lse_a, lse_b)).float()
        lse = both.logsumexp(0)
        weights = torch.softmax(both, dim=0).masked_fill(both == -math.inf, 0.0).unsqueeze(-1)
        return (weights * torch.stack((out_a, out_b)).float()).sum(0).to(out_a), lse

    def _rows(q, k, v, start, block_size, is_causal):
        S, T = q.shape[2], k.shape[2]
        stop = min(start + block_size, S)
        end = max(0, min(T, stop + T - S)) if is_causal else T
        scores = q[:, :, start:stop].float() @ k[:, :, :end].float().mT / q.shape[3] ** 0.5
        if is_causal:
            hidden = torch.ones(stop - start, end, dtype=torch.bool).triu(start + T - S + 1)
            scores = scores.masked_fill(hidden.to(q.device), -math.inf)
        return stop, end, scores

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        out = torch.zeros_like(q)
        lse = torch.full(q.shape[:3], -math.inf, device=q.device)
        for start in range(0, q.shape[2], block_size):
            stop, end, scores = _rows(q, k, v, start, block_size, is_causal)
            if end:
                weights = scores.softmax(-1).nan_to_num(0.0)
                out[:, :, start:stop] = (weights @ v[:, :, :end].float()).to(q.dtype)
                lse[:, :, start:stop] = scores.logsumexp(-1)
        return out, lse

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        dq = torch.zeros_like(q)
        dk, dv = torch.zeros(k.shape, device=k.device), torch.zeros(v.shape, device=v.device)
        for start in range(0, q.shape[2], block_size):
            stop, end, scores = _rows(q, k, v, start, block_size, is_causal)
            if not end:
                continue
            weights = scores.softmax(-1).nan_to_num(0.0)
            g = grad_out[:, :, start:stop].float()
            slopes = g @ v[:, :, :end].float().mT
            slopes = weights * (slopes - (slopes * weights).sum(-1, keepdim=True))
            slopes *= q.shape[3] ** -0.5
            dv[:, :, :end] += weights.mT @ g
            dk[:, :, :end] += slopes.mT @ q[:, :, start:stop].float()
            dq[:, :, start:stop] = (slopes @ k[:, :, :end].float()).to(q.dtype)
        return dq, dk.to(k.dtype), dv.to(v.dtype)


class one_program_per_head_in_base_two:
    """as the Triton tutorial does: a loop over heads, exp2, padded tiles, two backward loops"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        empty = torch.isneginf(lse_a) & torch.isneginf(lse_b)
        share_b = torch.sigmoid((lse_b - lse_a).nan_to_num(0.0, math.inf, -math.inf).float())
        out = torch.lerp(out_a.float(), out_b.float(), share_b.unsqueeze(-1).expand_as(out_a))
        top, low = torch.maximum(lse_a, lse_b), torch.minimum(lse_a, lse_b)
        lse = top + torch.log1p(torch.exp(torch.where(empty, 0.0, low - top)))
        return out.masked_fill(empty.unsqueeze(-1), 0.0).to(out_a.dtype), lse.float()

    def _load(x, start, block):
        """Rows of one head, with zeros past its end."""
        tile = x[start : start + block].float()
        return torch.nn.functional.pad(tile, (0, 0, 0, block - len(tile)))

    def _qk(q, k, start_m, start_n, offset, causal, block, keys):
        log2_e = 1.44269504088896340736
        qk = _load(q, start_m, block) @ _load(k, start_n, block).T
        qk = qk * (q.shape[1] ** -0.5 * log2_e)
        offs_m = start_m + torch.arange(block, device=q.device)[:, None]
        offs_n = start_n + torch.arange(block, device=q.device)[None, :]
        keep = offs_n < keys
        if causal:
            keep = keep & (offs_m + offset >= offs_n)
        return torch.where(keep, qk, float("-inf"))

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        B, H, S, d = q.shape
        T = k.shape[2]
        block = min(block_size, max(S, T))
        out = torch.empty_like(q)
        lse = torch.empty((B, H, S), dtype=torch.float32, device=q.device)
        for b in range(B):
            for h in range(H):
                for start_m in range(0, S, block):
                    m_i = torch.full((block,), float("-inf"), device=q.device)
                    l_i = torch.ones(block, device=q.device)
                    acc = torch.zeros(block, d, device=q.device)
                    hi = min(T, min(S, start_m + block) + T - S) if is_causal else T
                    for start_n in range(0, hi, block):
                        qk = _qk(q[b, h], k[b, h], start_m, start_n, T - S, is_causal, block, T)
                        m_ij = torch.maximum(m_i, qk.amax(1))
                        m_use = torch.where(m_ij == float("-inf"), 0.0, m_ij)
                        p = torch.exp2(qk - m_use[:, None])
                        alpha = torch.exp2(m_i - m_use)
                        l_i = l_i * alpha + p.sum(1)
                        acc = acc * alpha[:, None] + p @ _load(v[b, h], start_n, block)
                        m_i = m_ij
                    acc = acc / torch.where(m_i == float("-inf"), 1.0, l_i)[:, None]
                    end = min(S, start_m + block)
                    out[b, h, start_m:end] = acc[: end - start_m].to(q.dtype)
                    whole = m_i * math.log(2) + torch.log(l_i)
                    lse[b, h, start_m:end] = whole[: end - start_m]
        return out, lse

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        B, H, S, d = q.shape
        T = k.shape[2]
        block, scale = min(block_size, max(S, T)), d**-0.5
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for b in range(B):
            for h in range(H):
                qh, kh, vh, gh = q[b, h], k[b, h], v[b, h], grad_out[b, h]
                delta = (out[b, h].float() * gh.float()).sum(1, keepdim=True)
                stat = lse[b, h].float()[:, None] / math.log(2)
                stat = torch.where(torch.isinf(stat), float("inf"), stat)

                def tile(start_m, start_n):
                    qk = _qk(qh, kh, start_m, start_n, T - S, is_causal, block, T)
                    missing = block - len(stat[start_m : start_m + block])
                    grow = (0, 0, 0, missing)
                    level = torch.nn.functional.pad(
                        stat[start_m : start_m + block], grow, value=float("inf")
                    )
                    p = torch.exp2(qk - level)
                    g = _load(gh, start_m, block)
                    dp = g @ _load(vh, start_n, block).T
                    return p, p * (dp - _load(delta, start_m, block)), g

                for start_n in range(0, T, block):
                    first = max(0, start_n - (T - S)) // block * block if is_causal else 0
                    dk_n = torch.zeros(block, d, device=q.device)
                    dv_n = torch.zeros(block, d, device=q.device)
                    for start_m in range(first, S, block):
                        p, ds, g = tile(start_m, start_n)
                        dv_n += p.T @ g
                        dk_n += ds.T @ _load(qh, start_m, block)
                    end = min(T, start_n + block)
                    dk[b, h, start_n:end] = (dk_n * scale)[: end - start_n].to(k.dtype)
                    dv[b, h, start_n:end] = dv_n[: end - start_n].to(v.dtype)
                for start_m in range(0, S, block):
                    hi = min(T, min(S, start_m + block) + T - S) if is_causal else T
                    dq_m = torch.zeros(block, d, device=q.device)
                    for start_n in range(0, hi, block):
                        dq_m += tile(start_m, start_n)[1] @ _load(kh, start_n, block)
                    end = min(S, start_m + block)
                    dq[b, h, start_m:end] = (dq_m * scale)[: end - start_m].to(q.dtype)
        return dq, dk, dv


class halves_merged:
    """keys are halved until they fit a tile, and the halves are merged; gradients by autograd,
    tile by tile; float64 inside"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        top = torch.maximum(lse_a, lse_b).double()
        top = torch.where(top.isfinite(), top, torch.zeros_like(top))
        a, b = (lse_a.double() - top).exp()[..., None], (lse_b.double() - top).exp()[..., None]
        out = (a * out_a.double() + b * out_b.double()) / (a + b).clamp(min=1e-300)
        lse = top + (a + b).log().squeeze(-1)
        return out.to(out_a.dtype), lse.to(torch.promote_types(lse_a.dtype, torch.float32))

    def _direct(q, k, first_query, first_key, is_causal, shift):
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        if is_causal:
            rows = torch.arange(q.shape[2], device=q.device)[:, None] + first_query + shift
            cols = torch.arange(k.shape[2], device=q.device) + first_key
            scores = scores.masked_fill(cols > rows, -math.inf)
        return scores

    def _over(q, k, v, first_query, first_key, is_causal, shift, block_size):
        if is_causal and first_key > first_query + q.shape[2] - 1 + shift:
            return torch.zeros_like(q), q.new_full(q.shape[:3], -math.inf)
        if k.shape[2] <= block_size:
            scores = _direct(q, k, first_query, first_key, is_causal, shift)
            lse = torch.logsumexp(scores, dim=-1)
            weights = torch.softmax(scores, dim=-1)
            weights = weights.masked_fill(torch.isneginf(lse)[..., None], 0.0)
            return weights @ v, lse
        middle = k.shape[2] // 2
        rest = is_causal, shift, block_size
        left = _over(q, k[:, :, :middle], v[:, :, :middle], first_query, first_key, *rest)
        start = first_key + middle
        right = _over(q, k[:, :, middle:], v[:, :, middle:], first_query, start, *rest)
        return merge_partials(*left, *right)

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        outs, lses = [], []
        kd, vd = k.double(), v.double()
        for first, rows in enumerate(q.double().split(block_size, dim=2)):
            shift = k.shape[2] - q.shape[2]
            out, lse = _over(rows, kd, vd, first * block_size, 0, is_causal, shift, block_size)
            outs.append(out)
            lses.append(lse)
        return torch.cat(outs, dim=2).to(q.dtype), torch.cat(lses, dim=2).float()

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        shift = k.shape[2] - q.shape[2]
        sums = [torch.zeros(x.shape, dtype=torch.float64, device=x.device) for x in (q, k, v)]
        along = (grad_out.double() * out.double()).sum(-1, keepdim=True)
        for i in range(0, q.shape[2], block_size):
            for j in range(0, k.shape[2], block_size):
                rows, cols = slice(i, i + block_size), slice(j, j + block_size)
                if is_causal and j > min(i + block_size, q.shape[2]) - 1 + shift:
                    break
                with torch.inference_mode(False), torch.enable_grad():
                    parts = (q[:, :, rows], k[:, :, cols], v[:, :, cols])
                    leaves = [x.detach().clone().double().requires_grad_() for x in parts]
                    scores = _direct(leaves[0], leaves[1], i, j, is_causal, shift)
                    total = lse[:, :, rows, None].clone().double()
                    weights = torch.exp(scores - total.masked_fill(total == -math.inf, 0.0))
                    g = grad_out[:, :, rows].clone().double()
                    # Each weight's own slope, less what the sum of all weights takes away.
                    value = (g * (weights @ leaves[2])).sum()
                    value = value - (along[:, :, rows].clone() * weights).sum()
                    slopes = torch.autograd.grad(value, leaves)
                for total, slope, where in zip(sums, slopes, (rows, cols, cols), strict=True):
                    total[:, :, where] += slope
        return tuple(x.to(like.dtype) for x, like in zip(sums, (q, k, v), strict=True))
