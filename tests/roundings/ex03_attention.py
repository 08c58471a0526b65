"""Other correct ways to compute the reference of ex03_attention, which round differently."""

import torch


class through_logsumexp:
    """the logarithm of the sum is subtracted, which rounds like the scores themselves"""

    def softmax(x, dim=-1):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        total = torch.logsumexp(wide, dim, keepdim=True)
        return (wide - total.masked_fill(total == -torch.inf, 0.0)).exp().to(x.dtype)


class divided_at_the_end:
    """exponentials meet the values and the result is divided by their sum, as in flash attention;
    the scores are scaled after the product"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        root = q.shape[-1] ** 0.5  # by which the reference divides q
        wide = q.to(torch.promote_types(q.dtype, torch.float32))
        scores = _scores_of_visible(wide * root, k, is_causal, attention_mask) / root
        largest = scores.detach().amax(-1, keepdim=True)
        exponentials = (scores - largest.masked_fill(largest == -torch.inf, 0.0)).exp()
        total = exponentials.sum(-1, keepdim=True)
        averaged = exponentials @ v.to(scores.dtype) / total.masked_fill(total == 0, 1.0)
        return averaged.to(q.dtype)


class query_by_query:
    """one query after the other, so that the gradients of k and v are sums in their own dtype"""

    _of_all_queries = attention

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _require_one_entry_per_key(attention_mask, k)
        queries, keys = q.shape[2], k.shape[2]
        rows = []
        for query in range(queries):
            seen = keys - queries + query + 1 if is_causal else keys
            if seen < 1:
                rows.append(torch.zeros_like(q[:, :, :1]))
                continue
            mask = None if attention_mask is None else attention_mask[:, :seen]
            here = q[:, :, query : query + 1], k[:, :, :seen], v[:, :, :seen]
            rows.append(_of_all_queries(*here, is_causal=False, attention_mask=mask))
        return torch.cat(rows, dim=2)
