"""Wrong answers to ex06_flash_attention: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import math

import torch

# merge_partials


class merged_by_the_mean:
    """merge_partials gives both sides half of the weight; weigh each by its exp(lse)"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        out = (_widen(out_a) + _widen(out_b)) / 2
        return out.to(out_a.dtype), torch.logaddexp(_widen(lse_a), _widen(lse_b))


class merged_without_dividing:
    """the weighed sum of both sides is not divided by the sum of their weights; divide it"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        shift = _finite(torch.maximum(lse_a, lse_b))
        weight_a, weight_b = torch.exp(lse_a - shift), torch.exp(lse_b - shift)
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return weighed.to(out_a.dtype), shift + torch.log(weight_a + weight_b)


class merged_the_wrong_way_round:
    """each side gets the other's share; out_a belongs to exp(lse_a)"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse = torch.logaddexp(_widen(lse_a), _widen(lse_b))
        shares = [torch.exp(_widen(x) - _finite(lse)).unsqueeze(-1) for x in (lse_b, lse_a)]
        return (shares[0] * _widen(out_a) + shares[1] * _widen(out_b)).to(out_a.dtype), lse


class merged_by_the_lse_itself:
    """the sides are weighed by lse, which is a logarithm; weigh them by exp(lse)"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        wide_a, wide_b = _widen(lse_a).unsqueeze(-1), _widen(lse_b).unsqueeze(-1)
        out = (wide_a * _widen(out_a) + wide_b * _widen(out_b)) / (wide_a + wide_b)
        return out.to(out_a.dtype), torch.logaddexp(_widen(lse_a), _widen(lse_b))


class merged_lse_added:
    """merge_partials adds the two lse; add their exponentials and take the logarithm"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        out, _ = _merged(out_a, lse_a, out_b, lse_b)
        return out, _widen(lse_a) + _widen(lse_b)

    def _merged(out_a, lse_a, out_b, lse_b):
        lse = torch.logaddexp(_widen(lse_a), _widen(lse_b))
        shares = [torch.exp(_widen(x) - _finite(lse)).unsqueeze(-1) for x in (lse_a, lse_b)]
        return (shares[0] * _widen(out_a) + shares[1] * _widen(out_b)).to(out_a.dtype), lse


class merged_lse_is_the_larger:
    """merge_partials returns the larger lse; add the logarithm of the sum of both weights"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        lse = torch.logaddexp(lse_a, lse_b)
        shares = [torch.exp(x - _finite(lse)).unsqueeze(-1) for x in (lse_a, lse_b)]
        out = shares[0] * _widen(out_a) + shares[1] * _widen(out_b)
        return out.to(out_a.dtype), torch.maximum(lse_a, lse_b)


class merged_lse_left_shifted:
    """the larger lse is taken off before the exponential and never added again; lse is the larger
    one plus the logarithm"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        shift = _finite(torch.maximum(lse_a, lse_b))
        weight_a, weight_b = torch.exp(lse_a - shift), torch.exp(lse_b - shift)
        total = weight_a + weight_b
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return _divided(weighed, total).to(out_a.dtype), torch.log(total)


class merged_in_base_two:
    """lse is taken as a logarithm to the base 2 (exp2, log2); use exp and log"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        shift = _finite(torch.maximum(lse_a, lse_b))
        weight_a, weight_b = torch.exp2(lse_a - shift), torch.exp2(lse_b - shift)
        total = weight_a + weight_b
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return _divided(weighed, total).to(out_a.dtype), shift + torch.log2(total)


class merged_without_shift:
    """exp(lse) is taken as it is, which overflows or vanishes far from 0; take the larger lse off
    first"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        weight_a, weight_b = torch.exp(_widen(lse_a)), torch.exp(_widen(lse_b))
        total = weight_a + weight_b
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return _divided(weighed, total).to(out_a.dtype), torch.log(total)


class merged_shift_of_zero_at_least:
    """the shift of merge_partials is never below 0, so that sides far below vanish; shift by the
    larger lse"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        shift = torch.maximum(lse_a, lse_b).clamp(min=0.0)
        weight_a, weight_b = torch.exp(lse_a - shift), torch.exp(lse_b - shift)
        total = weight_a + weight_b
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return _divided(weighed, total).to(out_a.dtype), shift + torch.log(total)


class merged_shift_of_one_side:
    """both sides are shifted by lse_a, so that a much larger lse_b overflows; shift by the larger
    of the two"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        shift = torch.where(lse_a == -math.inf, _finite(lse_b), lse_a)
        weight_a, weight_b = torch.exp(lse_a - shift), torch.exp(lse_b - shift)
        total = weight_a + weight_b
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return _divided(weighed, total).to(out_a.dtype), shift + torch.log(total)


class merged_empty_gives_nan:
    """merging two sides without keys gives NaN (-inf - -inf); it should give 0 and -inf"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        shift = torch.maximum(lse_a, lse_b)
        weight_a, weight_b = torch.exp(lse_a - shift), torch.exp(lse_b - shift)
        total = weight_a + weight_b
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return _divided(weighed, total).to(out_a.dtype), shift + torch.log(total)


class merged_empty_divides_by_zero:
    """of two sides without keys, out is 0 / 0, NaN; it should be 0"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        shift = _finite(torch.maximum(lse_a, lse_b))
        weight_a, weight_b = torch.exp(lse_a - shift), torch.exp(lse_b - shift)
        total = weight_a + weight_b
        weighed = weight_a.unsqueeze(-1) * _widen(out_a) + weight_b.unsqueeze(-1) * _widen(out_b)
        return (weighed / total.unsqueeze(-1)).to(out_a.dtype), shift + torch.log(total)


class merged_by_sigmoid:
    """shares are sigmoid(lse_b - lse_a), which is NaN of -inf - -inf, and lse is lse_a less a
    logarithm, NaN where lse_a is -inf; treat -inf separately"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a), _widen(lse_b)
        share_b = torch.sigmoid(lse_b - lse_a).unsqueeze(-1)
        out = _widen(out_a) - share_b * (_widen(out_a) - _widen(out_b))
        return out.to(out_a.dtype), lse_a - torch.nn.functional.logsigmoid(lse_a - lse_b)


class merged_empty_has_weight:
    """an lse of -inf is replaced by 0, so that a side without keys gets weight; its weight should
    be 0"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _finite(_widen(lse_a)), _finite(_widen(lse_b))
        lse = torch.logaddexp(lse_a, lse_b)
        shares = [torch.exp(x - lse).unsqueeze(-1) for x in (lse_a, lse_b)]
        return (shares[0] * _widen(out_a) + shares[1] * _widen(out_b)).to(out_a.dtype), lse


class merged_empty_lse_finite:
    """-inf is replaced by -1e30 and stays so in the result; the lse of no keys should be -inf"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse_a, lse_b = _widen(lse_a).clamp(min=-1e30), _widen(lse_b).clamp(min=-1e30)
        lse = torch.logaddexp(lse_a, lse_b)
        shares = [torch.exp(x - lse).unsqueeze(-1) for x in (lse_a, lse_b)]
        return (shares[0] * _widen(out_a) + shares[1] * _widen(out_b)).to(out_a.dtype), lse


class merged_in_half_precision:
    """merge_partials computes in the dtype of out; compute in float32 and cast out once"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse = torch.logaddexp(_widen(lse_a), _widen(lse_b))
        shares = [torch.exp(_widen(x) - _finite(lse)).unsqueeze(-1) for x in (lse_a, lse_b)]
        return shares[0].to(out_a.dtype) * out_a + shares[1].to(out_a.dtype) * out_b, lse


class merged_out_left_in_float32:
    """merge_partials returns out in float32; cast it back to the dtype of out_a"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse = torch.logaddexp(_widen(lse_a), _widen(lse_b))
        shares = [torch.exp(_widen(x) - _finite(lse)).unsqueeze(-1) for x in (lse_a, lse_b)]
        return shares[0] * _widen(out_a) + shares[1] * _widen(out_b), lse


class merged_lse_in_half_precision:
    """merge_partials returns lse in the dtype of out; leave it in float32"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse = torch.logaddexp(_widen(lse_a), _widen(lse_b))
        shares = [torch.exp(_widen(x) - _finite(lse)).unsqueeze(-1) for x in (lse_a, lse_b)]
        out = shares[0] * _widen(out_a) + shares[1] * _widen(out_b)
        return out.to(out_a.dtype), lse.to(out_a.dtype)


class merged_in_place:
    """merge_partials changes the out_a that it was given (*=, +=); write into new memory"""

    def merge_partials(out_a, lse_a, out_b, lse_b):
        lse = torch.logaddexp(_widen(lse_a), _widen(lse_b))
        shares = [torch.exp(_widen(x) - _finite(lse)).unsqueeze(-1) for x in (lse_a, lse_b)]
        wide = _widen(out_a)
        wide *= shares[0]
        wide += shares[1] * _widen(out_b)
        return wide.to(out_a.dtype), lse


# The running maximum and the sums.


class sums_not_corrected:
    """neither sum is corrected when the maximum moves; multiply both by exp(old - new maximum)"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        weights = torch.exp(scores - _finite(new_top).unsqueeze(-1))
        return new_top, total + weights.sum(dim=-1), weighed + weights @ _widen(v)


class accumulator_not_corrected:
    """the sum of values is not corrected when the maximum moves; multiply it by exp(old - new
    maximum), as the sum of weights"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * torch.exp(top - shift) + weights.sum(dim=-1)
        return new_top, total, weighed + weights @ _widen(v)


class sum_of_weights_not_corrected:
    """the sum of weights is not corrected when the maximum moves; multiply it by exp(old - new
    maximum), as the sum of values"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        correction = torch.exp(top - shift).unsqueeze(-1)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        return new_top, total + weights.sum(dim=-1), weighed * correction + weights @ _widen(v)


class corrected_the_wrong_way:
    """the sums are multiplied by exp(new - old maximum), or divided by exp(old - new); multiply
    them by exp(old - new), which is at most 1"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        correction = torch.where(top == -math.inf, 0.0, torch.exp(shift - top))
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        return new_top, total, weighed * correction.unsqueeze(-1) + weights @ _widen(v)


class accumulator_corrected_the_wrong_way:
    """the sum of values is divided by exp(old - new maximum), as one version of the paper's
    algorithm has it; multiply by it"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        wrong = torch.where(top == -math.inf, 0.0, torch.exp(shift - top)).unsqueeze(-1)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * torch.exp(top - shift) + weights.sum(dim=-1)
        return new_top, total, weighed * wrong + weights @ _widen(v)


class new_tile_corrected_too:
    """the correction is applied after the new tile is added, to old and new alike; correct the old
    sums first, then add"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        correction = torch.where(top == -math.inf, 1.0, torch.exp(top - shift))
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = (total + weights.sum(dim=-1)) * correction
        return new_top, total, (weighed + weights @ _widen(v)) * correction.unsqueeze(-1)


class maximum_of_the_last_tile:
    """the maximum is that of the new tile alone, so that the correction overflows where scores
    fall; take the larger of it and the old one"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = scores.amax(dim=-1)
        new_top = torch.where(new_top == -math.inf, top, new_top)
        shift = _finite(new_top)
        correction = torch.exp(top - shift)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        return new_top, total, weighed * correction.unsqueeze(-1) + weights @ _widen(v)


class maximum_starts_at_zero:
    """the running maximum starts at 0, so that queries whose scores are far below vanish; start it
    at -inf"""

    def _nothing(q):
        wide = _widen(q)
        none = wide.new_zeros(q.shape[:-1])
        return none, none, torch.zeros_like(wide)

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), torch.where(total == 0, -math.inf, top + torch.log(total))


class maximum_starts_at_a_finite_number:
    """the running maximum starts at -10000, so that queries whose scores are below that vanish;
    start it at -inf"""

    def _nothing(q):
        wide = _widen(q)
        none = wide.new_zeros(q.shape[:-1])
        return none - 1e4, none, torch.zeros_like(wide)

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), torch.where(total == 0, -math.inf, top + torch.log(total))


class maximum_of_a_hidden_tile_is_kept:
    """a tile in which a query sees nothing sets its maximum to 0, and it stays there; shift by 0
    in that tile, but keep -inf as the maximum"""

    def _key_tiles(rows, q, k, is_causal, block_size):
        tiles = _tiles(k.shape[2], block_size)[::-1]  # from the right, as some kernels go
        return [cols for cols in tiles if not is_causal or _is_seen(rows, cols, _offset(q, k))]

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = _finite(torch.maximum(top, scores.amax(dim=-1)))
        correction = torch.exp(top - new_top)
        weights = torch.exp(scores - new_top.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        return new_top, total, weighed * correction.unsqueeze(-1) + weights @ _widen(v)


class no_maximum:
    """exp is taken of the scores as they are, which overflows or vanishes far from 0; take a
    running maximum off first"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        weights = torch.exp(scores)
        return torch.zeros_like(top), total + weights.sum(dim=-1), weighed + weights @ _widen(v)


class one_maximum_per_tile:
    """one maximum serves all queries of a tile, so that rows far below it vanish; take one for
    each query, dim=-1"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax().expand_as(top))
        shift = _finite(new_top)
        correction = torch.exp(top - shift)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        return new_top, total, weighed * correction.unsqueeze(-1) + weights @ _widen(v)


class tiles_divided_separately:
    """each tile is divided by its own sum, and the results are averaged; keep sums, and divide
    once at the end"""

    def _absorb(state, scores, v):
        top, count, weighed = state
        own = _finite(scores.amax(dim=-1))
        weights = torch.exp(scores - own.unsqueeze(-1))
        total = weights.sum(dim=-1)
        lse = torch.logaddexp(top, own + torch.log(total))
        return lse, count + (total > 0), weighed + _divided(weights @ _widen(v), total)

    def _finish(state):
        lse, count, weighed = state
        return _divided(weighed, count), lse


class tiles_divided_and_added:
    """each tile is divided by its own sum, and the results are added up; keep sums, and divide
    once at the end"""

    def _absorb(state, scores, v):
        top, count, weighed = state
        own = _finite(scores.amax(dim=-1))
        weights = torch.exp(scores - own.unsqueeze(-1))
        total = weights.sum(dim=-1)
        lse = torch.logaddexp(top, own + torch.log(total))
        return lse, count, weighed + _divided(weights @ _widen(v), total)

    def _finish(state):
        lse, _, weighed = state
        return weighed, lse


class not_divided:
    """out is not divided by the sum of the weights; divide it, once, at the end"""

    def _finish(state):
        top, total, weighed = state
        return weighed, _finite(top) + torch.log(total)


class divided_after_every_tile:
    """the sum of values is divided after every tile, and then treated as if it had not been;
    divide once, after the last"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        correction = torch.exp(top - shift)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        weighed = weighed * correction.unsqueeze(-1) + weights @ _widen(v)
        return new_top, total, _divided(weighed, total)

    def _finish(state):
        top, total, weighed = state
        return weighed, _finite(top) + torch.log(total)


class last_tile_decides:
    """out and lse are those of the last tile of keys alone; keep the sums of the earlier ones"""

    def _absorb(state, scores, v):
        top = scores.amax(dim=-1)
        weights = torch.exp(scores - _finite(top).unsqueeze(-1))
        return top, weights.sum(dim=-1), weights @ _widen(v)


class accumulator_starts_again:
    """the sum of values is that of the last tile alone (= for +=); add each tile to what there
    is"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * torch.exp(top - shift) + weights.sum(dim=-1)
        return new_top, total, weights @ _widen(v)


# lse.


class lse_without_maximum:
    """lse is the logarithm of the shifted sum; add the maximum"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), torch.log(total)


class lse_without_logarithm:
    """lse is the maximum plus the sum; add the logarithm of the sum"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), top + total


class lse_is_the_sum:
    """the sum of the shifted exponentials is returned in place of lse; return the maximum plus its
    logarithm"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), total


class lse_is_the_maximum:
    """the maximum is returned in place of lse; add the logarithm of the sum"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), top


class lse_in_base_two:
    """lse is a logarithm to the base 2; it should be a natural one: multiply by ln 2"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), (_finite(top) + torch.log(total)) / math.log(2)


class lse_times_ln_two:
    """lse is multiplied by ln 2 although it is a natural logarithm already; leave it"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), (_finite(top) + torch.log(total)) * math.log(2)


class lse_maximum_mixed_with_base_two:
    """lse is the maximum plus log2 of the sum; take the natural logarithm"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), _finite(top) + torch.log2(total)


class lse_of_unscaled_scores:
    """lse is that of the scores before they are divided by sqrt(d); take it of the scaled ones"""

    def _attend(q, k, v, rows, is_causal, block_size):
        state, raw = _nothing(q[:, :, rows]), _nothing(q[:, :, rows])
        for cols in _key_tiles(rows, q, k, is_causal, block_size):
            scores = _scores(q, k, rows, cols, is_causal)
            state = _absorb(state, scores, v[:, :, cols])
            raw = _absorb(raw, scores / _scale(q), v[:, :, cols])
        return _finish(state)[0], _finish(raw)[1]


class lse_maximum_of_unscaled_scores:
    """lse adds the maximum of the unscaled scores to the logarithm; add the scaled one"""

    def _attend(q, k, v, rows, is_causal, block_size):
        state = _nothing(q[:, :, rows])
        for cols in _key_tiles(rows, q, k, is_causal, block_size):
            state = _absorb(state, _scores(q, k, rows, cols, is_causal), v[:, :, cols])
        out, lse = _finish(state)
        return out, lse + _finite(state[0]) * (1 / _scale(q) - 1)


class lse_negative:
    """lse has the wrong sign; it should be the logarithm of the sum itself"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), -(_finite(top) + torch.log(total))


class lse_with_an_axis_too_many:
    """lse is [B, H, S, 1]; it should be [B, H, S], so squeeze the last axis"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), (_finite(top) + torch.log(total)).unsqueeze(-1)


class lse_in_half_precision:
    """lse is returned in the dtype of q; leave it in float32"""

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        parts = [
            _attend(q, k, v, rows, is_causal, block_size) for rows in _tiles(q.shape[2], block_size)
        ]
        outs, lses = zip(*parts, strict=True)
        return torch.cat(outs, dim=2).to(q.dtype), torch.cat(lses, dim=2).to(q.dtype)


class lse_of_no_key_is_zero:
    """lse of a query without keys is 0; the logarithm of nothing should be -inf"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), _finite(top) + torch.log(
            total.masked_fill(total == 0, 1.0)
        )


class lse_of_no_key_is_inf:
    """lse of a query without keys is +inf; it should be -inf"""

    def _finish(state):
        top, total, weighed = state
        lse = _finite(top) + torch.log(total)
        return _divided(weighed, total), lse.masked_fill(total == 0, math.inf)


class lse_of_no_key_is_finite:
    """the logarithm in lse is kept away from 0 (clamp, + 1e-10), so that a query without keys gets
    a finite number; it should be -inf"""

    def _finish(state):
        top, total, weighed = state
        return _divided(weighed, total), _finite(top) + torch.log(total.clamp(min=1e-10))


class returned_the_wrong_way_round:
    """flash_attention returns (lse, out); return (out, lse)"""

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        parts = [
            _attend(q, k, v, rows, is_causal, block_size) for rows in _tiles(q.shape[2], block_size)
        ]
        outs, lses = zip(*parts, strict=True)
        return torch.cat(lses, dim=2), torch.cat(outs, dim=2).to(q.dtype)


class without_lse:
    """flash_attention returns out alone; return (out, lse)"""

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        parts = [
            _attend(q, k, v, rows, is_causal, block_size) for rows in _tiles(q.shape[2], block_size)
        ]
        outs, _ = zip(*parts, strict=True)
        return torch.cat(outs, dim=2).to(q.dtype)


# Tiles.


class last_keys_dropped:
    """the last, shorter tile of keys is dropped (T // block_size tiles); go over all T keys"""

    def _key_tiles(rows, q, k, is_causal, block_size):
        whole = max(1, k.shape[2] // block_size)  # less than one block is one tile
        tiles = _tiles(k.shape[2], block_size)[:whole]
        return [cols for cols in tiles if not is_causal or _is_seen(rows, cols, _offset(q, k))]


class shorter_lengths_fail:
    """a length that block_size does not divide is refused, or does not fit; let the last tile be
    shorter"""

    def _tiles(length, block_size):
        if length % min(block_size, length):
            raise ValueError(f"block_size: got {block_size}, want a divisor of {length}")
        block_size = min(block_size, length)
        return [slice(i, i + block_size) for i in range(0, length, block_size)]


class last_queries_left_out:
    """the queries of the last, shorter tile keep out = 0 (S // block_size tiles); go over all S
    queries"""

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        out = torch.zeros_like(q)
        lse = _widen(q).new_zeros(q.shape[:-1])
        size = min(block_size, q.shape[2])
        for rows in _tiles(q.shape[2] // size * size, size):
            found, lse[:, :, rows] = _attend(q, k, v, rows, is_causal, block_size)
            out[:, :, rows] = found.to(q.dtype)
        return out, lse


class padded_keys_have_weight:
    """the last tile is filled up with zeros, whose scores of 0 get weight; hide them with -inf"""

    def _attend(q, k, v, rows, is_causal, block_size):
        offset, size = _offset(q, k), min(block_size, k.shape[2])
        k, v = (torch.nn.functional.pad(x, (0, 0, 0, -x.shape[2] % size)) for x in (k, v))
        state = _nothing(q[:, :, rows])
        for cols in _tiles(k.shape[2], size):
            if is_causal and not _is_seen(rows, cols, offset):
                continue
            scores = _scores(q, k, rows, cols, False)
            if is_causal:
                scores = scores.masked_fill(_hidden(rows, cols, offset, q.device), -math.inf)
            state = _absorb(state, scores, v[:, :, cols])
        return _finish(state)


class keys_counted_by_queries:
    """the loop over keys ends at S, the number of queries; it should end at T, that of keys"""

    def _key_tiles(rows, q, k, is_causal, block_size):
        tiles = _tiles(min(q.shape[2], k.shape[2]), block_size)
        return [cols for cols in tiles if not is_causal or _is_seen(rows, cols, _offset(q, k))]


class first_tile_alone:
    """the loop over keys ends after its first tile (a return inside it); go over all of them"""

    def _key_tiles(rows, q, k, is_causal, block_size):
        return [slice(0, min(block_size, k.shape[2]))]


class tiles_to_the_diagonal_by_number:
    """query tile i looks at key tiles 0 … i, which is right for S = T alone; compare the places of
    its last query and the tile's first key"""

    def _is_seen(rows, cols, offset):
        return cols.start <= rows.start


class diagonal_tile_left_out:
    """the tile on the diagonal is skipped; skip a tile only if its first key comes after the last
    query"""

    def _is_seen(rows, cols, offset):
        return cols.stop - 1 <= rows.start + offset


class tile_of_the_first_query:
    """a tile is skipped if its first key comes after the *first* query; compare with the last"""

    def _is_seen(rows, cols, offset):
        return cols.start <= rows.start + offset


class matrix_of_all_scores:
    """something of S x T elements is made after all: the scores, the weights, a mask, or tiles that
    ignore block_size; keep one tile at a time"""

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        block_size = max(q.shape[2], k.shape[2])
        parts = [
            _attend(q, k, v, rows, is_causal, block_size) for rows in _tiles(q.shape[2], block_size)
        ]
        outs, lses = zip(*parts, strict=True)
        return torch.cat(outs, dim=2).to(q.dtype), torch.cat(lses, dim=2)


class hidden_tiles_computed:
    """tiles in which every key is hidden are computed all the same; skip those whose first key
    comes after the last query"""

    def _attend(q, k, v, rows, is_causal, block_size):
        state = _nothing(q[:, :, rows])
        for cols in _tiles(k.shape[2], block_size):
            state = _absorb(state, _scores(q, k, rows, cols, is_causal), v[:, :, cols])
        return _finish(state)


# Masks and scale.


class causal_ignored:
    """is_causal does nothing, so that queries see later keys; hide those keys"""

    def _scores(q, k, rows, cols, is_causal):
        return _widen(q[:, :, rows]) @ _widen(k[:, :, cols]).transpose(-2, -1) * _scale(q)

    def _key_tiles(rows, q, k, is_causal, block_size):
        return _tiles(k.shape[2], block_size)


class causal_by_whole_tiles:
    """later tiles are skipped, but inside the tile on the diagonal nothing is hidden; mask it key
    by key"""

    def _scores(q, k, rows, cols, is_causal):
        return _widen(q[:, :, rows]) @ _widen(k[:, :, cols]).transpose(-2, -1) * _scale(q)


class not_causal_by_default:
    """is_causal is False by default; the default should be True"""

    def flash_attention(q, k, v, *, is_causal=False, block_size=64):
        parts = [
            _attend(q, k, v, rows, is_causal, block_size) for rows in _tiles(q.shape[2], block_size)
        ]
        outs, lses = zip(*parts, strict=True)
        return torch.cat(outs, dim=2).to(q.dtype), torch.cat(lses, dim=2)


class always_causal:
    """later keys are hidden whatever is_causal says; with False, every query should see all keys"""

    def _key_tiles(rows, q, k, is_causal, block_size):
        tiles = _tiles(k.shape[2], block_size)
        return [cols for cols in tiles if _is_seen(rows, cols, _offset(q, k))]

    def _scores(q, k, rows, cols, is_causal):
        scores = _widen(q[:, :, rows]) @ _widen(k[:, :, cols]).transpose(-2, -1) * _scale(q)
        return scores.masked_fill(_hidden(rows, cols, _offset(q, k), q.device), -math.inf)


class aligned_top_left:
    """query s sees keys 0 … s, as if nothing came before; the last query should see the last key:
    add T - S"""

    def _offset(q, k):
        return 0


class mask_moved_the_wrong_way:
    """the queries' places are moved by S - T; move them by T - S"""

    def _offset(q, k):
        return q.shape[2] - k.shape[2]


class mask_counted_within_the_tile:
    """the mask counts rows and columns within the tile, so that every tile is masked as a
    triangle; count them in the whole text"""

    def _hidden(rows, cols, offset, device):
        shape = rows.stop - rows.start, cols.stop - cols.start
        return torch.ones(shape, dtype=torch.bool, device=device).triu(1)


class itself_not_seen:
    """a query does not see the key at its own place; only later keys should be hidden"""

    def _hidden(rows, cols, offset, device):
        queries = torch.arange(rows.start, rows.stop, device=device) + offset
        return torch.arange(cols.start, cols.stop, device=device) >= queries.unsqueeze(-1)


class one_key_too_far:
    """a query sees the key after its own; its own should be the last"""

    def _hidden(rows, cols, offset, device):
        queries = torch.arange(rows.start, rows.stop, device=device) + offset + 1
        return torch.arange(cols.start, cols.stop, device=device) > queries.unsqueeze(-1)

    def _is_seen(rows, cols, offset):
        return cols.start <= rows.stop + offset


class past_hidden:
    """queries see their own and later keys; they should see their own and earlier ones"""

    def _hidden(rows, cols, offset, device):
        queries = torch.arange(rows.start, rows.stop, device=device) + offset
        return torch.arange(cols.start, cols.stop, device=device) < queries.unsqueeze(-1)

    def _is_seen(rows, cols, offset):
        return True


class hidden_scores_of_zero:
    """hidden scores become 0, which still has weight; fill them with -inf"""

    def _scores(q, k, rows, cols, is_causal):
        scores = _widen(q[:, :, rows]) @ _widen(k[:, :, cols]).transpose(-2, -1) * _scale(q)
        if not is_causal:
            return scores
        return scores.masked_fill(_hidden(rows, cols, _offset(q, k), q.device), 0.0)


class hidden_scores_finite:
    """hidden scores become -10000, which is not below every score, and a query without keys gets
    the mean of hidden values; fill them with -inf"""

    def _scores(q, k, rows, cols, is_causal):
        scores = _widen(q[:, :, rows]) @ _widen(k[:, :, cols]).transpose(-2, -1) * _scale(q)
        if not is_causal:
            return scores
        return scores.masked_fill(_hidden(rows, cols, _offset(q, k), q.device), -1e4)


class hidden_scores_lowest:
    """hidden scores become the lowest finite number, so that a query without keys gets the mean of
    hidden values; fill them with -inf and shift by 0 where the maximum is -inf"""

    def _scores(q, k, rows, cols, is_causal):
        scores = _widen(q[:, :, rows]) @ _widen(k[:, :, cols]).transpose(-2, -1) * _scale(q)
        if not is_causal:
            return scores
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(_hidden(rows, cols, _offset(q, k), q.device), lowest)


class hidden_keys_in_the_maximum:
    """the maximum is taken before the mask, so that a hidden key far above makes the rest vanish;
    mask the scores first"""

    def _attend(q, k, v, rows, is_causal, block_size):
        top, total, weighed = _nothing(q[:, :, rows])
        for cols in _key_tiles(rows, q, k, is_causal, block_size):
            new_top = torch.maximum(top, _scores(q, k, rows, cols, False).amax(dim=-1))
            correction = torch.exp(top - new_top)
            scores = _scores(q, k, rows, cols, is_causal)
            weights = torch.exp(scores - new_top.unsqueeze(-1))
            total = total * correction + weights.sum(dim=-1)
            weighed = weighed * correction.unsqueeze(-1) + weights @ _widen(v[:, :, cols])
            top = new_top
        return _finish((top, total, weighed))


class hidden_keys_in_the_sum:
    """hidden weights are zeroed for the values but still counted in the sum; mask the scores before
    the exponential"""

    def _attend(q, k, v, rows, is_causal, block_size):
        top, total, weighed = _nothing(q[:, :, rows])
        for cols in _key_tiles(rows, q, k, is_causal, block_size):
            scores = _scores(q, k, rows, cols, False)
            new_top = torch.maximum(top, scores.amax(dim=-1))
            correction = torch.exp(top - new_top)
            weights = torch.exp(scores - new_top.unsqueeze(-1))
            total = total * correction + weights.sum(dim=-1)
            if is_causal:
                hidden = _hidden(rows, cols, _offset(q, k), q.device)
                weights = weights.masked_fill(hidden, 0.0)
            weighed = weighed * correction.unsqueeze(-1) + weights @ _widen(v[:, :, cols])
            top = new_top
        return _finish((top, total, weighed))


class no_key_yet_gives_nan:
    """a query that has met no key yet gives NaN (-inf - -inf); shift by 0 where the maximum is
    still -inf"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        correction = torch.exp(top - new_top)
        weights = torch.exp(scores - new_top.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        return new_top, total, weighed * correction.unsqueeze(-1) + weights @ _widen(v)


class no_key_divides_by_zero:
    """out of a query without keys is 0 / 0, NaN; it should be 0"""

    def _finish(state):
        top, total, weighed = state
        return weighed / total.unsqueeze(-1), _finite(top) + torch.log(total)


class no_scale:
    """the scores are not scaled; divide them by sqrt(d)"""

    def _scale(q):
        return 1.0


class divided_by_d:
    """the scores are divided by d, which is sqrt(d) twice; divide by sqrt(d) once"""

    def _scale(q):
        return 1.0 / q.shape[-1]


class multiplied_by_the_root_of_d:
    """the scores are multiplied by sqrt(d); divide them by it"""

    def _scale(q):
        return q.shape[-1] ** 0.5


class scaled_by_the_hidden_size:
    """the scores are divided by sqrt(H * d); divide by sqrt(d), with the d of one head"""

    def _scale(q):
        return (q.shape[1] * q.shape[-1]) ** -0.5


class scaled_by_the_number_of_keys:
    """the scores are divided by the root of the length, not of the width; divide by sqrt(d)"""

    def _scale(q):
        return q.shape[2] ** -0.5


class exponentials_of_base_two:
    """exp2 is taken of natural scores; multiply the scores by log2(e) first, or take exp"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        correction = torch.exp2(top - shift)
        weights = torch.exp2(scores - shift.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        return new_top, total, weighed * correction.unsqueeze(-1) + weights @ _widen(v)


# Half precision.


class out_left_in_float32:
    """out is returned in float32; cast it to the dtype of q"""

    def flash_attention(q, k, v, *, is_causal=True, block_size=64):
        parts = [
            _attend(q, k, v, rows, is_causal, block_size) for rows in _tiles(q.shape[2], block_size)
        ]
        outs, lses = zip(*parts, strict=True)
        return torch.cat(outs, dim=2), torch.cat(lses, dim=2)


class accumulator_in_half_precision:
    """the sum of values is kept in the dtype of q; keep it in float32 until the end"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        correction = torch.exp(top - shift)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        weighed = weighed * correction.unsqueeze(-1) + weights @ _widen(v)
        return new_top, total, _widen(weighed.to(v.dtype))


class sums_in_half_precision:
    """both sums are kept in the dtype of q; keep them in float32 until the end"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        new_top = torch.maximum(top, scores.amax(dim=-1))
        shift = _finite(new_top)
        correction = torch.exp(top - shift)
        weights = torch.exp(scores - shift.unsqueeze(-1))
        total = total * correction + weights.sum(dim=-1)
        weighed = weighed * correction.unsqueeze(-1) + weights @ _widen(v)
        return new_top, _widen(total.to(v.dtype)), _widen(weighed.to(v.dtype))


class softmax_in_half_precision:
    """scores are shifted and exponentials taken in the dtype of q; widen the scores first"""

    def _absorb(state, scores, v):
        top, total, weighed = state
        scores = scores.to(v.dtype)
        new_top = torch.maximum(top, _widen(scores.amax(dim=-1)))
        shift = _finite(new_top)
        correction = torch.exp(top - shift)
        weights = _widen(torch.exp(scores - shift.to(v.dtype).unsqueeze(-1)))
        total = total * correction + weights.sum(dim=-1)
        return new_top, total, weighed * correction.unsqueeze(-1) + weights @ _widen(v)


class queries_scaled_in_place:
    """q is scaled in place (q *= …), which changes the caller's tensor; write q = q * …"""

    def _scores(q, k, rows, cols, is_causal):
        if cols.start == 0:
            with torch.no_grad():
                q[:, :, rows].mul_(_scale(q))
        scores = _widen(q[:, :, rows]) @ _widen(k[:, :, cols]).transpose(-2, -1)
        if not is_causal:
            return scores
        return scores.masked_fill(_hidden(rows, cols, _offset(q, k), q.device), -math.inf)


# flash_attention_backward


class delta_left_out:
    """dS is P * dP; subtract delta, the sum of dO * out, from dP"""

    def _delta(grad_out, out):
        return torch.zeros_like(_widen(out[..., :1]))


class delta_added:
    """delta is added to dP; subtract it"""

    def _delta(grad_out, out):
        return -(_widen(grad_out) * _widen(out)).sum(dim=-1, keepdim=True)


class delta_without_out:
    """delta is the sum of dO alone; multiply dO by out before summing"""

    def _delta(grad_out, out):
        return _widen(grad_out).sum(dim=-1, keepdim=True)


class delta_averaged:
    """delta is the mean of dO * out over the features; take the sum"""

    def _delta(grad_out, out):
        return (_widen(grad_out) * _widen(out)).mean(dim=-1, keepdim=True)


class delta_of_the_tile:
    """delta is the sum of P * dP over the keys of one tile; sum over all keys, which gives the sum
    of dO * out"""

    def _grad_scores(weights, grad_out, v, delta):
        grad_weights = grad_out @ v.transpose(-2, -1)
        own = (weights * grad_weights).sum(dim=-1, keepdim=True)
        return weights * (grad_weights - own)


class delta_outside_the_weights:
    """dS is P * dP - delta; it should be P * (dP - delta)"""

    def _grad_scores(weights, grad_out, v, delta):
        return weights * (grad_out @ v.transpose(-2, -1)) - delta


class not_through_the_softmax:
    """dP is taken for dS; go back through the softmax, dS = P * (dP - delta)"""

    def _grad_scores(weights, grad_out, v, delta):
        return grad_out @ v.transpose(-2, -1)


class gradients_not_scaled:
    """dq and dk lack the factor 1 / sqrt(d); the scores were multiplied by it"""

    def _grad_tile(weights, grad_scores, grad, queries, keys):
        dq, dk = grad_scores @ keys, grad_scores.transpose(-2, -1) @ queries
        return dq, dk, weights.transpose(-2, -1) @ grad


class gradients_scaled_twice:
    """dq and dk get the factor 1 / sqrt(d) twice; once for each is enough"""

    def _grad_tile(weights, grad_scores, grad, queries, keys):
        scale = _scale(queries) ** 2
        dq, dk = grad_scores @ keys, grad_scores.transpose(-2, -1) @ queries
        return dq * scale, dk * scale, weights.transpose(-2, -1) @ grad


class gradient_of_q_alone_scaled:
    """dq is scaled by 1 / sqrt(d) and dk is not; both should be"""

    def _grad_tile(weights, grad_scores, grad, queries, keys):
        scale = _scale(queries)
        dq, dk = grad_scores @ keys, grad_scores.transpose(-2, -1) @ queries
        return dq * scale, dk, weights.transpose(-2, -1) @ grad


class gradient_of_k_alone_scaled:
    """dk is scaled by 1 / sqrt(d) and dq is not; both should be"""

    def _grad_tile(weights, grad_scores, grad, queries, keys):
        scale = _scale(queries)
        dq, dk = grad_scores @ keys, grad_scores.transpose(-2, -1) @ queries
        return dq, dk * scale, weights.transpose(-2, -1) @ grad


class gradient_of_v_scaled:
    """dv is scaled by 1 / sqrt(d), too; the scale belongs to dq and dk alone"""

    def _grad_tile(weights, grad_scores, grad, queries, keys):
        scale = _scale(queries)
        dq, dk = grad_scores @ keys, grad_scores.transpose(-2, -1) @ queries
        return dq * scale, dk * scale, weights.transpose(-2, -1) @ grad * scale


class gradient_of_v_through_the_softmax:
    """dv is made of dS; it should be P^T dO"""

    def _grad_tile(weights, grad_scores, grad, queries, keys):
        scale = _scale(queries)
        dq, dk = grad_scores @ keys, grad_scores.transpose(-2, -1) @ queries
        return dq * scale, dk * scale, grad_scores.transpose(-2, -1) @ grad


class gradient_of_q_overwritten:
    """dq is that of the last tile of keys (= for +=); add up all of them"""

    def _add(sums, parts, rows, cols):
        sums[0][:, :, rows] = parts[0]
        sums[1][:, :, cols] += parts[1]
        sums[2][:, :, cols] += parts[2]


class gradients_of_k_and_v_overwritten:
    """dk and dv are those of the last tile of queries (= for +=); add up all of them"""

    def _add(sums, parts, rows, cols):
        sums[0][:, :, rows] += parts[0]
        sums[1][:, :, cols] = parts[1]
        sums[2][:, :, cols] = parts[2]


class gradients_returned_in_another_order:
    """the gradients are returned as (dk, dq, dv); return (dq, dk, dv)"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        sums = [torch.zeros_like(_widen(x)) for x in (q, k, v)]
        delta = _delta(grad_out, out)
        for rows in _tiles(q.shape[2], block_size):
            grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
            for cols in _key_tiles(rows, q, k, is_causal, block_size):
                keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
                weights = _weights_again(q, k, lse, rows, cols, is_causal)
                grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
                _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
        dq, dk, dv = sums
        return dk.to(k.dtype), dq.to(q.dtype), dv.to(v.dtype)


class weights_not_divided:
    """the weights are exp(score - maximum) and not divided; subtract lse, not the maximum"""

    def _weights(scores, lse):
        return torch.exp(scores - _finite(scores.amax(dim=-1, keepdim=True)))


class weights_without_lse:
    """the weights are exp(score), as if lse were 0; subtract lse"""

    def _weights(scores, lse):
        return torch.exp(scores)


class weights_of_the_tile:
    """the weights are a softmax over the tile's keys; use exp(score - lse), over all keys"""

    def _weights(scores, lse):
        top = _finite(scores.amax(dim=-1, keepdim=True))
        weights = torch.exp(scores - top)
        return weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-30)


class weights_of_base_two:
    """the weights are exp2(score - lse); lse is a natural logarithm: take exp"""

    def _weights(scores, lse):
        return torch.exp2(scores - _finite(_widen(lse)).unsqueeze(-1))


class no_key_gives_nan_gradients:
    """where lse is -inf the weights are NaN or inf (-inf - -inf); they should be 0"""

    def _weights(scores, lse):
        return torch.exp(scores - _widen(lse).unsqueeze(-1))


class backward_masked_after_exp:
    """hidden weights are multiplied by 0 after the exponential, and inf * 0 is NaN; fill the hidden
    scores with -inf before it"""

    def _weights_again(q, k, lse, rows, cols, is_causal):
        weights = _weights(_scores(q, k, rows, cols, False), lse[:, :, rows])
        if is_causal:
            weights = weights * ~_hidden(rows, cols, _offset(q, k), q.device)
        return weights


class backward_not_causal:
    """flash_attention_backward ignores is_causal, so that hidden keys get gradients; mask the
    scores as in the forward pass"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        sums = [torch.zeros_like(_widen(x)) for x in (q, k, v)]
        is_causal = False
        delta = _delta(grad_out, out)
        for rows in _tiles(q.shape[2], block_size):
            grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
            for cols in _key_tiles(rows, q, k, is_causal, block_size):
                keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
                weights = _weights_again(q, k, lse, rows, cols, is_causal)
                grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
                _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
        return tuple(x.to(like.dtype) for x, like in zip(sums, (q, k, v), strict=True))


class backward_always_causal:
    """flash_attention_backward hides later keys whatever is_causal says; mask only if it is True"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        sums = [torch.zeros_like(_widen(x)) for x in (q, k, v)]
        is_causal = True
        delta = _delta(grad_out, out)
        for rows in _tiles(q.shape[2], block_size):
            grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
            for cols in _key_tiles(rows, q, k, is_causal, block_size):
                keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
                weights = _weights_again(q, k, lse, rows, cols, is_causal)
                grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
                _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
        return tuple(x.to(like.dtype) for x, like in zip(sums, (q, k, v), strict=True))


class gradients_left_in_float32:
    """the gradients are returned in float32; cast each to the dtype of its argument"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        sums = [torch.zeros_like(_widen(x)) for x in (q, k, v)]
        delta = _delta(grad_out, out)
        for rows in _tiles(q.shape[2], block_size):
            grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
            for cols in _key_tiles(rows, q, k, is_causal, block_size):
                keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
                weights = _weights_again(q, k, lse, rows, cols, is_causal)
                grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
                _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
        return tuple(sums)


class gradients_added_in_half_precision:
    """the tiles' gradients are added up in the dtype of q; add them up in float32 and cast the
    sums"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        sums = tuple(torch.zeros_like(x) for x in (q, k, v))
        delta = _delta(grad_out, out)
        for rows in _tiles(q.shape[2], block_size):
            grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
            for cols in _key_tiles(rows, q, k, is_causal, block_size):
                keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
                weights = _weights_again(q, k, lse, rows, cols, is_causal)
                grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
                _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
        return sums


class backward_matrix_of_all_scores:
    """something of S x T elements is made in the backward pass: the scores, the weights, their
    gradients or a mask; keep one tile at a time"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        sums = [torch.zeros_like(_widen(x)) for x in (q, k, v)]
        block_size = max(q.shape[2], k.shape[2])
        delta = _delta(grad_out, out)
        for rows in _tiles(q.shape[2], block_size):
            grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
            for cols in _key_tiles(rows, q, k, is_causal, block_size):
                keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
                weights = _weights_again(q, k, lse, rows, cols, is_causal)
                grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
                _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
        return tuple(x.to(like.dtype) for x, like in zip(sums, (q, k, v), strict=True))


class backward_hidden_tiles_computed:
    """the backward pass computes tiles in which every key is hidden; skip them, as the forward
    pass does"""

    def flash_attention_backward(grad_out, q, k, v, out, lse, *, is_causal, block_size):
        sums = [torch.zeros_like(_widen(x)) for x in (q, k, v)]
        delta = _delta(grad_out, out)
        for rows in _tiles(q.shape[2], block_size):
            grad, queries = _widen(grad_out[:, :, rows]), _widen(q[:, :, rows])
            for cols in _tiles(k.shape[2], block_size):
                keys, values = _widen(k[:, :, cols]), _widen(v[:, :, cols])
                weights = _weights_again(q, k, lse, rows, cols, is_causal)
                grad_scores = _grad_scores(weights, grad, values, delta[:, :, rows])
                _add(sums, _grad_tile(weights, grad_scores, grad, queries, keys), rows, cols)
        return tuple(x.to(like.dtype) for x, like in zip(sums, (q, k, v), strict=True))
