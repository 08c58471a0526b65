"""Wrong answers to ex07_feed_forward: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch
from torch import nn
from torch.nn import functional as F


class gate_and_up_swapped:
    """silu is applied to up_proj(x); it should be applied to gate_proj(x)"""

    def _gated(gate, up):
        return gate * _activate(up)


class silu_of_the_product:
    """silu is applied to the product gate · up; apply it to the gate alone, then multiply"""

    def _gated(gate, up):
        return _activate(gate * up)


class silu_of_both:
    """silu is applied to gate_proj(x) and to up_proj(x); it should be applied to the gate alone"""

    def _gated(gate, up):
        return _activate(gate) * _activate(up)


class silu_after_down_proj:
    """silu is applied to the output of down_proj; apply it to the gate, before the product"""

    class FeedForward(FeedForward):
        def forward(self, x):
            return _activate(self.down_proj(self.gate_proj(x) * self.up_proj(x)))


class no_activation:
    """gate and up are multiplied as they are; apply silu to the gate first"""

    def _activate(gate):
        return gate


class gate_forgotten:
    """up_proj(x) goes through silu and nothing gates it; multiply silu(gate_proj(x)) by
    up_proj(x)"""

    def _gated(gate, up):
        return _activate(up)


class up_forgotten:
    """silu(gate_proj(x)) goes to down_proj as it is; multiply it by up_proj(x) first"""

    def _gated(gate, up):
        return _activate(gate)


class gate_and_up_added:
    """silu(gate) and up are added; multiply them"""

    def _gated(gate, up):
        return _activate(gate) + up


class gate_squared:
    """silu(gate) is multiplied by the gate once more; multiply it by up_proj(x), once"""

    def _gated(gate, up):
        return gate * _activate(gate) * up


class one_added_to_up:
    """silu(gate) is multiplied by up + 1, as some other models do; multiply it by up"""

    def _gated(gate, up):
        return _activate(gate) * (up + 1)


class sigmoid_for_silu:
    """the gate goes through a sigmoid; silu(z) should be z · sigmoid(z)"""

    def _activate(gate):
        return gate.sigmoid()


class gelu_for_silu:
    """the gate goes through gelu; use silu, z · sigmoid(z)"""

    def _activate(gate):
        return F.gelu(gate)


class gelu_by_tanh_for_silu:
    """the gate goes through gelu in its approximation by tanh; use silu, z · sigmoid(z)"""

    def _activate(gate):
        return F.gelu(gate, approximate="tanh")


class quick_gelu_for_silu:
    """the gate goes through z · sigmoid(1.702 z), an approximation of gelu; use z · sigmoid(z)"""

    def _activate(gate):
        return gate * torch.sigmoid(1.702 * gate)


class relu_for_silu:
    """the gate goes through relu; use silu, z · sigmoid(z)"""

    def _activate(gate):
        return gate.relu()


class tanh_for_silu:
    """the gate goes through tanh; use silu, z · sigmoid(z)"""

    def _activate(gate):
        return gate.tanh()


class mish_for_silu:
    """the gate goes through mish; use silu, z · sigmoid(z)"""

    def _activate(gate):
        return F.mish(gate)


class hardswish_for_silu:
    """the gate goes through hardswish, an approximation; use silu, z · sigmoid(z)"""

    def _activate(gate):
        return F.hardswish(gate)


class softmax_for_silu:
    """the gates go through a softmax over the features; use silu, each gate for itself"""

    def _activate(gate):
        return gate.softmax(dim=-1)


class sigmoid_of_minus_the_gate:
    """silu is z / (1 + exp(z)), with the wrong sign; it should be z / (1 + exp(-z))"""

    def _activate(gate):
        return gate * torch.sigmoid(-gate)


class exponential_overflows:
    """silu is written z / (1 + exp(-z)), whose gradient is NaN where exp(-z) overflows; use
    F.silu(z) or z * torch.sigmoid(z)"""

    def _activate(gate):
        return gate / (1 + torch.exp(-gate))


class exponential_overflows_above:
    """silu is written z * exp(z) / (1 + exp(z)), which is NaN where exp(z) overflows; use F.silu(z)
    or z * torch.sigmoid(z)"""

    def _activate(gate):
        powers = torch.exp(gate)
        return gate * powers / (1 + powers)


class gate_limited:
    """the gate is clamped to a range around 0 to keep exp from overflowing; use F.silu, which
    needs no limits"""

    def _activate(gate):
        return F.silu(gate.clamp(-20.0, 20.0))


class gate_detached:
    """the gate is detached, so that gate_proj learns nothing; keep it in the graph"""

    def _gated(gate, up):
        return _activate(gate).detach() * up


class with_biases:
    """the three layers have biases; make them with bias=False"""

    class FeedForward(FeedForward):
        def __init__(self, config, intermediate_size=None):
            super().__init__(config, intermediate_size)
            inner = self._inner_size(config, intermediate_size)
            self.gate_proj = nn.Linear(config.hidden_size, inner)
            self.up_proj = nn.Linear(config.hidden_size, inner)
            self.down_proj = nn.Linear(inner, config.hidden_size)


class bias_of_down_proj:
    """down_proj has a bias; none of the three layers should, so make it with bias=False, too"""

    class FeedForward(FeedForward):
        def __init__(self, config, intermediate_size=None):
            super().__init__(config, intermediate_size)
            self.down_proj = nn.Linear(self.down_proj.in_features, config.hidden_size)


class learned_beta:
    """silu is z · sigmoid(beta · z) with a learned beta, one more parameter; there should be none,
    and beta is 1"""

    class FeedForward(FeedForward):
        def __init__(self, config, intermediate_size=None):
            super().__init__(config, intermediate_size)
            self.beta = nn.Parameter(torch.ones(1))

        def forward(self, x):
            gate = self.gate_proj(x)
            return self.down_proj(gate * torch.sigmoid(self.beta * gate) * self.up_proj(x))


class names_of_the_first_llama:
    """the layers are called w1, w2 and w3; their names should be gate_proj, down_proj and
    up_proj"""

    class FeedForward(FeedForward):
        def __init__(self, config, intermediate_size=None):
            super().__init__(config, intermediate_size)
            self.w1, self.w2, self.w3 = self.gate_proj, self.down_proj, self.up_proj
            del self.gate_proj, self.up_proj, self.down_proj

        def forward(self, x):
            return self.w2(_gated(self.w1(x), self.w3(x)))


class gate_and_up_in_one:
    """one layer, gate_up_proj, holds both projections; make gate_proj and up_proj two layers"""

    class FeedForward(FeedForward):
        def __init__(self, config, intermediate_size=None):
            super().__init__(config, intermediate_size)
            inner = self._inner_size(config, intermediate_size)
            self.gate_up_proj = nn.Linear(config.hidden_size, 2 * inner, bias=False)
            del self.gate_proj, self.up_proj

        def forward(self, x):
            return self.down_proj(_gated(*self.gate_up_proj(x).chunk(2, dim=-1)))


class weights_transposed:
    """the weights are [in, out]; they should be [out, in], as those of nn.Linear"""

    class FeedForward(FeedForward):
        def __init__(self, config, intermediate_size=None):
            super().__init__(config, intermediate_size)
            for layer in (self.gate_proj, self.up_proj, self.down_proj):
                layer.weight = nn.Parameter(layer.weight.detach().T.contiguous())

        def forward(self, x):
            gated = _gated(x @ self.gate_proj.weight, x @ self.up_proj.weight)
            return gated @ self.down_proj.weight


class argument_ignored:
    """the argument intermediate_size is ignored; use it unless it is None"""

    class FeedForward(FeedForward):
        def _inner_size(self, config, intermediate_size):
            return config.intermediate_size


class always_four_times_as_wide:
    """the inner size is 4 · hidden_size unless the argument says otherwise; use
    config.intermediate_size"""

    class FeedForward(FeedForward):
        def _inner_size(self, config, intermediate_size):
            return 4 * config.hidden_size if intermediate_size is None else intermediate_size


class width_computed_again:
    """the inner size is pi · hidden_size, rounded up to a multiple of 64, whatever the config says;
    use config.intermediate_size"""

    class FeedForward(FeedForward):
        def _inner_size(self, config, intermediate_size):
            wide = -int(-3.141592653589793 * config.hidden_size // 64) * 64
            return wide if intermediate_size is None else intermediate_size


class two_thirds_of_the_width:
    """the inner size is two thirds of the one that was asked for; intermediate_size is what is
    wanted already, so use it as it is"""

    class FeedForward(FeedForward):
        def _inner_size(self, config, intermediate_size):
            return 2 * super()._inner_size(config, intermediate_size) // 3


class width_of_an_expert:
    """the inner size is config.moe_intermediate_size unless the argument says otherwise; use
    config.intermediate_size"""

    class FeedForward(FeedForward):
        def _inner_size(self, config, intermediate_size):
            return config.moe_intermediate_size if intermediate_size is None else intermediate_size


class width_of_an_expert_with_use_moe:
    """the inner size is config.moe_intermediate_size where use_moe is set; it should be
    config.intermediate_size, since an expert's comes as the argument"""

    class FeedForward(FeedForward):
        def _inner_size(self, config, intermediate_size):
            own = config.moe_intermediate_size if config.use_moe else config.intermediate_size
            return own if intermediate_size is None else intermediate_size


class residual_inside:
    """x is added to the result; leave that to the block (ex10), which would add it twice"""

    class FeedForward(FeedForward):
        def forward(self, x):
            return x + super().forward(x)


class normalised_inside:
    """x is normalised first; leave that to the block (ex10), and use x as it comes"""

    class FeedForward(FeedForward):
        def forward(self, x):
            return super().forward(F.rms_norm(x, x.shape[-1:]))


class dropout_always:
    """a tenth of the numbers is dropped, whatever config.dropout says; drop none where it is 0"""

    class FeedForward(FeedForward):
        def forward(self, x):
            return F.dropout(super().forward(x), 0.1, self.training)


class result_left_wide:
    """the result is left in float32; cast it to the dtype of x"""

    class FeedForward(FeedForward):
        def forward(self, x):
            wide = torch.promote_types(x.dtype, torch.float32)
            return super().forward(x).to(wide)


class axes_flattened:
    """the result has one row per token, [N, C]; give it the shape of x"""

    class FeedForward(FeedForward):
        def forward(self, x):
            return super().forward(x.reshape(-1, x.shape[-1]))


class viewed_without_copy:
    """x.view(-1, C) is used, which fails where x is not contiguous; leave the axes alone, since
    nn.Linear takes any number of them"""

    class FeedForward(FeedForward):
        def forward(self, x):
            return super().forward(x.view(-1, x.shape[-1])).view(x.shape)


class three_axes_taken_for_granted:
    """x is unpacked into three axes, which fails for any other number; use x.shape[-1]"""

    class FeedForward(FeedForward):
        def forward(self, x):
            batch, length, hidden = x.shape
            return super().forward(x).reshape(batch, length, hidden)


class gated_into_the_input:
    """the result is written into x, which the caller still needs; return a new tensor"""

    class FeedForward(FeedForward):
        def forward(self, x):
            result = super().forward(x)
            with torch.no_grad():
                x.copy_(result)
            return result


class result_kept_and_overwritten:
    """without gradients the result is written into a tensor that is kept, so that the next call
    overwrites it; return a new tensor"""

    class FeedForward(FeedForward):
        def forward(self, x):
            result = super().forward(x)
            if torch.is_grad_enabled():
                return result
            kept = self.__dict__.get("_kept")
            if kept is None or kept.shape != result.shape or kept.dtype != result.dtype:
                kept = self.__dict__["_kept"] = torch.empty_like(result)
            return kept.copy_(result)
