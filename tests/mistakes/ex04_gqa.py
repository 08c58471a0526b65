"""Wrong answers to ex04_gqa: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch

# repeat_kv.


class heads_tiled:
    """repeat_kv lists all heads and then all of them again (repeat); use
    repeat_interleave: a, a, b, b"""

    def repeat_kv(x, n_rep):
        return x.repeat(1, 1, n_rep, 1)


class keys_repeated_in_time:
    """repeat_kv repeats along the axis of the keys; repeat along the axis of the heads, axis 2"""

    def repeat_kv(x, n_rep):
        return x.repeat_interleave(n_rep, dim=1)


class features_repeated:
    """repeat_kv repeats along the features; repeat along the heads, axis 2"""

    def repeat_kv(x, n_rep):
        return x.repeat_interleave(n_rep, dim=3)


class batch_repeated:
    """repeat_kv repeats along the batch; repeat along the heads, axis 2"""

    def repeat_kv(x, n_rep):
        return x.repeat_interleave(n_rep, dim=0)


class copies_left_on_an_axis:
    """repeat_kv returns five axes; merge the copies with the heads, [B, T, K·n_rep, d]"""

    def repeat_kv(x, n_rep):
        return x[:, :, :, None, :].expand(-1, -1, -1, n_rep, -1)


class one_copy_too_many:
    """repeat_kv makes n_rep further copies; n_rep should count the original too"""

    def repeat_kv(x, n_rep):
        return x.repeat_interleave(n_rep + 1, dim=2)


class heads_interleaved_by_reshape:
    """repeat_kv reshapes before each copy lies next to its head; expand right after
    the axis of the heads"""

    def repeat_kv(x, n_rep):
        batch, keys, kv_heads, width = x.shape
        copies = x.unsqueeze(-1).expand(batch, keys, kv_heads, width, n_rep)
        return copies.reshape(batch, keys, kv_heads * n_rep, width)


class repeat_kv_by_view:
    """repeat_kv calls view, which fails because expanded copies are not contiguous;
    use reshape, which copies"""

    def repeat_kv(x, n_rep):
        batch, keys, kv_heads, width = x.shape
        if n_rep == 1:
            return x
        x = x.view(batch, keys, 1, kv_heads * width).view(batch, keys, kv_heads, width)
        return x.repeat_interleave(n_rep, dim=2)


class repeat_kv_without_gradient:
    """repeat_kv cuts the copies off from x (detach, no_grad); let the gradient through"""

    def repeat_kv(x, n_rep):
        return x.detach().repeat_interleave(n_rep, dim=2)


class repeat_kv_in_float32:
    """repeat_kv returns float32 whatever x is; the copies should keep the dtype of x"""

    def repeat_kv(x, n_rep):
        return x.float().repeat_interleave(n_rep, dim=2)


# Who reads which key/value head.


class every_kth_head_together:
    """query head h reads key/value head h % K; it should read h // (H / K), so that
    neighbours share a head"""

    def _stack_groups(q, kv_heads):
        batch, queries, heads, width = q.shape
        grouped = q.reshape(batch, queries, heads // kv_heads, kv_heads, width)
        return grouped.permute(0, 3, 2, 1, 4).reshape(batch, kv_heads, -1, width)

    def _unstack_groups(out, queries):
        batch, kv_heads, _, width = out.shape
        grouped = out.reshape(batch, kv_heads, -1, queries, width)
        return grouped.permute(0, 3, 2, 1, 4).reshape(batch, queries, -1, width)


class every_kth_head_together_throughout:
    """repeat_kv and attention both give query head h the key/value head h % K; it
    should be h // (H / K)"""

    def repeat_kv(x, n_rep):
        return x.repeat(1, 1, n_rep, 1)

    def _stack_groups(q, kv_heads):
        batch, queries, heads, width = q.shape
        grouped = q.reshape(batch, queries, heads // kv_heads, kv_heads, width)
        return grouped.permute(0, 3, 2, 1, 4).reshape(batch, kv_heads, -1, width)

    def _unstack_groups(out, queries):
        batch, kv_heads, _, width = out.shape
        grouped = out.reshape(batch, kv_heads, -1, queries, width)
        return grouped.permute(0, 3, 2, 1, 4).reshape(batch, queries, -1, width)


class group_size_and_heads_exchanged:
    """query head h reads key/value head h // K; divide by the size of a group, H / K"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device) if is_causal else None
        outs = []
        for head in range(q.shape[2]):
            kv = slice(head // kv_heads, head // kv_heads + 1)
            one = _stack_groups(_widen(q[:, :, head : head + 1]), 1)
            outs.append(_attend(one, _widen(k[:, :, kv]), _widen(v[:, :, kv]), visible))
        return torch.cat(outs, dim=1).transpose(1, 2).to(q.dtype)


class first_head_for_all:
    """all query heads read key/value head 0; each group should read its own"""

    def _attend(q, k, v, visible):
        k, v = k[:, :, :1].expand_as(k), v[:, :, :1].expand_as(v)
        return _weights(_scores(q, k), visible) @ v.transpose(1, 2)


class heads_come_back_interleaved:
    """the heads come back interleaved, the first of every group before the second of any; keep the
    heads of a group together"""

    def _unstack_groups(out, queries):
        batch, kv_heads, _, width = out.shape
        grouped = out.reshape(batch, kv_heads, -1, queries, width)
        return grouped.permute(0, 3, 2, 1, 4).reshape(batch, queries, -1, width)


class heads_and_queries_not_moved:
    """the result is reshaped without moving the axes back; permute S before the heads first"""

    def _unstack_groups(out, queries):
        batch, _, _, width = out.shape
        return out.reshape(batch, queries, -1, width)


class queries_reshaped_without_moving:
    """q is reshaped to [B, K, G·S, d] as it lies in memory; move the heads before S first"""

    def _stack_groups(q, kv_heads):
        batch, _, _, width = q.shape
        return q.reshape(batch, kv_heads, -1, width)


class keys_reshaped_without_moving:
    """k and v are reshaped to [B, K, T, d] as they lie in memory; transpose T and K instead"""

    def _attend(q, k, v, visible):
        batch, keys, kv_heads, width = k.shape
        k = k.reshape(batch, kv_heads, keys, width).transpose(1, 2)
        v = v.reshape(batch, kv_heads, keys, width)
        return _weights(_scores(q, k), visible) @ v


class heads_first:
    """the result is [B, H, S, d]; it should be [B, S, H, d], like q"""

    def _unstack_groups(out, queries):
        batch, kv_heads, _, width = out.shape
        return out.reshape(batch, -1, queries, width)


class heads_merged:
    """the result is [B, S, H·d]; leave the heads on their own axis, like q"""

    def _unstack_groups(out, queries):
        batch, kv_heads, _, width = out.shape
        grouped = out.reshape(batch, kv_heads, -1, queries, width)
        return grouped.permute(0, 3, 1, 2, 4).reshape(batch, queries, -1)


class queries_averaged_over_the_group:
    """the queries of a group are averaged; keep every query head separate"""

    def _stack_groups(q, kv_heads):
        batch, queries, heads, width = q.shape
        grouped = q.reshape(batch, queries, kv_heads, heads // kv_heads, width)
        mean = grouped.mean(dim=3, keepdim=True).expand_as(grouped)
        return mean.permute(0, 2, 3, 1, 4).reshape(batch, kv_heads, -1, width)


class keys_and_values_exchanged:
    """queries are multiplied by the values and weights by the keys; exchange the two"""

    def _attend(q, k, v, visible):
        return _weights(_scores(q, v), visible) @ k.transpose(1, 2)


# Scores and masks.


class no_scale:
    """the scores are not scaled; divide them by sqrt(d)"""

    def _scale(width):
        return 1.0


class divided_by_d:
    """the scores are divided by d, which is sqrt(d) twice; divide by sqrt(d) once"""

    def _scale(width):
        return 1.0 / width


class multiplied_by_the_root_of_d:
    """the scores are multiplied by sqrt(d); divide them by it"""

    def _scale(width):
        return width**0.5


class scaled_by_the_hidden_size:
    """the scores are divided by sqrt(H·d), the hidden size; divide by sqrt(d), with
    the d of one head"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device) if is_causal else None
        stacked = _stack_groups(_widen(q) * q.shape[2] ** -0.5, kv_heads)
        return _unstack_groups(_attend(stacked, _widen(k), _widen(v), visible), queries).to(q.dtype)


class scaled_by_the_width_of_the_keys:
    """the scores are divided by sqrt(K·d), all key heads together; divide by
    sqrt(d), with the d of one head"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device) if is_causal else None
        stacked = _stack_groups(_widen(q) * kv_heads**-0.5, kv_heads)
        return _unstack_groups(_attend(stacked, _widen(k), _widen(v), visible), queries).to(q.dtype)


class causal_ignored:
    """is_causal does nothing, so that queries see later keys; hide those keys"""

    def _weights(scores, visible):
        return scores.softmax(dim=-1)


class always_causal:
    """later keys are hidden whatever is_causal says; with False, every query should see all keys"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device)
        out = _attend(_stack_groups(_widen(q), kv_heads), _widen(k), _widen(v), visible)
        return _unstack_groups(out, queries).to(q.dtype)


class not_causal_by_default:
    """is_causal is False by default; the default should be True"""

    def grouped_attention(q, k, v, *, is_causal=False):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device) if is_causal else None
        out = _attend(_stack_groups(_widen(q), kv_heads), _widen(k), _widen(v), visible)
        return _unstack_groups(out, queries).to(q.dtype)


class aligned_top_left:
    """query s sees keys 0 … s, as if nothing came before; the last query should see the last key"""

    def _visible(queries, keys, device):
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


class aligned_top_left_but_for_one_query:
    """query s sees keys 0 … s, as if nothing came before, unless there is only one query; the last
    query should always see the last key"""

    def _visible(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything if queries == 1 else everything.tril()


class itself_not_seen:
    """a query does not see the key at its own position; the diagonal should be visible"""

    def _visible(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything.tril(diagonal=keys - queries - 1)


class one_key_too_far:
    """a query sees the key after its own; the diagonal should be the last key it sees"""

    def _visible(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything.tril(diagonal=keys - queries + 1)


class future_seen_and_past_hidden:
    """the mask is inverted, so that queries see only later keys; they should see
    their own and earlier ones"""

    def _visible(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything.triu(diagonal=keys - queries + 1)


class past_hidden:
    """queries see their own and later keys (triu instead of tril); they should see
    their own and earlier ones"""

    def _visible(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything.triu(diagonal=keys - queries)


class mask_repeated_the_other_way:
    """the mask's rows are repeated in place, while the queries are stacked head after head; repeat
    the whole mask, head after head"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        visible = visible.repeat_interleave(scores.shape[2] // visible.shape[0], dim=0)
        weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
        return weights.masked_fill(~visible, 0.0)


class stacked_queries_masked_as_one_text:
    """the G·S stacked queries are masked as one long text; apply the mask to each head
    separately"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        visible = _visible(scores.shape[2], scores.shape[3], scores.device)
        weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
        return weights.masked_fill(~visible, 0.0)


class masked_after_the_softmax:
    """later keys are zeroed after the softmax, so that the rest sums to less than 1; hide the
    scores before it"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        weights = scores.unflatten(2, (-1, visible.shape[0])).softmax(dim=-1)
        return weights.masked_fill(~visible, 0.0).flatten(2, 3)


class masked_by_zero:
    """hidden scores become 0, which still has weight; fill them with -inf"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        grouped = scores.unflatten(2, (-1, visible.shape[0]))
        weights = grouped.masked_fill(~visible, 0.0).softmax(dim=-1)
        none = ~visible.any(-1, keepdim=True)
        return weights.masked_fill(none, 0.0).flatten(2, 3)


class lowered_by_ten:
    """hidden scores are lowered by 10, which large scores outweigh; fill them with -inf"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        grouped = scores.unflatten(2, (-1, visible.shape[0]))
        weights = (grouped - 10.0 * ~visible).softmax(dim=-1)
        none = ~visible.any(-1, keepdim=True)
        return weights.masked_fill(none, 0.0).flatten(2, 3)


class no_key_gives_nan:
    """a query without a key gives NaN, since all its scores are -inf; it should give zeros"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        grouped = scores.unflatten(2, (-1, visible.shape[0]))
        return grouped.masked_fill(~visible, float("-inf")).softmax(dim=-1).flatten(2, 3)


class no_key_gives_the_mean:
    """a query without a key gives the mean of all values (a finite mask); it should give zeros"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        grouped = scores.unflatten(2, (-1, visible.shape[0]))
        return grouped.masked_fill(~visible, -1e9).softmax(dim=-1).flatten(2, 3)


class large_number_subtracted:
    """10000 is subtracted from hidden scores, so that a query without a key sees all keys; it
    should give zeros"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        grouped = scores.unflatten(2, (-1, visible.shape[0]))
        return (grouped - 1e4 * ~visible).softmax(dim=-1).flatten(2, 3)


class minus_infinity_added:
    """-inf is added and NaN replaced afterwards, so that gradients become NaN; use masked_fill"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-1)
        hidden = torch.zeros(visible.shape).masked_fill(~visible, float("-inf"))
        weights = (scores.unflatten(2, (-1, visible.shape[0])) + hidden).softmax(dim=-1)
        return weights.nan_to_num(0.0).flatten(2, 3)


class no_key_gives_the_first_value:
    """a query without a key sees key 0 after all (a clamped index); it should give zeros"""

    def _visible(queries, keys, device):
        last = (torch.arange(queries, device=device) + keys - queries).clamp_min(0)
        return torch.arange(keys, device=device) <= last[:, None]


class softmax_over_the_queries:
    """the softmax runs over the queries; it should run over the keys, the last axis"""

    def _weights(scores, visible):
        if visible is None:
            return scores.softmax(dim=-2)
        grouped = scores.unflatten(2, (-1, visible.shape[0]))
        weights = grouped.masked_fill(~visible, float("-inf")).softmax(dim=-2)
        return weights.masked_fill(~visible, 0.0).flatten(2, 3)


class softmax_without_the_maximum:
    """exp overflows for large scores; subtract each row's maximum first, or call softmax"""

    def _weights(scores, visible):
        if visible is None:
            weights = scores.exp()
            return weights / weights.sum(-1, keepdim=True)
        grouped = scores.unflatten(2, (-1, visible.shape[0]))
        weights = grouped.exp().masked_fill(~visible, 0.0)
        total = weights.sum(-1, keepdim=True)
        none = ~visible.any(-1, keepdim=True)
        return (weights / total.masked_fill(none, 1.0)).flatten(2, 3)


class no_softmax:
    """the scores themselves are used as weights; take the softmax over the keys first"""

    def _weights(scores, visible):
        if visible is None:
            return scores
        return scores.unflatten(2, (-1, visible.shape[0])).masked_fill(~visible, 0.0).flatten(2, 3)


# Memory, dtypes, gradients.


class repeated_after_all:
    """keys and values both lie repeated in memory; stack the queries of a group instead"""

    def grouped_attention(q, k, v, *, is_causal=True):
        group = q.shape[2] // k.shape[2]
        k, v = _widen(repeat_kv(k, group)), _widen(repeat_kv(v, group))
        visible = _visible(q.shape[1], k.shape[1], q.device) if is_causal else None
        out = _weights(_scores(_widen(q).transpose(1, 2), k), visible) @ v.transpose(1, 2)
        return out.transpose(1, 2).to(q.dtype)


class repeated_one_after_the_other:
    """keys, then values, are repeated (a matmul that broadcasts them over a group axis does it,
    too); stack the queries of a group along S instead"""

    def grouped_attention(q, k, v, *, is_causal=True):
        batch, queries, heads, width = q.shape
        keys, kv_heads = k.shape[1], k.shape[2]
        grouped = _widen(q).reshape(batch, queries, kv_heads, -1, width).permute(0, 2, 3, 1, 4)
        k, v = _widen(k).permute(0, 2, 3, 1), _widen(v).permute(0, 2, 1, 3)
        visible = _visible(queries, keys, q.device) if is_causal else None
        scores = (grouped * _scale(width)) @ k[:, :, None]
        weights = _weights(scores.flatten(2, 3), visible).reshape(scores.shape)
        out = weights @ v[:, :, None]
        return out.permute(0, 3, 1, 2, 4).reshape(q.shape).to(q.dtype)


class half_precision_throughout:
    """everything is computed in half precision, the softmax too; compute the softmax in float32"""

    def _widen(x):
        return x

    def _weights(scores, visible):
        if visible is not None:
            grouped = scores.unflatten(2, (-1, visible.shape[0]))
            scores = grouped.masked_fill(~visible, float("-inf")).flatten(2, 3)
        exponentials = torch.exp(scores - scores.detach().amax(dim=-1, keepdim=True))
        weights = exponentials / exponentials.sum(dim=-1, keepdim=True)
        if visible is None:
            return weights
        return weights.unflatten(2, (-1, visible.shape[0])).masked_fill(~visible, 0.0).flatten(2, 3)


class no_cast_back:
    """the result stays in float32; cast it back to the dtype of q"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device) if is_causal else None
        out = _attend(_stack_groups(_widen(q), kv_heads), _widen(k), _widen(v), visible)
        return _unstack_groups(out, queries)


class weights_without_gradient:
    """the weights are detached, so that q and k do not learn; let the gradient through"""

    def _attend(q, k, v, visible):
        return _weights(_scores(q, k), visible).detach() @ v.transpose(1, 2)


class cache_without_gradient:
    """keys and values are detached, as in a cache for generating text; let the gradient reach
    them"""

    def _attend(q, k, v, visible):
        return _weights(_scores(q, k.detach()), visible) @ v.detach().transpose(1, 2)


class queries_scaled_in_place:
    """q *= scale changes the caller's queries; make a new tensor"""

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device) if is_causal else None
        scale = _scale(q.shape[-1])
        with torch.no_grad():
            q *= scale
        stacked = _stack_groups(_widen(q), kv_heads) / scale
        return _unstack_groups(_attend(stacked, _widen(k), _widen(v), visible), queries).to(q.dtype)


class queries_viewed:
    """q.view splits axes, which fails for a transposed q; use reshape, which copies if it must"""

    def _stack_groups(q, kv_heads):
        batch, queries, heads, width = q.shape
        grouped = q.view(batch, queries, kv_heads * (heads // kv_heads) * width)
        grouped = grouped.view(batch, queries, kv_heads, heads // kv_heads, width)
        return grouped.permute(0, 2, 3, 1, 4).reshape(batch, kv_heads, -1, width)


class keys_viewed:
    """k.view merges axes, which fails for transposed keys; transpose them instead"""

    def _scores(q, k):
        batch, keys, kv_heads, width = k.shape
        k = k.view(batch, keys, kv_heads * width).view(batch, keys, kv_heads, width)
        return (q * _scale(q.shape[-1])) @ k.permute(0, 2, 3, 1)


class softmax_in_half_precision:
    """the softmax is taken in the dtype of q; widen the scores to float32 first"""

    UNDETECTABLE = (
        "torch's softmax of half precision works in float32 inside and rounds its result once. "
        "Scores and weights rounded to the dtype of q are what products in that dtype, which the "
        "contract allows, see and make themselves."
    )

    def grouped_attention(q, k, v, *, is_causal=True):
        queries, keys, kv_heads = q.shape[1], k.shape[1], k.shape[2]
        visible = _visible(queries, keys, q.device) if is_causal else None
        return _unstack_groups(_attend(_stack_groups(q, kv_heads), k, v, visible), queries)
