"""Wrong answers to ex03_attention: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import math

import torch

# softmax


class softmax_not_shifted:
    """softmax takes exp of the scores as they are; subtract each slice's maximum first"""

    def softmax(x, dim=-1):
        exponentials = torch.exp(_widen(x))
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_not_shifted_and_nan_removed:
    """softmax takes exp of the scores as they are, and nan_to_num hides what overflows; subtract
    each slice's maximum first"""

    def softmax(x, dim=-1):
        exponentials = torch.exp(_widen(x))
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -math.inf)).nan_to_num(0.0)


class softmax_shifted_by_one_number:
    """softmax subtracts the maximum of the whole tensor; subtract each slice's own"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.max())
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_shifted_by_the_mean:
    """softmax subtracts each slice's mean; subtract its maximum, so that every
    exponent is 0 or below"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.mean(dim, keepdim=True))
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_shifted_by_zero_at_least:
    """softmax's maximum starts at 0, so that a slice far below 0 vanishes; start it at -inf"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True).clamp(min=0))
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_maximum_floored:
    """softmax's maximum is never below -10000, so that a slice far below that vanishes; subtract
    the maximum itself"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True).clamp(min=-1e4))
        total = exponentials.sum(dim, keepdim=True)
        return (exponentials / total.clamp(min=1e-6)).to(x.dtype)


class softmax_maximum_of_the_last_axis:
    """softmax takes the maximum along the last axis, whatever dim says; take it along dim"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(-1, keepdim=True))
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_clamped:
    """softmax clamps the scores to ±80 to avoid overflow; subtract each slice's maximum instead"""

    def softmax(x, dim=-1):
        exponentials = torch.exp(_widen(x).clamp(-80, 80))
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_always_over_the_last_axis:
    """softmax ignores its argument dim; take the maximum and the sum along dim"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(-1, keepdim=True))
        return (exponentials / exponentials.sum(-1, keepdim=True)).to(x.dtype)


class softmax_over_everything:
    """softmax divides by the sum of the whole tensor; each slice along dim should sum to 1"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True))
        return (exponentials / exponentials.sum()).to(x.dtype)


class softmax_not_divided:
    """softmax does not divide by the sum of the exponentials; divide by it, along dim"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        return torch.exp(wide - wide.amax(dim, keepdim=True)).to(x.dtype)


class softmax_axis_dropped:
    """the sum loses the axis it runs along, so it lines up with the wrong one; use keepdim=True"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True))
        return (exponentials / exponentials.sum(dim)).to(x.dtype)


class softmax_default_is_the_first_axis:
    """softmax runs along the first axis by default; the default should be dim=-1"""

    def softmax(x, dim=0):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True))
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_in_half_precision:
    """softmax computes in the dtype of x; widen half precision first and cast the result back"""

    def softmax(x, dim=-1):
        exponentials = torch.exp(x - x.amax(dim, keepdim=True))
        return exponentials / exponentials.sum(dim, keepdim=True)

    def _scores(q, k):
        return _widen(q) @ _widen(k).transpose(-2, -1) / math.sqrt(q.shape[-1])

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return weights.to(v.dtype) @ v


class softmax_finished_in_half_precision:
    """softmax casts the exponentials back before it divides them; divide in float32 and cast the
    finished weights back"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True)).to(x.dtype)
        return exponentials / exponentials.sum(dim, keepdim=True)


class half_precision_throughout:
    """scores, softmax and weights all stay in half precision; compute the softmax in float32"""

    def softmax(x, dim=-1):
        exponentials = torch.exp(x - x.amax(dim, keepdim=True))
        return exponentials / exponentials.sum(dim, keepdim=True)


class attention_softmax_in_half_precision:
    """the softmax inside attention runs in the dtype of q; widen the scores, as softmax does"""

    def _weights(scores, visible):
        scores = scores.masked_fill(~visible, -math.inf)
        exponentials = torch.exp(scores - scores.amax(-1, keepdim=True))
        weights = exponentials / exponentials.sum(-1, keepdim=True)
        return weights.masked_fill(~visible, 0.0)


class softmax_left_in_float32:
    """softmax leaves its result in float32; cast it back to the dtype of x"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True))
        return exponentials / exponentials.sum(dim, keepdim=True)

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return weights.to(v.dtype) @ v


class softmax_left_in_float32_and_its_weights:
    """softmax leaves its result in float32, and matmul refuses weights and values of different
    dtypes; cast it back to the dtype of x"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True))
        return exponentials / exponentials.sum(dim, keepdim=True)


class weights_left_in_float32:
    """the weights stay in float32 but the values do not, which matmul refuses; cast
    the weights back"""

    def _weights(scores, visible):
        weights = softmax(_widen(scores).masked_fill(~visible, -math.inf))
        return weights.masked_fill(~visible, 0.0)


class softmax_in_place:
    """softmax subtracts the maximum in place (x -= …), which changes the caller's tensor, since
    x.float() is x itself where x is float32; write x = x - x.amax(…)"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        wide -= wide.max(dim, keepdim=True).values
        exponentials = torch.exp(wide)
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)


class softmax_sum_cut_off:
    """no gradient flows through softmax's sum; detach the maximum at most"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        exponentials = torch.exp(wide - wide.amax(dim, keepdim=True).detach())
        return (exponentials / exponentials.detach().sum(dim, keepdim=True)).to(x.dtype)


class softmax_loses_minus_infinity:
    """softmax makes NaN of an entry of -inf (0 · inf, or inf - inf); such an entry
    should get weight 0"""

    def softmax(x, dim=-1):
        wide = _widen(x)
        shifted = wide - wide.amax(dim, keepdim=True)
        exponentials = torch.exp(shifted) + 0 * shifted
        return (exponentials / exponentials.sum(dim, keepdim=True)).to(x.dtype)

    def _weights(scores, visible):
        lowest = torch.finfo(scores.dtype).min
        return softmax(scores.masked_fill(~visible, lowest)).masked_fill(~visible, 0.0)


# causal_mask


class aligned_top_left:
    """the causal mask starts at the top left; it should end at the bottom right, where the last
    query meets the last key"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len, dtype=torch.bool).tril()


class mask_moved_the_wrong_way:
    """the diagonal is moved by S - T; move it by T - S, so that the last query meets the last
    key"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len, dtype=torch.bool).tril(q_len - kv_len)


class causal_mask_inverted:
    """causal_mask is True where a key is hidden; it should be True where a key is visible"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len, dtype=torch.bool).triu(kv_len - q_len + 1)


class not_oneself:
    """a token does not see itself; the diagonal should be visible"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len - 1)


class one_token_ahead:
    """a token sees the next one too; the diagonal should be the last key it sees"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len + 1)


class looks_ahead_only:
    """a query sees itself and what comes later; it should see itself and what came before"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len, dtype=torch.bool).triu(kv_len - q_len)


class more_queries_than_keys_start_at_zero:
    """with S > T the causal mask starts at the top left; its first S - T rows should all be
    False"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len, dtype=torch.bool).tril(max(kv_len - q_len, 0))


class last_rows_of_a_square:
    """the causal mask is cut out of a T × T mask, which has too few rows where S >
    T; build it as [S, T]"""

    def causal_mask(q_len, kv_len):
        return torch.ones(kv_len, kv_len, dtype=torch.bool).tril()[-q_len:]


class square_mask_of_the_queries:
    """attention takes an S × S causal mask, which does not fit the keys where T is not S; build it
    as [S, T]"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        scores, visible = _scores(q, k), _visible(q, k, False, attention_mask)
        if is_causal:
            square = causal_mask(q.shape[2], q.shape[2])
            visible = torch.ones_like(scores, dtype=torch.bool) & visible & square
        return _weights(scores, visible) @ v


class square_mask_of_the_keys:
    """attention takes a T × T causal mask, which does not fit the queries where S is not T; build
    it as [S, T]"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        scores, visible = _scores(q, k), _visible(q, k, False, attention_mask)
        if is_causal:
            square = causal_mask(k.shape[2], k.shape[2])
            visible = torch.ones_like(scores, dtype=torch.bool) & visible & square
        return _weights(scores, visible) @ v


class causal_mask_of_numbers:
    """causal_mask holds the numbers 0 and 1; it should be bool"""

    def causal_mask(q_len, kv_len):
        return torch.ones(q_len, kv_len).tril(kv_len - q_len)

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        visible = _visible(q, k, is_causal, None).bool()
        if attention_mask is not None:
            visible = visible & _over_keys(attention_mask)
        return _weights(_scores(q, k), visible) @ v


class causal_mask_to_be_added:
    """causal_mask holds 0 and -inf, to be added to the scores; it should be bool,
    True where a key is visible"""

    def causal_mask(q_len, kv_len):
        return torch.full((q_len, kv_len), -math.inf).triu(kv_len - q_len + 1)

    def _visible(q, k, is_causal, attention_mask):
        visible = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
        if is_causal:
            visible = causal_mask(q.shape[2], k.shape[2]) == 0
        if attention_mask is not None:
            visible = visible & _over_keys(attention_mask)
        return visible


# Scores


class not_scaled:
    """the scores are not scaled; divide them by √d"""

    def _scores(q, k):
        return q @ k.transpose(-2, -1)


class scaled_by_hidden_size:
    """the scores are divided by the root of the hidden size, H · d; divide by √d,
    with the d of one head"""

    def _scores(q, k):
        return q @ k.transpose(-2, -1) / math.sqrt(q.shape[1] * q.shape[-1])


class scaled_by_d:
    """the scores are divided by d; divide them by √d"""

    def _scores(q, k):
        return q @ k.transpose(-2, -1) / q.shape[-1]


class scaled_up:
    """the scores are multiplied by √d; divide them by √d"""

    def _scores(q, k):
        return q @ k.transpose(-2, -1) * math.sqrt(q.shape[-1])


class scaled_by_the_number_of_keys:
    """the scores are divided by √T, the number of keys; divide them by √d"""

    def _scores(q, k):
        return q @ k.transpose(-2, -1) / math.sqrt(k.shape[-2])


class scaled_after_the_softmax:
    """the weights are divided by √d, after the softmax; divide the scores, before it"""

    def _scores(q, k):
        return q @ k.transpose(-2, -1)

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return weights / math.sqrt(q.shape[-1]) @ v


class queries_scaled_in_place:
    """the queries are scaled in place (q /= …), which changes the caller's tensor; write q = q /
    √d"""

    def _scores(q, k):
        q /= math.sqrt(q.shape[-1])
        return q @ k.transpose(-2, -1)


class keys_reshaped:
    """the keys are reshaped to [B, H, d, T], which mixes them up; transpose the last two axes"""

    def _scores(q, k):
        return q @ k.reshape(*k.shape[:2], k.shape[3], k.shape[2]) / math.sqrt(q.shape[-1])


class heads_merged_by_view:
    """q.view(B · H, S, d) merges heads, which fails where q is not contiguous; use q as it is,
    since matmul needs no merging"""

    def _scores(q, k):
        batch, heads, queries, dim = q.shape
        q, k = q.view(batch * heads, queries, dim), k.view(batch * heads, -1, dim)
        return (torch.bmm(q, k.mT) / math.sqrt(dim)).view(batch, heads, queries, -1)


# Weights


class softmax_over_queries:
    """the weights sum to one over the queries; take the softmax over the keys, dim=-1"""

    def _weights(scores, visible):
        weights = softmax(scores.masked_fill(~visible, -math.inf), dim=-2)
        return weights.masked_fill(~visible, 0.0)


class softmax_over_heads:
    """the weights sum to one over the heads; take the softmax over the keys, dim=-1"""

    def _weights(scores, visible):
        weights = softmax(scores.masked_fill(~visible, -math.inf), dim=1)
        return weights.masked_fill(~visible, 0.0)


class mask_after_softmax:
    """weights are set to 0 after the softmax and no longer sum to one; hide the scores before it"""

    def _weights(scores, visible):
        return softmax(scores).masked_fill(~visible, 0.0)


class mask_after_softmax_and_normalised_again:
    """weights are set to 0 after the softmax and normalised again, so that one large hidden score
    leaves nothing of the others; hide the scores before the softmax"""

    def _weights(scores, visible):
        weights = softmax(scores).masked_fill(~visible, 0.0)
        total = weights.sum(-1, keepdim=True)
        return (weights / total).masked_fill(~visible, 0.0)


class mask_after_softmax_and_nan_removed:
    """weights are set to 0 after the softmax and normalised again, and NaN is replaced, so that one
    large hidden score leaves nothing of the others; hide the scores before the softmax"""

    def _weights(scores, visible):
        weights = softmax(scores).masked_fill(~visible, 0.0)
        return (weights / weights.sum(-1, keepdim=True)).nan_to_num(0.0)


class hidden_keys_get_zero:
    """hidden scores are set to 0, which is a score like any other; set them to -inf"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, 0.0))


class hidden_keys_get_zero_first:
    """hidden scores are set to 0 and their weights too, but the sum still counts
    them; set the scores to -inf"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, 0.0)).masked_fill(~visible, 0.0)


class hidden_keys_get_zero_beside_an_empty_row:
    """hidden scores are set to 0, a score like any other, unless all of a query's keys are hidden;
    set them to -inf"""

    def _weights(scores, visible):
        weights = softmax(scores.masked_fill(~visible, 0.0))
        return weights.masked_fill(~visible.any(-1, keepdim=True), 0.0)


class hidden_keys_get_minus_ten:
    """hidden scores are set to -10, and other scores may well be lower; set them to -inf"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -10.0))


class hidden_keys_get_minus_ten_first:
    """hidden scores are set to -10 and their weights to 0, but the sum still counts
    them; set the scores to -inf"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -10.0)).masked_fill(~visible, 0.0)


class hidden_keys_get_minus_ten_beside_an_empty_row:
    """hidden scores are set to -10, and other scores may be lower, unless all of a query's keys are
    hidden; set them to -inf"""

    def _weights(scores, visible):
        weights = softmax(scores.masked_fill(~visible, -10.0))
        return weights.masked_fill(~visible.any(-1, keepdim=True), 0.0)


class hidden_keys_get_minus_10000:
    """hidden scores are set to -10000 and their weights to 0, and other scores may be lower; set
    the scores to -inf"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -1e4)).masked_fill(~visible, 0.0)


class hidden_keys_get_nan:
    """hidden scores are set to NaN, which the sum of the softmax passes on to every other weight;
    set them to -inf"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, math.nan)).masked_fill(~visible, 0.0)


class minus_ten_is_added:
    """-10 is added to hidden scores, which may still be large; set them to -inf"""

    def _weights(scores, visible):
        return softmax(scores - 10.0 * (~visible).to(scores.dtype))


class minus_10000_is_added:
    """-10000 is added to hidden scores, so that a query with no key gets a mean of hidden values,
    weighted by their scores; set them to -inf, and the weights of such a query to 0"""

    def _weights(scores, visible):
        return softmax(_widen(scores) - 10000.0 * ~visible).to(scores.dtype)


class minus_1e9_in_half_precision:
    """hidden scores are set to -1e9, which float16 cannot hold; use -inf or torch.finfo(…).min"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -1e9)).masked_fill(~visible, 0.0)


class minus_1e9_throughout:
    """hidden scores are set to -1e9, which float16 cannot hold, and which gives a query with no key
    the mean of all values; set them to -inf, and the weights of such a query to 0"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -1e9))


class minus_1e9_added_in_half_precision:
    """-1e9 is added to hidden scores, which is -inf in float16, so that the gradients become NaN
    where every key is hidden; fill the scores with -inf instead"""

    def _weights(scores, visible):
        return softmax(scores - 1e9 * (~visible).to(scores.dtype)).masked_fill(~visible, 0.0)


class minus_1e9_added_twice:
    """-1e9 is added once per mask, so that a query with no key gets the mean of the values that
    only one of them hides; set its weights to 0"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores = _widen(_scores(q, k))
        if is_causal:
            scores = scores - 1e9 * ~causal_mask(q.shape[2], k.shape[2])
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            scores = scores - 1e9 * ~_over_keys(attention_mask)
        return softmax(scores).to(v.dtype) @ v


class as_in_minimind:
    """MiniMind's own lines are used, in which the causal mask needs S ≤ T, 1 - mask needs numbers,
    and a query with no key attends to padding; here all three cases must work"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores, queries = _scores(q, k), q.shape[2]
        if is_causal:
            scores[..., -queries:] += torch.full((queries, queries), -math.inf).triu(1)
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            scores = scores + (1.0 - attention_mask[:, None, None, :]) * -1e9
        return softmax(_widen(scores)).to(v.dtype) @ v


class no_key_means_all_keys:
    """a query with no key gets the mean of all values, since its hidden scores are all alike; set
    its weights, or its result, to 0"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, torch.finfo(scores.dtype).min))


class no_key_means_all_keys_by_adding:
    """a very low number is added to hidden scores, which drowns them, so that a query with no key
    gets the mean of all values; set its weights, or its result, to 0"""

    def _weights(scores, visible):
        lowest = torch.finfo(torch.float32).min
        return softmax(_widen(scores) + lowest * ~visible).to(scores.dtype)


class no_key_means_nan:
    """a query with no key gets NaN, the softmax of nothing but -inf; set its weights to 0 with
    masked_fill or nan_to_num (NaN · 0 is NaN)"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -math.inf))


class nan_removed_from_the_result:
    """NaN is replaced in the result, too late for the gradient of v; replace it in the weights"""

    def _weights(scores, visible):
        return softmax(scores.masked_fill(~visible, -math.inf))

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return (weights @ v).nan_to_num(0.0)


class minus_infinity_is_added:
    """-inf is added to hidden scores, so that the NaN of a query with no key reaches the gradients
    of q and k; fill the scores instead (masked_fill, where), which stops it"""

    def _weights(scores, visible):
        bias = torch.zeros(visible.shape, dtype=scores.dtype).masked_fill(~visible, -math.inf)
        return softmax(scores + bias).nan_to_num(0.0)


class minus_infinity_is_added_and_nan_left:
    """-inf is added to hidden scores, and a query with no key gets NaN; fill the scores
    (masked_fill, where), which keeps NaN out of the gradients, and set its weights to 0"""

    def _weights(scores, visible):
        bias = torch.zeros(visible.shape, dtype=scores.dtype).masked_fill(~visible, -math.inf)
        return softmax(scores + bias)


class minus_infinity_is_added_for_padding:
    """-inf is added to the scores of padding, so that the NaN of a query with no key reaches the
    gradients of q and k; fill the scores instead (masked_fill, where), which stops it"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores = _scores(q, k).masked_fill(~_visible(q, k, is_causal, None), -math.inf)
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            hidden = ~_over_keys(attention_mask)
            scores = scores + torch.zeros(hidden.shape).masked_fill(hidden, -math.inf).to(q.dtype)
        return softmax(scores).nan_to_num(0.0) @ v


class minus_infinity_is_added_for_causality:
    """-inf is added to the scores of later keys, so that the NaN of a query with no key reaches the
    gradients of q and k; fill the scores instead (masked_fill, where), which stops it"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores = _scores(q, k)
        if is_causal:
            later = ~causal_mask(q.shape[2], k.shape[2])
            scores = scores + torch.zeros(later.shape).masked_fill(later, -math.inf).to(q.dtype)
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            scores = scores.masked_fill(~_over_keys(attention_mask), -math.inf)
        return softmax(scores).nan_to_num(0.0) @ v


class zero_times_infinity:
    """(1 - mask) · (-inf) is 0 · inf = NaN for every key that is kept; use masked_fill instead"""

    def _weights(scores, visible):
        return softmax(scores + (1 - visible.to(scores.dtype)) * -math.inf)


class zero_times_infinity_made_zero:
    """(1 - mask) · (-inf) is 0 · inf = NaN for every key that is kept, and nan_to_num then removes
    all weights; use masked_fill instead"""

    def _weights(scores, visible):
        return softmax(scores + (1 - visible.to(scores.dtype)) * -math.inf).nan_to_num(0.0)


class zero_times_infinity_for_padding:
    """(1 - attention_mask) · (-inf) is 0 · inf = NaN for every key that is kept;
    use masked_fill instead"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores = _scores(q, k)
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            scores = scores + (1 - attention_mask.to(q.dtype))[:, None, None] * -math.inf
        return _weights(scores, _visible(q, k, is_causal, None)) @ v


class zero_times_infinity_for_padding_made_zero:
    """(1 - attention_mask) · (-inf) is 0 · inf = NaN for every key that is kept, and nan_to_num
    then removes all weights; use masked_fill instead"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores = _scores(q, k).masked_fill(~_visible(q, k, is_causal, None), -math.inf)
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            scores = scores + (1 - attention_mask.to(q.dtype))[:, None, None] * -math.inf
        return softmax(scores).nan_to_num(0.0) @ v


class weights_cut_off:
    """the weights are detached, so that no gradient reaches q and k; do not detach them"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return weights.detach() @ v


class without_gradient:
    """attention runs under no_grad, so that no gradient reaches q, k and v; leave gradients on"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        with torch.no_grad():
            weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
            return weights @ v


# The two masks


class padding_ignored:
    """attention_mask is not used; hide the keys where it is 0"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        return _weights(_scores(q, k), _visible(q, k, is_causal, None)) @ v


class padding_inverted:
    """attention_mask hides the keys at 1; it should hide those at 0, since 1 means keep"""

    def _over_keys(attention_mask):
        return ~attention_mask.bool()[:, None, None, :]


class padding_on_the_query_axis:
    """attention_mask is lined up with the queries, as [B, 1, T, 1]; line it up with
    the keys, as [B, 1, 1, T]"""

    def _over_keys(attention_mask):
        return attention_mask.bool()[:, None, :, None]


class padding_on_the_last_queries:
    """attention_mask hides queries; it should hide keys, as [B, 1, 1, T]"""

    def _visible(q, k, is_causal, attention_mask):
        queries, keys = q.shape[2], k.shape[2]
        visible = torch.ones(queries, keys, dtype=torch.bool)
        if is_causal:
            visible = causal_mask(queries, keys)
        if attention_mask is not None:
            visible = visible & attention_mask.bool()[:, None, -queries:, None]
        return visible


class padding_hides_queries_too:
    """attention_mask hides keys and queries; a query at 0 should still get the mean
    of what it may see"""

    def _visible(q, k, is_causal, attention_mask):
        queries, keys = q.shape[2], k.shape[2]
        visible = torch.ones(queries, keys, dtype=torch.bool)
        if is_causal:
            visible = causal_mask(queries, keys)
        if attention_mask is not None:
            rows = attention_mask.bool()[:, None, -queries:, None]
            visible = visible & _over_keys(attention_mask) & rows
        return visible


class padding_zeroes_values:
    """attention_mask sets values to 0, while their keys keep their weights; hide the scores"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            v = v * attention_mask.to(v.dtype)[:, None, :, None]
        return _weights(_scores(q, k), _visible(q, k, is_causal, None)) @ v


class padding_zeroes_keys:
    """attention_mask sets keys to 0, which gives them a score of 0, not a weight of
    0; set their scores to -inf"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            k = k * attention_mask.to(k.dtype)[:, None, :, None]
        return _weights(_scores(q, k), _visible(q, k, is_causal, None)) @ v


class padding_as_lengths:
    """attention_mask is read as a number of real keys, as if they came first; use it key by key,
    since padding may be anywhere"""

    def _over_keys(attention_mask):
        lengths = attention_mask.long().sum(-1, keepdim=True)
        return (torch.arange(attention_mask.shape[1]) < lengths)[:, None, None, :]


class padding_of_the_first_row:
    """the first row of attention_mask is used for the whole batch; use each sequence's own row"""

    def _over_keys(attention_mask):
        return attention_mask.bool()[:1, None, None, :]


class causal_or_padding:
    """the causal mask is left out when there is an attention_mask; a key must pass both"""

    def _visible(q, k, is_causal, attention_mask):
        if attention_mask is not None:
            return _over_keys(attention_mask).expand(-1, -1, q.shape[2], -1)
        if is_causal:
            return causal_mask(q.shape[2], k.shape[2])
        return torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)


class padding_or_causal:
    """the attention_mask is left out when is_causal is set; a key must pass both"""

    def _visible(q, k, is_causal, attention_mask):
        if is_causal:
            return causal_mask(q.shape[2], k.shape[2])
        if attention_mask is not None:
            return _over_keys(attention_mask)
        return torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)


class either_mask_is_enough:
    """a key is seen if either mask lets it through; it must pass both: use and, not or"""

    def _visible(q, k, is_causal, attention_mask):
        visible = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
        if is_causal:
            visible = causal_mask(q.shape[2], k.shape[2])
            if attention_mask is not None:
                visible = visible | _over_keys(attention_mask)
        elif attention_mask is not None:
            visible = visible & _over_keys(attention_mask)
        return visible


class always_causal:
    """is_causal=False is ignored; with it, later keys should be visible"""

    def _visible(q, k, is_causal, attention_mask):
        visible = causal_mask(q.shape[2], k.shape[2])
        if attention_mask is not None:
            visible = visible & _over_keys(attention_mask)
        return visible


class never_causal:
    """is_causal=True is ignored; it should hide later keys, and it is the default"""

    def _visible(q, k, is_causal, attention_mask):
        visible = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
        if attention_mask is not None:
            visible = visible & _over_keys(attention_mask)
        return visible


class not_causal_by_default:
    """is_causal is False by default; the default should be True"""

    def attention(q, k, v, *, is_causal=False, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        return _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask)) @ v


class causal_for_whole_prompts_only:
    """the causal mask is left out where S is not T; use it there too, since a chunk after a cache
    must not look ahead"""

    def _visible(q, k, is_causal, attention_mask):
        visible = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
        if is_causal and q.shape[2] == k.shape[2]:
            visible = causal_mask(q.shape[2], k.shape[2])
        if attention_mask is not None:
            visible = visible & _over_keys(attention_mask)
        return visible


class bool_masks_break:
    """1 - attention_mask is computed, which fails for a bool mask; make it bool first and use ~
    (mask.bool(), ~)"""

    def _over_keys(attention_mask):
        return (1 - attention_mask)[:, None, None, :] == 0


class only_bool_masks:
    """~attention_mask turns 1 into -2 where the mask holds integers; make it bool first"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        scores = _scores(q, k)
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
            hidden = ~attention_mask[:, None, None, :]
            scores = scores.masked_fill(hidden, -math.inf)
        visible = _visible(q, k, is_causal, None) & (scores > -math.inf)
        return _weights(scores, visible) @ v


class mask_modified:
    """attention_mask is changed in place (0 becomes -inf), which changes the
    caller's mask; make a new tensor"""

    def _over_keys(attention_mask):
        kept = (attention_mask != 0)[:, None, None, :]
        if attention_mask.is_floating_point():
            attention_mask.masked_fill_(attention_mask == 0, -math.inf)
        return kept


class mask_shape_unchecked:
    """an attention_mask of another shape does not raise a ValueError (unchecked, one row is
    broadcast over the whole batch; assert and torch raise another error); compare its shape with
    (B, T) and raise a ValueError"""

    def _check_mask(attention_mask, q, k):
        pass


class only_the_width_is_checked:
    """only the last axis of attention_mask is compared with T; compare its whole shape with [B,
    T]"""

    def _check_mask(attention_mask, q, k):
        if attention_mask.shape[-1] != k.shape[2]:
            raise ValueError(f"attention_mask: got {list(attention_mask.shape)}")


class only_the_batch_is_checked:
    """only the first axis of attention_mask is compared with B; compare its whole shape with [B,
    T]"""

    def _check_mask(attention_mask, q, k):
        if attention_mask.shape[0] != k.shape[0]:
            raise ValueError(f"attention_mask: got {list(attention_mask.shape)}")


class any_two_axes_are_accepted:
    """only the number of axes of attention_mask is checked; compare both sizes with [B, T]"""

    def _check_mask(attention_mask, q, k):
        if attention_mask.dim() != 2:
            raise ValueError(f"attention_mask: got {list(attention_mask.shape)}")


class broadcast_masks_are_accepted:
    """a mask of one row or one column is accepted, since it broadcasts to [B, T]; refuse it"""

    def _check_mask(attention_mask, q, k):
        rows, columns = (1, k.shape[0]), (1, k.shape[2])
        shape = attention_mask.shape
        if len(shape) != 2 or shape[0] not in rows or shape[1] not in columns:
            raise ValueError(f"attention_mask: got {list(shape)}")


class mask_measured_by_queries:
    """attention_mask is expected to have S columns; it should have T, one for each key"""

    def _check_mask(attention_mask, q, k):
        if list(attention_mask.shape) != [q.shape[0], q.shape[2]]:
            raise ValueError(f"attention_mask: got {list(attention_mask.shape)}")


# The result


class keys_averaged:
    """the weights average the keys; they should average the values"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return weights @ k


class positions_before_heads:
    """the result is [B, S, H, d]; it should be [B, H, S, d], heads first, as in q"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return (weights @ v).transpose(1, 2)


class heads_joined:
    """the heads are joined to [B, S, H · d], as a layer does later; here the result
    should be [B, H, S, d]"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return (weights @ v).transpose(1, 2).flatten(2)


class axes_of_one_squeezed:
    """axes of size one are squeezed away, which removes B or S where it is 1; leave out
    squeeze()"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return (weights @ v).squeeze()


class weights_returned_too:
    """the weights are returned with the result; return only the result"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return weights @ v, weights


class result_in_float32:
    """the result is left in float32; cast it back to the dtype of q"""

    def attention(q, k, v, *, is_causal=True, attention_mask=None):
        q, k, v = _widen(q), _widen(k), _widen(v)
        if attention_mask is not None:
            _check_mask(attention_mask, q, k)
        weights = _weights(_scores(q, k), _visible(q, k, is_causal, attention_mask))
        return weights @ v
