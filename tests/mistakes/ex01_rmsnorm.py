"""Wrong answers to ex01_rmsnorm: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring finishes the sentence
"this is exactly what comes out when ...".
"""

import torch
from torch import nn


class eps_outside_the_root:
    """the layer adds eps to the root; add it to the mean square, inside the root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (self.weight * wide / (_mean_square(wide).sqrt() + self.eps)).to(x.dtype)


class eps_outside_the_root_throughout:
    """eps is added to the root, in the layer and in the gradients; it belongs inside the root"""

    def _inverse_rms(wide, eps):
        return 1.0 / (_mean_square(wide).sqrt() + eps)


class eps_always_1e_5:
    """the layer always takes an eps of 1e-5: keep the argument and use it"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, 1e-5)


class eps_always_1e_6:
    """the layer always takes an eps of 1e-6: keep the argument and use it"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, 1e-6)


class eps_defaults_to_1e_6:
    """the default of eps is 1e-6; it is 1e-5 here"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-6):
            super().__init__(dim, eps)


class eps_defaults_to_1e_8:
    """the default of eps is 1e-8; it is 1e-5 here"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-8):
            super().__init__(dim, eps)


class eps_forgotten:
    """the layer leaves eps out, so that a vector of zeros becomes NaN: add it inside the root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (self.weight * wide * torch.rsqrt(_mean_square(wide))).to(x.dtype)


class eps_forgotten_throughout:
    """eps is left out, in the layer and in the gradients: add it to the mean square"""

    def _inverse_rms(wide, eps):
        return torch.rsqrt(_mean_square(wide))


class eps_after_a_root:
    """a root is taken before eps is added, and its slope at zero is infinite: add eps first"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            root = _mean_square(wide).sqrt()
            return (self.weight * wide * torch.rsqrt(root * root + self.eps)).to(x.dtype)


class eps_as_a_lower_limit:
    """eps is a lower limit of the mean square; it is added to it"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(_mean_square(wide).clamp_min(self.eps))
            return (self.weight * wide * inverse).to(x.dtype)


class eps_as_a_lower_limit_of_the_root:
    """eps is a lower limit of the root; it is added to the mean square, inside the root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            root = _mean_square(wide).sqrt().clamp_min(self.eps)
            return (self.weight * wide / root).to(x.dtype)


class eps_inside_the_mean:
    """eps is added before the sum is divided by D; take the mean first, then add eps"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            square = (wide.square().sum(-1, keepdim=True) + self.eps) / x.shape[-1]
            return (self.weight * wide * torch.rsqrt(square)).to(x.dtype)


class eps_squared:
    """eps is squared before it is added to the mean square; add it as it is"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(_mean_square(wide) + self.eps**2)
            return (self.weight * wide * inverse).to(x.dtype)


class sum_instead_of_mean:
    """x is divided by its length: take the mean of the squares, not their sum"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().sum(-1, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class divided_by_one_fewer:
    """the squares are divided by D - 1; their mean divides by D"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            square = wide.square().sum(-1, keepdim=True) / max(x.shape[-1] - 1, 1)
            return (self.weight * wide * torch.rsqrt(square + self.eps)).to(x.dtype)


class mean_subtracted:
    """the mean is subtracted, as in LayerNorm; RMSNorm leaves it in"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            wide = wide - wide.mean(-1, keepdim=True)
            return (self.weight * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class mean_subtracted_from_the_numerator_alone:
    """the mean is subtracted from x and not inside the root; subtract it nowhere"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            centred = wide - wide.mean(-1, keepdim=True)
            return (self.weight * (centred * _inverse_rms(wide, self.eps))).to(x.dtype)


class divided_by_the_standard_deviation:
    """x is divided by its standard deviation, which subtracts the mean; take the mean of x²"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            variance = wide.var(-1, keepdim=True, unbiased=False)
            return (self.weight * wide * torch.rsqrt(variance + self.eps)).to(x.dtype)


class divided_by_the_unbiased_standard_deviation:
    """x is divided by what x.var gives, which subtracts the mean and divides by D - 1; take the
    mean of x²"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            variance = wide.var(-1, keepdim=True)
            return (self.weight * wide * torch.rsqrt(variance + self.eps)).to(x.dtype)


class scaled_to_length_one:
    """x is scaled to length 1, as F.normalize does; here the mean of the squares becomes 1"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return (self.weight * torch.nn.functional.normalize(_widen(x), dim=-1)).to(x.dtype)


class no_root:
    """x is divided by the mean square itself; take its root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (self.weight * wide / (_mean_square(wide) + self.eps)).to(x.dtype)


class multiplied_by_the_root:
    """x is multiplied by the root mean square; divide by it (rsqrt is 1 / sqrt)"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            root = torch.sqrt(_mean_square(wide) + self.eps)
            return (self.weight * wide * root).to(x.dtype)


class mean_of_absolute_values:
    """x is divided by the mean of |x|; take the mean of x², then its root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            size = wide.abs().mean(-1, keepdim=True) + self.eps
            return (self.weight * wide / size).to(x.dtype)


class largest_magnitude:
    """x is divided by its largest |x|; take the root of the mean of x²"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            size = wide.abs().amax(-1, keepdim=True)
            return (self.weight * wide / (size + self.eps)).to(x.dtype)


class square_of_the_mean:
    """the mean is squared; square first, then take the mean"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            square = wide.mean(-1, keepdim=True).square()
            return (self.weight * wide * torch.rsqrt(square + self.eps)).to(x.dtype)


class mean_over_everything:
    """one mean is taken over the whole tensor; each vector has its own, over the last axis"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean() + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class mean_over_the_first_axis:
    """the mean runs over the first axis, the batch; it runs over the last, the features"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(0, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class mean_over_axis_one:
    """the mean runs over axis 1, the positions; it runs over the last axis, the features"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(1, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class mean_over_positions_and_features:
    """one mean is taken over positions and features; each position has its own"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean((-2, -1), keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class axis_of_the_mean_lost:
    """the mean loses its axis and no longer meets x: keepdim=True"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(-1) + self.eps)
            return (self.weight * (wide * inverse)).to(x.dtype)


class axis_two_is_the_last:
    """the mean runs over axis 2, which is the last one only for [B, S, D]: dim=-1"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(2, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class three_axes_expected:
    """the layer takes [B, S, D] alone; there may be any number of leading axes"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            batch, positions, dim = x.shape
            return super().forward(x)


class viewed_without_copy:
    """x.view merges leading axes, which a transposed x does not allow: leave x in its shape"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return super().forward(x.view(-1, x.shape[-1])).view(x.shape)


class squares_before_the_upcast:
    """x is squared before it is widened; widen x to float32 first"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            inverse = torch.rsqrt(_widen(_mean_square(x)) + self.eps)
            return (self.weight * (_widen(x) * inverse)).to(x.dtype)


class not_widened:
    """everything is computed in the dtype of x; widen x to float32 first"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return (self.weight * (x * _inverse_rms(x, self.eps))).to(x.dtype)


class not_widened_throughout:
    """layer and gradients are computed in the dtype of x; widen to float32 first"""

    def _widen(x):
        return x


class precision_ignored:
    """x is squared in its own dtype and the weight decides the result's: widen x, then cast back"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return self.weight * (x * _inverse_rms(x, self.eps))


class precision_ignored_throughout:
    """neither layer nor gradients care for dtypes: widen to float32 first, cast back at the end"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return self.weight * (x * _inverse_rms(x, self.eps))

    def rms_norm_backward(grad_output, x, weight, eps):
        inverse = _inverse_rms(x, eps)
        normed = x * inverse
        grad_x = _gradient_of_x(weight * grad_output, normed, inverse)
        return grad_x, _gradient_of_weight(grad_output, normed)


class bfloat16_not_widened:
    """only float16 is widened; bfloat16 has the range but not the digits: widen both"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            if x.dtype == torch.bfloat16:
                return (self.weight * (x * _inverse_rms(x, self.eps))).to(x.dtype)
            return super().forward(x)


class scale_rounded:
    """1 / sqrt(mean(x²) + eps) is rounded to the dtype of x; multiply in float32 first"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            inverse = _inverse_rms(_widen(x), self.eps).to(x.dtype)
            return (self.weight * (x * inverse)).to(x.dtype)


class no_cast_back:
    """the result stays in float32; cast it back to the dtype of x"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return self.weight * (wide * _inverse_rms(wide, self.eps))


class cast_to_the_dtype_of_the_weight:
    """the result has the dtype of the weight; cast it to the dtype of x"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return super().forward(_widen(x)).to(self.weight.dtype)


class weight_decides_the_dtype:
    """a float32 weight widens what was cast back before it; cast the product back as well"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return self.weight * (wide * _inverse_rms(wide, self.eps)).to(x.dtype)


class weight_forgotten:
    """x is normalised and the weight not used: multiply by it"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (wide * _inverse_rms(wide, self.eps)).to(x.dtype)


class one_plus_weight:
    """the factor is 1 + weight, as in Gemma; here it is the weight, which starts at ones"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return ((1 + self.weight) * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class one_plus_weight_from_zeros:
    """the weight starts at zeros and the factor is 1 + weight; start at ones and multiply by it"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.weight = nn.Parameter(torch.zeros(dim))

        def forward(self, x):
            wide = _widen(x)
            return ((1 + self.weight) * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class weight_added:
    """the weight is added to the normalised vector; multiply by it"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (self.weight + wide * _inverse_rms(wide, self.eps)).to(x.dtype)


class weight_before_the_norm:
    """x is multiplied by the weight before it is normalised; normalise first"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = self.weight * _widen(x)
            return (wide * _inverse_rms(wide, self.eps)).to(x.dtype)


class divided_by_the_weight:
    """the normalised vector is divided by the weight; multiply by it"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (wide * _inverse_rms(wide, self.eps) / self.weight).to(x.dtype)


class one_weight_for_all:
    """there is a single weight; each of the dim features has its own"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.weight = nn.Parameter(torch.ones(1))


class weight_starts_at_zeros:
    """the weight starts at zeros, which lets nothing through; it starts at ones"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.weight = nn.Parameter(torch.zeros(dim))


class weight_starts_at_random:
    """the weight starts at random numbers; it starts at ones"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.weight = nn.Parameter(torch.randn(dim))


class weight_not_trained:
    """the weight is a buffer, which no optimizer sees; make it an nn.Parameter"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            del self.weight
            self.register_buffer("weight", torch.ones(dim))


class weight_called_gamma:
    """the parameter is called gamma; in the state dict of MiniMind it is weight"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            del self.weight
            self.gamma = nn.Parameter(torch.ones(dim))

        def forward(self, x):
            wide = _widen(x)
            return (self.gamma * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class bias_added:
    """there is a bias as well, as in LayerNorm; RMSNorm has a weight alone"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.bias = nn.Parameter(torch.zeros(dim))

        def forward(self, x):
            return super().forward(x) + self.bias.to(x.dtype)


class scale_without_gradient:
    """the root is cut off from the gradient; it depends on x, so let the gradient through"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = _inverse_rms(wide.detach(), self.eps)
            return (self.weight * (wide * inverse)).to(x.dtype)


class weight_without_gradient:
    """weight.data is used, which no gradient reaches; use the weight itself"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (self.weight.data * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class without_gradient:
    """the layer runs under no_grad, so that nothing below it can learn"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)


class x_scaled_in_place:
    """x *= … changes the caller's tensor: x.float() is x itself where x is float32 already"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            wide *= _inverse_rms(wide, self.eps)
            return (self.weight * wide).to(x.dtype)


class x_squared_in_place:
    """x.pow_(2) changes the caller's tensor: square without the underscore"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            inverse = torch.rsqrt(_widen(x).pow_(2).mean(-1, keepdim=True) + self.eps)
            return (self.weight * (_widen(x) * inverse)).to(x.dtype)


# The gradients by hand.


class weight_in_both_terms:
    """the weight multiplies both terms of grad_x; in the second it stands inside the sum only"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad, w = _widen(x), _widen(grad_output), _widen(weight)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        along = (w * grad * normed).mean(-1, keepdim=True)
        grad_x = w * (grad - normed * along) * inverse
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class weight_taken_out_of_the_sum:
    """the weight is taken out of the sum of grad_x; it differs by feature and stays inside"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _widen(weight) * _gradient_of_x(grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class weight_missing_in_the_sum:
    """the sum of grad_x runs over g·x; it runs over w·g·x"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        along = (grad * normed).mean(-1, keepdim=True)
        grad_x = (_widen(weight) * grad - normed * along) * inverse
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class weight_missing_in_grad_x:
    """grad_x is made from grad_output alone; the weight multiplies it first"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class root_treated_as_a_constant:
    """grad_x lacks its second term: the root depends on x too"""

    def _gradient_of_x(scaled, normed, inverse):
        return scaled * inverse


class second_term_added:
    """the second term of grad_x is added; it is subtracted"""

    def _gradient_of_x(scaled, normed, inverse):
        return (scaled + normed * (scaled * normed).mean(-1, keepdim=True)) * inverse


class sum_not_divided_by_dim:
    """the sum of grad_x is not divided by D"""

    def _gradient_of_x(scaled, normed, inverse):
        return (scaled - normed * (scaled * normed).sum(-1, keepdim=True)) * inverse


class second_term_without_r_squared:
    """the second term of grad_x is not divided by r²"""

    def _gradient_of_x(scaled, normed, inverse):
        x = normed / inverse
        return (scaled - x * (scaled * x).mean(-1, keepdim=True)) * inverse


class second_term_divided_by_r:
    """the second term of grad_x is divided by r; it is divided by r²"""

    def _gradient_of_x(scaled, normed, inverse):
        x = normed / inverse
        return (scaled - normed * (scaled * x).mean(-1, keepdim=True)) * inverse


class grad_x_not_divided_by_r:
    """grad_x is not divided by r at the end"""

    def _gradient_of_x(scaled, normed, inverse):
        return scaled - normed * (scaled * normed).mean(-1, keepdim=True)


class only_the_second_term_divided_by_r:
    """only the second term of grad_x is divided by r; both are"""

    def _gradient_of_x(scaled, normed, inverse):
        return scaled - normed * (scaled * normed).mean(-1, keepdim=True) * inverse


class sum_over_all_vectors:
    """the sum of grad_x runs over all vectors; each vector has its own"""

    def _gradient_of_x(scaled, normed, inverse):
        return (scaled - normed * (scaled * normed).mean()) * inverse


class gradient_of_layer_norm:
    """the mean of w·g is subtracted too, as for LayerNorm; RMSNorm subtracts no mean"""

    def _gradient_of_x(scaled, normed, inverse):
        along = (scaled * normed).mean(-1, keepdim=True)
        return (scaled - scaled.mean(-1, keepdim=True) - normed * along) * inverse


class eps_missing_in_the_gradients:
    """the gradients take r without eps: r² = mean(x²) + eps"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = torch.rsqrt(_mean_square(wide))
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class eps_missing_in_r_squared:
    """r² is taken as mean(x²) in the second term of grad_x; eps belongs to it there too"""

    def _gradient_of_x(scaled, normed, inverse):
        x = normed / inverse
        square = _mean_square(x).clamp_min(1e-30)
        return (scaled - x * (scaled * x).mean(-1, keepdim=True) / square) * inverse


class eps_outside_the_root_in_the_gradients:
    """the gradients add eps to the root; r² = mean(x²) + eps"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = 1 / (_mean_square(wide).sqrt() + eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class eps_always_1e_5_in_the_gradients:
    """the gradients always take an eps of 1e-5: use the argument"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, 1e-5)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class grad_weight_not_summed:
    """grad_weight is not summed: one weight served every vector, so add over all leading axes"""

    def _gradient_of_weight(grad, normed):
        return grad * normed


class grad_weight_summed_over_the_batch_alone:
    """grad_weight is summed over the first axis alone; add over all leading axes"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum(0) if grad.dim() > 1 else grad * normed


class grad_weight_summed_over_features:
    """grad_weight is summed over the last axis; add over all the others and keep the last"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum(-1)


class grad_weight_summed_to_one_number:
    """grad_weight is summed over everything; the last axis stays"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum()


class grad_weight_averaged:
    """grad_weight is the mean over the vectors; it is their sum"""

    def _gradient_of_weight(grad, normed):
        products = grad * normed
        return products.reshape(-1, products.shape[-1]).mean(0)


class grad_weight_for_three_axes:
    """grad_weight is summed over axes 0 and 1, which only [B, S, D] has as leading axes"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum((0, 1))


class grad_weight_by_view:
    """x.view merges leading axes, which a transposed x does not allow: reshape copies if it must"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide = _widen(x).view(-1, x.shape[-1])
        grad = _widen(grad_output).view(-1, x.shape[-1])
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse).view(x.shape)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class grad_weight_without_r:
    """grad_weight sums g·x; it sums g·x/r, the normalised x"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        grad_x = _gradient_of_x(_widen(weight) * grad, wide * inverse, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, wide).to(weight.dtype)


class grad_weight_with_the_weight:
    """grad_weight contains the weight; it sums g·x/r, without it"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, scaled = _widen(x), _widen(weight) * _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(scaled, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(scaled, normed).to(weight.dtype)


class grad_weight_without_x:
    """grad_weight sums g alone, as for a bias; it sums g·x/r"""

    def _gradient_of_weight(grad, normed):
        return grad.reshape(-1, grad.shape[-1]).sum(0)


class gradients_swapped:
    """grad_weight is returned first; grad_x comes first"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return _gradient_of_weight(grad, normed).to(weight.dtype), grad_x.to(x.dtype)


class gradients_left_wide:
    """the gradients stay in float32; each has the dtype of its argument"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x, _gradient_of_weight(grad, normed)


class grad_x_left_wide:
    """grad_x stays in float32; cast it back to the dtype of x"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x, _gradient_of_weight(grad, normed).to(weight.dtype)


class grad_weight_left_wide:
    """grad_weight stays in float32; cast it back to the dtype of the weight"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed)


class both_gradients_in_the_dtype_of_x:
    """grad_weight has the dtype of x; it has the dtype of the weight"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(x.dtype)


class gradients_not_widened:
    """the gradients are computed in half precision; widen x, grad_output and weight first"""

    def rms_norm_backward(grad_output, x, weight, eps):
        inverse = _inverse_rms(x, eps)
        normed = x * inverse
        grad_x = _gradient_of_x(weight * grad_output, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad_output, normed).to(weight.dtype)


class precision_ignored_in_the_gradients:
    """the gradients are left in whatever dtype comes out: widen first, then cast each back"""

    def rms_norm_backward(grad_output, x, weight, eps):
        inverse = _inverse_rms(x, eps)
        normed = x * inverse
        grad_x = _gradient_of_x(weight * grad_output, normed, inverse)
        return grad_x, _gradient_of_weight(grad_output, normed)


class x_alone_squared_wide:
    """the root is computed wide and the products in half precision; widen all of them first"""

    def rms_norm_backward(grad_output, x, weight, eps):
        root = 1 / _inverse_rms(_widen(x), eps)
        total = (weight * grad_output * x).sum(-1, keepdim=True)
        along = total / (x.shape[-1] * root * root)
        grad_x = (weight * grad_output - x * along) / root
        return grad_x.to(x.dtype), _gradient_of_weight(grad_output, x / root).to(weight.dtype)


class grad_output_scaled_in_place:
    """grad_output *= weight changes the caller's tensor: make a new one"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_weight = _gradient_of_weight(grad, normed)
        grad *= _widen(weight)
        grad_x = _gradient_of_x(grad, normed, inverse)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype)
