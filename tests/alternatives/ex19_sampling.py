"""Right answers to ex19_sampling, written differently: each must pass every test."""

import torch
from torch.nn import functional as F


class as_transformers_does:
    """ascending order and 1 - p, thresholds by topk, gather and scatter for the penalty"""

    def apply_temperature(logits, temperature):
        return logits.div(temperature)

    def apply_repetition_penalty(logits, seen_ids, penalty):
        score = torch.gather(logits, 1, seen_ids)
        score = torch.where(score < 0, score * penalty, score / penalty)
        return logits.scatter(1, seen_ids, score)

    def top_k_filter(logits, k):
        if k <= 0:
            return logits
        k = min(k, logits.size(-1))
        to_remove = logits < torch.topk(logits, k)[0][..., -1, None]
        return logits.masked_fill(to_remove, -float("Inf"))

    def top_p_filter(logits, p):
        if p >= 1.0:
            return logits
        sorted_logits, sorted_indices = torch.sort(logits, descending=False)
        cumulative = sorted_logits.float().softmax(dim=-1).cumsum(dim=-1)
        sorted_to_remove = cumulative <= 1 - p
        sorted_to_remove[..., -1:] = 0
        to_remove = sorted_to_remove.scatter(1, sorted_indices, sorted_to_remove)
        return logits.masked_fill(to_remove, -float("Inf"))


class as_minimind_does:
    """one function for all, masks shifted by a place, written into copies"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        logits = logits.clone()
        if penalty != 1.0:
            for i in range(seen_ids.shape[0]):
                seen = torch.unique(seen_ids[i])
                score = logits[i, seen]
                logits[i, seen] = torch.where(score > 0, score / penalty, score * penalty)
        return logits

    def top_k_filter(logits, k):
        logits = logits.clone()
        if 0 < k < logits.size(-1):
            logits[logits < torch.topk(logits, k, dim=-1).values[..., -1:]] = -float("inf")
        return logits

    def top_p_filter(logits, p):
        logits = logits.clone()
        if p < 1.0:
            sorted_logits, sorted_indices = torch.sort(logits, descending=True, dim=-1)
            sorted_probs = F.softmax(sorted_logits.float(), dim=-1)
            sorted_mask = torch.cumsum(sorted_probs, dim=-1) >= p
            sorted_mask[..., 1:] = sorted_mask[..., :-1].clone()
            sorted_mask[..., 0] = False
            mask = torch.zeros_like(sorted_mask).scatter_(1, sorted_indices, sorted_mask)
            logits[mask] = -float("inf")
        return logits

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None and repetition_penalty != 1.0:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if not temperature:
            return torch.argmax(logits, dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_k_filter(logits, top_k)
        logits = top_p_filter(logits, top_p)
        probs = F.softmax(logits.float(), dim=-1)
        return torch.multinomial(probs, num_samples=1, generator=generator).view(-1)


class row_by_row:
    """Python loops and lists; tokens are drawn by the inverse of the distribution function"""

    def _row_nucleus(row, p):
        likely = row.double().softmax(dim=0).tolist()
        ranked = sorted(range(len(likely)), key=likely.__getitem__, reverse=True)
        kept, mass = [], 0.0
        for token in ranked:
            if kept and mass >= p:
                break
            kept.append(token)
            mass += likely[token]
        return kept

    def _rows_with(logits, kept):
        rows = []
        for row, tokens in zip(logits, kept, strict=True):
            outside = torch.ones(len(row), dtype=torch.bool, device=row.device)
            outside[torch.tensor(tokens, dtype=torch.long, device=row.device)] = False
            rows.append(row.masked_fill(outside, -torch.inf))
        return torch.stack(rows)

    def apply_temperature(logits, temperature):
        return torch.stack([row * (1 / temperature) for row in logits])

    def apply_repetition_penalty(logits, seen_ids, penalty):
        factors = torch.ones_like(logits)
        for number, ids in enumerate(seen_ids.tolist()):
            for token in set(ids):
                below = bool(logits[number, token] < 0)
                factors[number, token] = penalty if below else 1 / penalty
        return logits * factors

    def top_k_filter(logits, k):
        vocabulary = logits.shape[-1]
        if k <= 0 or k >= vocabulary:
            return logits.clone()
        kept = []
        for row in logits.tolist():
            smallest = sorted(row)[-k]
            kept.append([token for token, value in enumerate(row) if value >= smallest])
        return _rows_with(logits, kept)

    def top_p_filter(logits, p):
        if p >= 1:
            return logits + 0
        return _rows_with(logits, [_row_nucleus(row, p) for row in logits])

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return torch.tensor([int(row.argmax()) for row in logits], device=logits.device)
        if temperature != 1:
            logits = logits.float() / temperature
        if top_k:
            logits = top_k_filter(logits, top_k)
        if top_p < 1:
            logits = top_p_filter(logits, top_p)
        mass = logits.double().softmax(dim=1).cumsum(dim=1)
        point = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64)
        return torch.searchsorted(mass / mass[:, -1:], point, right=True).squeeze(1)


class by_gumbel:
    """logits with Gumbel noise, thresholds from the sorted logits; all in float32"""

    def apply_temperature(logits, temperature):
        return (logits.float() / temperature).to(logits.dtype)

    def apply_repetition_penalty(logits, seen_ids, penalty):
        vocabulary = logits.shape[1]
        counts = F.one_hot(seen_ids, vocabulary).sum(dim=1)
        factor = torch.where(logits > 0, 1.0 / penalty, float(penalty)).to(logits.dtype)
        return torch.where(counts > 0, logits * factor, logits)

    def top_k_filter(logits, k):
        vocabulary = logits.shape[1]
        if not 1 <= k <= vocabulary:
            return logits.clone()
        ranked = logits.sort(dim=1, descending=True).values
        return torch.where(logits >= ranked[:, k - 1 : k], logits, float("-inf"))

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        order = logits.argsort(dim=1, descending=True)
        ranked = logits.gather(1, order)
        mass = torch.log_softmax(ranked.float(), dim=1).exp().cumsum(dim=1)
        enough = F.pad(mass[:, :-1] >= p, (1, 0), value=False)
        return torch.full_like(logits, -torch.inf).scatter(
            1, order, ranked.masked_fill(enough, -torch.inf)
        )

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        logits = logits.float()
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature <= 0:
            return logits.topk(1, dim=1).indices[:, 0]
        logits = top_p_filter(top_k_filter(logits / temperature, top_k), top_p)
        noise = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
        gumbel = -torch.log(-torch.log(noise.clamp(min=1e-300)))
        return (logits.double() + gumbel).argmax(dim=1)
