"""Wrong answers to ex01_rmsnorm: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch
from torch import nn


class eps_outside_the_root:
    """the layer adds eps to the root; add it to the mean square, inside the root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (self.weight * wide / (_mean_square(wide).sqrt() + self.eps)).to(x.dtype)


class eps_added_to_the_norm:
    """the layer divides by x.norm() · D^-0.5 + eps, as the paper's own code does; add eps to the
    mean square, inside the root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            root = wide.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5
            return (self.weight * (wide / (root + self.eps))).to(x.dtype)


class eps_outside_the_root_throughout:
    """eps is added to the root, in the layer and in the gradients; add it to the
    mean square, inside the root"""

    def _inverse_rms(wide, eps):
        return 1.0 / (_mean_square(wide).sqrt() + eps)


class eps_always_1e_5:
    """the layer always uses an eps of 1e-5; use the eps that it is given"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, 1e-5)


class eps_always_1e_6:
    """the layer always uses an eps of 1e-6; use the eps that it is given"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, 1e-6)


class eps_defaults_to_1e_6:
    """the default of eps is 1e-6; it should be 1e-5"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-6):
            super().__init__(dim, eps)


class eps_defaults_to_1e_8:
    """the default of eps is 1e-8; it should be 1e-5"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-8):
            super().__init__(dim, eps)


class eps_forgotten:
    """the layer leaves eps out, so that a vector of zeros becomes NaN; add it inside the root"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (self.weight * wide * torch.rsqrt(_mean_square(wide))).to(x.dtype)


class eps_forgotten_throughout:
    """eps is left out, in the layer and in the gradients; add it to the mean square"""

    def _inverse_rms(wide, eps):
        return torch.rsqrt(_mean_square(wide))


class eps_after_a_root:
    """a root is taken before eps is added, and its slope at zero is infinite; add eps first"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            root = _mean_square(wide).sqrt()
            return (self.weight * wide * torch.rsqrt(root * root + self.eps)).to(x.dtype)


class eps_as_a_lower_limit:
    """eps is used as a lower bound on the mean square; add it to the mean square instead"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(_mean_square(wide).clamp_min(self.eps))
            return (self.weight * wide * inverse).to(x.dtype)


class eps_as_a_lower_limit_of_the_root:
    """eps is used as a lower bound on the root; add it to the mean square instead, inside the
    root"""

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
    """eps is squared before it is added to the mean square; add eps itself"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(_mean_square(wide) + self.eps**2)
            return (self.weight * wide * inverse).to(x.dtype)


class sum_instead_of_mean:
    """x is divided by its length; take the mean of the squares, not their sum"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().sum(-1, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class divided_by_one_fewer:
    """the sum of the squares is divided by D - 1; divide it by D"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            square = wide.square().sum(-1, keepdim=True) / max(x.shape[-1] - 1, 1)
            return (self.weight * wide * torch.rsqrt(square + self.eps)).to(x.dtype)


class mean_subtracted:
    """the mean is subtracted, as in LayerNorm; RMSNorm should not subtract it"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            wide = wide - wide.mean(-1, keepdim=True)
            return (self.weight * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class mean_subtracted_from_the_numerator_alone:
    """the mean is subtracted from x but not inside the root; do not subtract it at all"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            centred = wide - wide.mean(-1, keepdim=True)
            return (self.weight * (centred * _inverse_rms(wide, self.eps))).to(x.dtype)


class divided_by_the_standard_deviation:
    """x is divided by its standard deviation, which subtracts the mean; use the mean of x²"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            variance = wide.var(-1, keepdim=True, unbiased=False)
            return (self.weight * wide * torch.rsqrt(variance + self.eps)).to(x.dtype)


class divided_by_the_unbiased_standard_deviation:
    """x is divided by the root of x.var(), which subtracts the mean and divides by
    D - 1; use the mean of x²"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            variance = wide.var(-1, keepdim=True)
            return (self.weight * wide * torch.rsqrt(variance + self.eps)).to(x.dtype)


class scaled_to_length_one:
    """x is scaled to length 1, as F.normalize does; scale it so that the mean of its squares is
    1"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return (self.weight * torch.nn.functional.normalize(_widen(x), dim=-1)).to(x.dtype)


class no_root:
    """x is divided by the mean square itself; divide by its root"""

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
    """x is divided by the mean of |x|; divide by the root of the mean of x²"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            size = wide.abs().mean(-1, keepdim=True) + self.eps
            return (self.weight * wide / size).to(x.dtype)


class largest_magnitude:
    """x is divided by its largest |x|; divide by the root of the mean of x²"""

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
    """one mean is taken over the whole tensor; take one for each vector, over the last axis"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean() + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class mean_over_the_first_axis:
    """the mean runs over the first axis, the batch; it should run over the last one, the
    features"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(0, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class mean_over_axis_one:
    """the mean runs over axis 1, the positions; it should run over the last axis, the features"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(1, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class mean_over_positions_and_features:
    """one mean is taken over positions and features together; each position should have its own"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean((-2, -1), keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class axis_of_the_mean_lost:
    """the mean loses its axis and no longer lines up with x; use keepdim=True"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(-1) + self.eps)
            return (self.weight * (wide * inverse)).to(x.dtype)


class axis_two_is_the_last:
    """the mean runs over axis 2, which is the last one only for [B, S, D]; use dim=-1"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            inverse = torch.rsqrt(wide.square().mean(2, keepdim=True) + self.eps)
            return (self.weight * wide * inverse).to(x.dtype)


class three_axes_expected:
    """the layer accepts only [B, S, D]; it should accept any number of leading axes"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            batch, positions, dim = x.shape
            return super().forward(x)


class viewed_without_copy:
    """x.view merges the leading axes, which fails for a transposed x; leave x in its shape"""

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
    """layer and gradients are computed in the dtype of x; widen x to float32 first"""

    def _widen(x):
        return x


class precision_ignored:
    """x is squared in its own dtype and the weight decides the dtype of the result; widen x first
    and cast back at the end"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return self.weight * (x * _inverse_rms(x, self.eps))


class precision_ignored_throughout:
    """neither the layer nor the gradients take care of dtypes; widen to float32
    first and cast back at the end"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            return self.weight * (x * _inverse_rms(x, self.eps))

    def rms_norm_backward(grad_output, x, weight, eps):
        inverse = _inverse_rms(x, eps)
        normed = x * inverse
        grad_x = _gradient_of_x(weight * grad_output, normed, inverse)
        return grad_x, _gradient_of_weight(grad_output, normed)


class bfloat16_not_widened:
    """only float16 is widened; widen bfloat16 too: it has the range, but not the digits"""

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


class cast_to_the_dtype_of_the_weight_first:
    """the normalised x is cast to the dtype of the weight before it is multiplied by it, which
    costs a wider x its digits; multiply in float32 and cast the product"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            normed = (wide * _inverse_rms(wide, self.eps)).to(self.weight.dtype)
            return (self.weight * normed).to(x.dtype)


class gradients_in_the_dtype_of_the_weight:
    """the gradients are computed in the dtype of the weight, which costs a wider x its digits;
    widen weight, x and gradient to float32 at least"""

    def rms_norm_backward(grad_output, x, weight, eps):
        dtype = weight.dtype if x.dtype.itemsize > weight.dtype.itemsize else x.dtype
        wide, grad = _widen(x.to(dtype)), _widen(grad_output.to(dtype))
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class weight_decides_the_dtype:
    """x is cast back before it is multiplied by a float32 weight, which widens it again; cast the
    product back as well"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return self.weight * (wide * _inverse_rms(wide, self.eps)).to(x.dtype)


class weight_forgotten:
    """x is normalised but not multiplied by the weight; multiply it by the weight"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return (wide * _inverse_rms(wide, self.eps)).to(x.dtype)


class one_plus_weight:
    """the factor is 1 + weight, as in Gemma; it should be the weight itself, which starts at
    ones"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            return ((1 + self.weight) * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class one_plus_weight_from_zeros:
    """the weight starts at zeros and the factor is 1 + weight; start at ones and
    multiply by the weight"""

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
    """there is a single weight for all features; each of the dim features should have its own"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.weight = nn.Parameter(torch.ones(1))


class weight_starts_at_zeros:
    """the weight starts at zeros, so that every output is 0; start at ones"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.weight = nn.Parameter(torch.zeros(dim))


class weight_starts_at_random:
    """the weight starts at random numbers; start at ones"""

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
    """the parameter is called gamma; call it weight, as in MiniMind's state dict"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            del self.weight
            self.gamma = nn.Parameter(torch.ones(dim))

        def forward(self, x):
            wide = _widen(x)
            return (self.gamma * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)


class bias_added:
    """there is a bias as well, as in LayerNorm; RMSNorm should have only a weight"""

    class RMSNorm(RMSNorm):
        def __init__(self, dim, eps=1e-5):
            super().__init__(dim, eps)
            self.bias = nn.Parameter(torch.zeros(dim))

        def forward(self, x):
            return super().forward(x) + self.bias.to(x.dtype)


class scale_without_gradient:
    """the root is detached; let the gradient through, since the root depends on x"""

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
    """the layer runs under no_grad, so that nothing below it can learn; leave gradients on"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)


class x_scaled_in_place:
    """x *= … changes the caller's tensor (where x is float32, x.float() is x
    itself); make a new tensor"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            wide = _widen(x)
            wide *= _inverse_rms(wide, self.eps)
            return (self.weight * wide).to(x.dtype)


class x_squared_in_place:
    """x.pow_(2) changes the caller's tensor; use x.pow(2), without the underscore"""

    class RMSNorm(RMSNorm):
        def forward(self, x):
            inverse = torch.rsqrt(_widen(x).pow_(2).mean(-1, keepdim=True) + self.eps)
            return (self.weight * (_widen(x) * inverse)).to(x.dtype)


# The gradients by hand.


class weight_in_both_terms:
    """the weight multiplies both terms of grad_x; in the second term, use it only inside the sum"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad, w = _widen(x), _widen(grad_output), _widen(weight)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        along = (w * grad * normed).mean(-1, keepdim=True)
        grad_x = w * (grad - normed * along) * inverse
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class weight_taken_out_of_the_sum:
    """the weight is taken out of the sum in grad_x; keep it inside, since each feature has its
    own"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _widen(weight) * _gradient_of_x(grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class weight_missing_in_the_sum:
    """the sum in grad_x runs over g·x; it should run over w·g·x"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        along = (grad * normed).mean(-1, keepdim=True)
        grad_x = (_widen(weight) * grad - normed * along) * inverse
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class weight_missing_in_grad_x:
    """grad_x is computed from grad_output alone; multiply grad_output by the weight first"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class root_treated_as_a_constant:
    """grad_x lacks its second term; subtract it, since the root depends on x too"""

    def _gradient_of_x(scaled, normed, inverse):
        return scaled * inverse


class second_term_added:
    """the second term of grad_x is added; subtract it"""

    def _gradient_of_x(scaled, normed, inverse):
        return (scaled + normed * (scaled * normed).mean(-1, keepdim=True)) * inverse


class sum_not_divided_by_dim:
    """the sum in grad_x is not divided by D; divide it by D"""

    def _gradient_of_x(scaled, normed, inverse):
        return (scaled - normed * (scaled * normed).sum(-1, keepdim=True)) * inverse


class second_term_without_r_squared:
    """the second term of grad_x is not divided by r²; divide it by r²"""

    def _gradient_of_x(scaled, normed, inverse):
        x = normed / inverse
        return (scaled - x * (scaled * x).mean(-1, keepdim=True)) * inverse


class second_term_divided_by_r:
    """the second term of grad_x is divided by r; divide it by r²"""

    def _gradient_of_x(scaled, normed, inverse):
        x = normed / inverse
        return (scaled - normed * (scaled * x).mean(-1, keepdim=True)) * inverse


class grad_x_not_divided_by_r:
    """grad_x is not divided by r at the end; divide the whole difference by r"""

    def _gradient_of_x(scaled, normed, inverse):
        return scaled - normed * (scaled * normed).mean(-1, keepdim=True)


class only_the_second_term_divided_by_r:
    """only the second term of grad_x is divided by r; divide the whole difference by r"""

    def _gradient_of_x(scaled, normed, inverse):
        return scaled - normed * (scaled * normed).mean(-1, keepdim=True) * inverse


class sum_over_all_vectors:
    """the sum in grad_x runs over all vectors; each vector should have its own sum"""

    def _gradient_of_x(scaled, normed, inverse):
        return (scaled - normed * (scaled * normed).mean()) * inverse


class gradient_of_layer_norm:
    """the mean of w·g is subtracted too, as for LayerNorm; leave that term out"""

    def _gradient_of_x(scaled, normed, inverse):
        along = (scaled * normed).mean(-1, keepdim=True)
        return (scaled - scaled.mean(-1, keepdim=True) - normed * along) * inverse


class eps_missing_in_the_gradients:
    """the gradients use r without eps; r² should be mean(x²) + eps"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = torch.rsqrt(_mean_square(wide))
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class eps_missing_in_r_squared:
    """the second term of grad_x uses mean(x²) as r²; add eps there too"""

    def _gradient_of_x(scaled, normed, inverse):
        x = normed / inverse
        square = _mean_square(x).clamp_min(1e-30)
        return (scaled - x * (scaled * x).mean(-1, keepdim=True) / square) * inverse


class eps_outside_the_root_in_the_gradients:
    """the gradients add eps to the root; r² should be mean(x²) + eps"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = 1 / (_mean_square(wide).sqrt() + eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class eps_always_1e_5_in_the_gradients:
    """the gradients always use an eps of 1e-5; use the argument eps"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, 1e-5)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class grad_weight_not_summed:
    """grad_weight is not summed; sum over all leading axes, since one weight served every vector"""

    def _gradient_of_weight(grad, normed):
        return grad * normed


class grad_weight_summed_over_the_batch_alone:
    """grad_weight is summed over the first axis only; sum over all leading axes"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum(0) if grad.dim() > 1 else grad * normed


class grad_weight_summed_over_features:
    """grad_weight is summed over the last axis; sum over all the others and keep the last"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum(-1)


class grad_weight_summed_to_one_number:
    """grad_weight is summed over everything; keep the last axis"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum()


class grad_weight_averaged:
    """grad_weight is the mean over the vectors; it should be their sum"""

    def _gradient_of_weight(grad, normed):
        products = grad * normed
        return products.reshape(-1, products.shape[-1]).mean(0)


class grad_weight_for_three_axes:
    """grad_weight is summed over axes 0 and 1, which are all the leading axes only for [B, S, D];
    sum over every axis but the last"""

    def _gradient_of_weight(grad, normed):
        return (grad * normed).sum((0, 1))


class grad_weight_by_view:
    """x.view merges the leading axes, which fails for a transposed x; use reshape,
    which copies if it must"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide = _widen(x).view(-1, x.shape[-1])
        grad = _widen(grad_output).view(-1, x.shape[-1])
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse).view(x.shape)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)


class grad_weight_without_r:
    """grad_weight sums g·x; it should sum g·x/r, with the normalised x"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        grad_x = _gradient_of_x(_widen(weight) * grad, wide * inverse, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(grad, wide).to(weight.dtype)


class grad_weight_with_the_weight:
    """grad_weight contains the weight; it should sum g·x/r, without the weight"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, scaled = _widen(x), _widen(weight) * _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(scaled, normed, inverse)
        return grad_x.to(x.dtype), _gradient_of_weight(scaled, normed).to(weight.dtype)


class grad_weight_without_x:
    """grad_weight sums g alone, as for a bias; it should sum g·x/r"""

    def _gradient_of_weight(grad, normed):
        return grad.reshape(-1, grad.shape[-1]).sum(0)


class gradients_swapped:
    """grad_weight is returned first; return grad_x first"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
        return _gradient_of_weight(grad, normed).to(weight.dtype), grad_x.to(x.dtype)


class gradients_left_wide:
    """the gradients stay in float32; cast each one to the dtype of its argument"""

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
    """grad_weight has the dtype of x; it should have the dtype of the weight"""

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
    """the gradients take no care of dtypes; widen first, then cast each one back"""

    def rms_norm_backward(grad_output, x, weight, eps):
        inverse = _inverse_rms(x, eps)
        normed = x * inverse
        grad_x = _gradient_of_x(weight * grad_output, normed, inverse)
        return grad_x, _gradient_of_weight(grad_output, normed)


class x_alone_squared_wide:
    """the root is computed in float32 but the products in half precision; widen x,
    grad_output and weight first"""

    def rms_norm_backward(grad_output, x, weight, eps):
        root = 1 / _inverse_rms(_widen(x), eps)
        total = (weight * grad_output * x).sum(-1, keepdim=True)
        along = total / (x.shape[-1] * root * root)
        grad_x = (weight * grad_output - x * along) / root
        return grad_x.to(x.dtype), _gradient_of_weight(grad_output, x / root).to(weight.dtype)


class grad_output_scaled_in_place:
    """grad_output *= weight changes the caller's tensor; make a new one"""

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad = _widen(x), _widen(grad_output)
        inverse = _inverse_rms(wide, eps)
        normed = wide * inverse
        grad_weight = _gradient_of_weight(grad, normed)
        grad *= _widen(weight)
        grad_x = _gradient_of_x(grad, normed, inverse)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype)
