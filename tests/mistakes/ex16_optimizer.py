"""Wrong answers to ex16_optimizer: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import math

import torch


class eps_inside_the_root:
    """eps is added under the root, √(v̂ + eps); it should be √v̂ + eps"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[0] ** state["step"])
        square = state["exp_avg_sq"] / (1 - betas[1] ** state["step"])
        return mean / (square + eps).sqrt()


class eps_before_the_correction:
    """eps is added to the root of v, and then both are corrected for the bias; add it last"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[0] ** state["step"])
        size = state["exp_avg_sq"].sqrt() + eps
        return mean * (1 - betas[1] ** state["step"]) ** 0.5 / size


class eps_before_the_correction_and_decay_of_the_new_p:
    """eps is added to the root of v before the correction, and p decays after the step; add eps
    last, and decay p before the step"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[0] ** state["step"])
        size = state["exp_avg_sq"].sqrt() + eps
        return mean * (1 - betas[1] ** state["step"]) ** 0.5 / size

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])
        p.mul_(1 - group["lr"] * group["weight_decay"])


class no_eps:
    """eps is not used; add it to the root of v̂"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[0] ** state["step"])
        square = state["exp_avg_sq"] / (1 - betas[1] ** state["step"])
        return mean / square.sqrt()


class no_bias_correction:
    """m and v are used as they are; divide each by its 1 − β^t, since both start at 0"""

    def _direction(state, betas, eps):
        return state["exp_avg"] / (state["exp_avg_sq"].sqrt() + eps)


class only_m_is_corrected:
    """only m is divided by its 1 − β^t; divide v by its own as well, since it starts at 0 too"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[0] ** state["step"])
        return mean / (state["exp_avg_sq"].sqrt() + eps)


class only_v_is_corrected:
    """only v is divided by its 1 − β^t; divide m by its own as well, since it starts at 0 too"""

    def _direction(state, betas, eps):
        square = state["exp_avg_sq"] / (1 - betas[1] ** state["step"])
        return state["exp_avg"] / (square.sqrt() + eps)


class corrected_without_a_power:
    """the bias correction is 1 − β at every step; it should be 1 − β^t"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[0])
        square = state["exp_avg_sq"] / (1 - betas[1])
        return mean / (square.sqrt() + eps)


class steps_counted_from_zero:
    """the first step has t = 0, which divides by 0; count the step before the bias correction"""

    def _average(state, gradient, betas):
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])
        state["step"] += 1


class steps_counted_from_two:
    """the first step has t = 2; it should have t = 1"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        if not state:
            state["step"] = 1
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros_like(p)
        return state


class moments_start_at_the_gradient:
    """m and v start as the first gradient and its square; they should start at 0"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        if not state:
            state["step"] = 0
            state["exp_avg"] = p.grad.clone()
            state["exp_avg_sq"] = p.grad.square()
        return state


class moments_started_anew:
    """m and v are created anew at every step; keep them in self.state"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        state.setdefault("step", 0)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        return state


class gradients_summed:
    """m is β₁·m + g, a sum; it should be β₁·m + (1 − β₁)·g, a mean"""

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].mul_(betas[0]).add_(gradient)
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])


class no_momentum:
    """the gradient itself is divided by √v̂; divide its running mean m̂ instead"""

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].copy_(gradient * (1 - betas[0] ** state["step"]))
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])


class betas_exchanged:
    """the betas are exchanged; use the first for m and the second for v"""

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].mul_(betas[1]).add_(gradient, alpha=1 - betas[1])
        state["exp_avg_sq"].mul_(betas[0]).addcmul_(gradient, gradient, value=1 - betas[0])

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[1] ** state["step"])
        square = state["exp_avg_sq"] / (1 - betas[0] ** state["step"])
        return mean / (square.sqrt() + eps)


class corrections_exchanged:
    """m is divided by 1 − β₂^t and v by 1 − β₁^t; use β₁ for m and β₂ for v"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"] / (1 - betas[1] ** state["step"])
        square = state["exp_avg_sq"] / (1 - betas[0] ** state["step"])
        return mean / (square.sqrt() + eps)


class beta_weights_the_gradient:
    """β weights the new gradient and 1 − β the old value; exchange the two"""

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, betas[0])
        state["exp_avg_sq"].lerp_(gradient.square(), betas[1])


class size_of_the_mean:
    """v is the running mean of m²; it should be that of g²"""

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).add_(state["exp_avg"].square(), alpha=1 - betas[1])


class largest_square:
    """v never falls (that is AMSGrad); it should be the running mean of the squares"""

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        square = state["exp_avg_sq"] * betas[1] + (1 - betas[1]) * gradient.square()
        state["exp_avg_sq"] = torch.maximum(state["exp_avg_sq"], square)


class nesterov:
    """the step looks ahead to the next m (that is NAdam); use m as it is"""

    def _update(optimizer, p, group):
        state, betas = _state_of(optimizer, p), group["betas"]
        _average(state, p.grad, betas)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        ahead = state["exp_avg"] * betas[0] + (1 - betas[0]) * p.grad
        looking_ahead = {**state, "exp_avg": ahead}
        p.sub_(_direction(looking_ahead, betas, group["eps"]), alpha=group["lr"])


class uphill:
    """the step is added; subtract it"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


class decay_through_the_gradient:
    """the decay is added to the gradient (Adam with L2); subtract it from p itself, as AdamW
    does"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad + group["weight_decay"] * p, group["betas"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


class decay_of_the_new_p:
    """p decays after the step; decay it before the step, from its old value"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])
        p.mul_(1 - group["lr"] * group["weight_decay"])


class decay_without_the_learning_rate:
    """p decays by weight_decay alone; multiply that by the learning rate"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p.mul_(1 - group["weight_decay"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


class no_decay:
    """p does not decay; multiply it by 1 − lr · weight_decay"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


class no_decay_by_default:
    """weight_decay is 0 by default, as in Adam; the default should be 0.01, as in AdamW"""

    class AdamW(AdamW):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
            super().__init__(params, lr, betas, eps, weight_decay)


class second_beta_95:
    """β₂ is 0.95 by default, as for many large models; the default should be 0.999, as in torch"""

    class AdamW(AdamW):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=1e-2):
            super().__init__(params, lr, betas, eps, weight_decay)


class larger_default_eps:
    """eps is 1e-6 by default; the default should be 1e-8, as in torch"""

    class AdamW(AdamW):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-2):
            super().__init__(params, lr, betas, eps, weight_decay)


class one_count_for_all:
    """all parameters share one count of steps; each should count those in which it had a
    gradient"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            self.count = getattr(self, "count", 0) + 1
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _state_of(self, p)["step"] = self.count - 1
                            _update(self, p, group)
            return loss

        def load_state_dict(self, state_dict):
            super().load_state_dict(state_dict)
            self.count = max(state["step"] for state in self.state.values())


class one_step_per_parameter:
    """the count of steps goes up once for every parameter; it should go up once for every step"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            self.count = getattr(self, "count", 0)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _state_of(self, p)["step"] = self.count
                            _update(self, p, group)
                            self.count += 1
            return loss

        def load_state_dict(self, state_dict):
            super().load_state_dict(state_dict)
            self.count = max(state["step"] for state in self.state.values())


class skipped_steps_counted:
    """a parameter without a gradient counts the step; leave it out entirely"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _update(self, p, group)
                        else:
                            _state_of(self, p)["step"] += 1
            return loss


class gradients_of_zero_skipped:
    """a gradient of zeros is treated as if it were None, so that the parameter neither decays nor
    moves on; leave out only those whose gradient is None"""

    def _update(optimizer, p, group):
        if not p.grad.any():
            return
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


class no_gradient_is_a_gradient_of_zero:
    """a gradient of None is treated as one of 0, so that the parameter keeps
    moving; leave that parameter out"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        missing = p.grad is None
                        p.grad = torch.zeros_like(p) if missing else p.grad
                        _update(self, p, group)
                        p.grad = None if missing else p.grad
            return loss


class decay_without_a_gradient:
    """a parameter without a gradient still decays; leave it out entirely"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _update(self, p, group)
                        else:
                            p.mul_(1 - group["lr"] * group["weight_decay"])
            return loss


class missing_gradients_not_expected:
    """a gradient of None is used like any other; leave such a parameter out"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        _update(self, p, group)
            return loss


class stops_at_a_missing_gradient:
    """the first parameter without a gradient ends the step; go on with the next one"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is None:
                            return loss
                        _update(self, p, group)
            return loss


class settings_of_the_constructor:
    """the constructor's settings are used; read them from the group at every step"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _update(self, p, self.defaults)
            return loss


class learning_rate_of_the_constructor:
    """the constructor's learning rate is used; read it from the group at every step"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _update(self, p, {**group, "lr": self.defaults["lr"]})
            return loss


class betas_of_the_constructor:
    """the constructor's betas are used; read them from the group at every step"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _update(self, p, {**group, "betas": self.defaults["betas"]})
            return loss


class settings_read_once:
    """a group's settings are read at the first step and kept; read them at every step"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        group = state.setdefault("settings", dict(group))
        _average(state, p.grad, group["betas"])
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


class settings_of_the_first_group:
    """the first group's settings are used for all groups; use each group's own"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _update(self, p, self.param_groups[0])
            return loss


class only_the_first_group:
    """only the parameters of the first group move; go through all groups"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    if p.grad is not None:
                        _update(self, p, self.param_groups[0])
            return loss


class only_the_variable_moves:
    """p = p − … only gives another tensor the name p and leaves the parameter as it
    was; change it in place"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        p = p * (1 - group["lr"] * group["weight_decay"])
        p = p - group["lr"] * _direction(state, group["betas"], group["eps"])


class new_memory:
    """p.data gets new memory at every step; write into the memory it has, since others may share
    it"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        decayed = p.data * (1 - group["lr"] * group["weight_decay"])
        p.data = decayed - group["lr"] * _direction(state, group["betas"], group["eps"])


class gradients_on:
    """the step itself is recorded for the backward pass; run it under no_grad"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            with torch.enable_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            _update(self, p, group)
            return loss


class gradients_left_off:
    """gradients are switched off and never on again; use a with-block for no_grad,
    which ends by itself"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = _loss_of(closure)
            torch.set_grad_enabled(False)
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        _update(self, p, group)
            return loss


class decay_written_into_the_gradient:
    """weight_decay · p is added to p.grad in place, which is Adam with L2 and changes the caller's
    tensor; subtract the decay from p itself"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad.add_(p, alpha=group["weight_decay"]), group["betas"])
        p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


class gradient_is_overwritten:
    """the gradient is squared in place; leave it as it is"""

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).add_(gradient.pow_(2), alpha=1 - betas[1])


class gradients_are_cleared:
    """the step sets the gradients to None; leave that to zero_grad, which the caller calls"""

    class AdamW(AdamW):
        def step(self, closure=None):
            loss = super().step(closure)
            self.zero_grad()
            return loss


class closure_is_not_called:
    """the closure is not called; call it before anything else"""

    def _loss_of(closure):
        return None


class loss_is_not_returned:
    """the closure's loss is not returned; return it"""

    class AdamW(AdamW):
        def step(self, closure=None):
            super().step(closure)


class closure_comes_last:
    """the closure is called after the step; call it first, since the step needs its gradients"""

    class AdamW(AdamW):
        def step(self, closure=None):
            super().step()
            return _loss_of(closure)


class closure_called_twice:
    """the closure is called twice, for its gradients and for its loss; call it once"""

    def _loss_of(closure):
        if closure is None:
            return None
        with torch.enable_grad():
            closure()
            return closure()


class closure_without_gradients:
    """the closure runs under no_grad, where it cannot call backward; call it under enable_grad"""

    def _loss_of(closure):
        if closure is None:
            return None
        with torch.no_grad():
            return closure()


class moments_outside_the_state:
    """m, v and t are attributes of the optimizer, which no state dict contains;
    keep them in self.state"""

    def _state_of(optimizer, p):
        kept = optimizer.__dict__.setdefault("kept", {})
        if p not in kept:
            kept[p] = {
                "step": 0,
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        return kept[p]


class count_rounded_on_loading:
    """t is a tensor that load_state_dict casts to the dtype of p, as it does with all but "step";
    keep an int"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        if not state:
            state["t"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros_like(p)
        return state

    def _average(state, gradient, betas):
        state["t"] += 1
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])

    def _direction(state, betas, eps):
        t = state["t"].item()
        mean = state["exp_avg"] / (1 - betas[0] ** t)
        square = state["exp_avg_sq"] / (1 - betas[1] ** t)
        return mean / (square.sqrt() + eps)


class count_outside_the_state:
    """the count of steps is an attribute of the optimizer, which no state dict
    contains; keep it in self.state"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        counts = optimizer.__dict__.setdefault("counts", {})
        state["step"] = counts.get(p, 0)
        _average(state, p.grad, group["betas"])
        counts[p] = state.pop("step")
        now = {**state, "step": counts[p]}
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(_direction(now, group["betas"], group["eps"]), alpha=group["lr"])


class moments_in_the_default_dtype:
    """m and v come from torch.zeros(p.shape), which ignores the dtype of p; use
    torch.zeros_like(p)"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros(p.shape)
            state["exp_avg_sq"] = torch.zeros(p.shape)
        return state


class moments_in_float32:
    """m and v are float32 whatever their parameter is; they should have its dtype"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(p, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(p, dtype=torch.float32)
        return state

    def _average(state, gradient, betas):
        state["step"] += 1
        gradient = gradient.float()
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])


class moments_at_least_float32:
    """m and v of a bfloat16 parameter are float32; they should have its dtype"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        if not state:
            wide = torch.promote_types(p.dtype, torch.float32)
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(p, dtype=wide)
            state["exp_avg_sq"] = torch.zeros_like(p, dtype=wide)
        return state

    def _average(state, gradient, betas):
        state["step"] += 1
        gradient = gradient.to(state["exp_avg"].dtype)
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])


class step_in_float32:
    """the step is rounded to float32, whatever p is; a float64 parameter should keep all its
    digits"""

    def _direction(state, betas, eps):
        mean = state["exp_avg"].float() / (1 - betas[0] ** state["step"])
        square = state["exp_avg_sq"].float() / (1 - betas[1] ** state["step"])
        return mean / (square.sqrt() + eps)


class corrections_in_the_dtype_of_p:
    """t or a bias correction is a tensor in the dtype of p, where 1 − 0.999^t is rounded and t ends
    at 256; compute both with Python's own numbers"""

    def _state_of(optimizer, p):
        state = optimizer.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=p.dtype)
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros_like(p)
        return state

    def _average(state, gradient, betas):
        state["step"] += 1
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])


class steps_counted_up_to_256:
    """t is kept in the dtype of p, where bfloat16 counts no further than 256; count with an int"""

    def _average(state, gradient, betas):
        counted = torch.as_tensor(state["step"], dtype=gradient.dtype) + 1
        state["step"] = int(counted)
        state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])


class parameter_flattened_by_view:
    """p.view(-1) needs memory without gaps, which a transposed parameter does not have; use p
    as it is"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        flat = p.data.view(-1)
        flat.mul_(1 - group["lr"] * group["weight_decay"])
        direction = _direction(state, group["betas"], group["eps"])
        flat.sub_(direction.reshape(-1), alpha=group["lr"])


class parameter_flattened_by_reshape:
    """p.reshape(-1) is a copy where p is transposed, and only the copy moves; change p itself"""

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        flat = p.data.reshape(-1)
        flat.mul_(1 - group["lr"] * group["weight_decay"])
        direction = _direction(state, group["betas"], group["eps"])
        flat.sub_(direction.reshape(-1), alpha=group["lr"])


class everything_decays:
    """all parameters decay; norm weights, biases and other vectors should not"""

    def _decays(p):
        return True


class nothing_decays:
    """no parameter decays; matrices should"""

    def _decays(p):
        return False


class groups_exchanged:
    """vectors decay and matrices do not; exchange the two groups"""

    def _decays(p):
        return p.dim() < 2


class only_more_than_two_dimensions:
    """only parameters with three or more dimensions decay; those with two should decay as well"""

    def _decays(p):
        return p.dim() > 2


class exactly_two_dimensions:
    """only parameters with exactly two dimensions decay; those with more should decay as well"""

    def _decays(p):
        return p.dim() == 2


class scalars_decay:
    """a parameter without dimensions decays; only those with two or more should"""

    def _decays(p):
        return p.dim() != 1


class decay_by_name:
    """the name decides (norm or bias); the number of dimensions should"""

    def decay_groups(model, weight_decay):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        spared = [p for name, p in named if "norm" in name or "bias" in name]
        decayed = [p for name, p in named if "norm" not in name and "bias" not in name]
        return [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]


class embeddings_do_not_decay:
    """embeddings do not decay; they should, since they are matrices like the others"""

    def decay_groups(model, weight_decay):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        decayed = [p for name, p in named if p.dim() >= 2 and "embed" not in name]
        spared = [p for name, p in named if p.dim() < 2 or "embed" in name]
        return [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]


class decay_by_module_class:
    """the class of the module decides, and an assertion refuses any other class than nn.Linear,
    nn.LayerNorm and nn.Embedding; the number of dimensions should decide"""

    def decay_groups(model, weight_decay):
        decay, no_decay = set(), set()
        for prefix, module in model.named_modules():
            for name, _ in module.named_parameters(recurse=False):
                path = f"{prefix}.{name}" if prefix else name
                if name.endswith("bias"):
                    no_decay.add(path)
                elif isinstance(module, torch.nn.Linear):
                    decay.add(path)
                elif isinstance(module, (torch.nn.LayerNorm, torch.nn.Embedding)):
                    no_decay.add(path)
        params = {name: p for name, p in model.named_parameters() if p.requires_grad}
        assert not params.keys() - (decay | no_decay)
        return [
            {"params": [p for n, p in params.items() if n in decay], "weight_decay": weight_decay},
            {"params": [p for n, p in params.items() if n in no_decay], "weight_decay": 0.0},
        ]


class only_linear_weights_decay:
    """only the weights of nn.Linear decay; the number of dimensions should decide, not the class of
    the module"""

    def decay_groups(model, weight_decay):
        linear = {m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)}
        trained = _trained(model)
        return [
            {"params": [p for p in trained if p in linear], "weight_decay": weight_decay},
            {"params": [p for p in trained if p not in linear], "weight_decay": 0.0},
        ]


class all_but_norm_layers_and_biases_decay:
    """everything decays but biases and the parameters of nn.LayerNorm; the number of dimensions
    should decide, not name or class"""

    def decay_groups(model, weight_decay):
        decayed, spared = [], []
        of_norms = {
            id(p)
            for module in model.modules()
            if isinstance(module, torch.nn.LayerNorm)
            for p in module.parameters()
        }
        for name, p in model.named_parameters():
            if p.requires_grad:
                is_spared = "bias" in name or id(p) in of_norms
                (spared if is_spared else decayed).append(p)
        return [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]


class other_modules_left_out:
    """the class of the module decides, and parameters of any other class than nn.Linear,
    nn.LayerNorm and nn.Embedding are left out; the number of dimensions should decide"""

    def decay_groups(model, weight_decay):
        decayed, spared = {}, {}
        for module in model.modules():
            for name, p in module.named_parameters(recurse=False):
                if not p.requires_grad:
                    continue
                if name.endswith("bias"):
                    spared[p] = None
                elif isinstance(module, torch.nn.Linear):
                    decayed[p] = None
                elif isinstance(module, (torch.nn.LayerNorm, torch.nn.Embedding)):
                    spared[p] = None
        return [
            {"params": list(decayed), "weight_decay": weight_decay},
            {"params": list(spared), "weight_decay": 0.0},
        ]


class frozen_parameters_too:
    """parameters that require no gradient are in the groups; leave them out"""

    def _trained(model):
        return list(model.parameters())


class tied_parameters_twice:
    """a tied parameter is listed under each of its names; list it once, since it is one
    parameter"""

    def _trained(model):
        every = model.named_parameters(remove_duplicate=False)
        return [p for _, p in every if p.requires_grad]


class group_without_its_decay:
    """the group that does not decay does not say weight_decay=0, so that it gets
    the default; write 0.0 there"""

    def decay_groups(model, weight_decay):
        decayed = [p for p in _trained(model) if _decays(p)]
        others = [p for p in _trained(model) if not _decays(p)]
        return [{"params": decayed, "weight_decay": weight_decay}, {"params": others}]


class decay_of_one_tenth:
    """the decay is always 0.1; use the argument weight_decay"""

    def decay_groups(model, weight_decay):
        decayed = [p for p in _trained(model) if _decays(p)]
        others = [p for p in _trained(model) if not _decays(p)]
        return [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]


class one_norm_per_parameter:
    """every gradient is clipped by its own norm; use one factor, from the norm of
    all gradients together"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = _gradients(parameters)
        for gradient in gradients:
            gradient.mul_(_factor(_global_norm([gradient]), max_norm))
        return _global_norm(gradients)


class norms_added:
    """the norms of the gradients are added up; add up their squares and take the root"""

    def _global_norm(gradients):
        return sum((gradient.norm() for gradient in gradients), torch.zeros(()))


class norm_without_a_root:
    """the sum of the squares is used as the norm; take its root"""

    def _global_norm(gradients):
        return sum((gradient.square().sum() for gradient in gradients), torch.zeros(()))


class absolute_values_summed:
    """the norm is the sum of the absolute values; it should be the root of the sum of the
    squares"""

    def _global_norm(gradients):
        return sum((gradient.abs().sum() for gradient in gradients), torch.zeros(()))


class root_mean_square:
    """the norm is the root of the mean square; it should be the root of the sum of the squares"""

    def _global_norm(gradients):
        if not gradients:
            return torch.zeros(())
        return torch.cat([gradient.flatten() for gradient in gradients]).square().mean().sqrt()


class norm_of_the_parameters:
    """the norm is that of the parameters; it should be that of their gradients"""

    def clip_grad_norm_(parameters, max_norm):
        parameters = list(parameters)
        norm = _global_norm([p.detach() for p in parameters if p.grad is not None])
        factor = _factor(norm, max_norm)
        for gradient in _gradients(parameters):
            gradient.mul_(factor)
        return norm


class single_entries_clipped:
    """every entry is clipped to ±max_norm; scale all of them by one factor"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = _gradients(parameters)
        norm = _global_norm(gradients)
        for gradient in gradients:
            gradient.clamp_(-max_norm, max_norm)
        return norm


class small_gradients_scaled_up:
    """gradients are always scaled to max_norm, small ones up; the factor should be at most 1"""

    def _factor(norm, max_norm):
        return max_norm / (norm + 1e-6)


class divided_by_the_norm:
    """large gradients are scaled to a norm of 1; scale them to a norm of max_norm"""

    def _factor(norm, max_norm):
        return torch.where(norm > max_norm, 1 / (norm + 1e-6), torch.ones_like(norm))


class never_clipped:
    """the norm is computed but nothing is scaled; scale the gradients in place"""

    def _factor(norm, max_norm):
        return torch.ones_like(norm)


class norm_after_clipping:
    """the norm after clipping is returned; return the one from before"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = _gradients(parameters)
        factor = _factor(_global_norm(gradients), max_norm)
        for gradient in gradients:
            gradient.mul_(factor)
        return _global_norm(gradients)


class norm_is_a_float:
    """the norm is returned as a Python float; it should be a 0-dim tensor"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = _gradients(parameters)
        norm = _global_norm(gradients)
        for gradient in gradients:
            gradient.mul_(_factor(norm, max_norm))
        return norm.item()


class norm_has_one_dimension:
    """the norm is returned with shape [1]; it should be a 0-dim tensor"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = _gradients(parameters)
        norm = _global_norm(gradients)
        for gradient in gradients:
            gradient.mul_(_factor(norm, max_norm))
        return norm.reshape(1)


class norm_is_not_returned:
    """the norm is not returned; return the one from before clipping"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = _gradients(parameters)
        factor = _factor(_global_norm(gradients), max_norm)
        for gradient in gradients:
            gradient.mul_(factor)


class parameters_read_twice:
    """parameters are read twice, and a generator is empty the second time; make a list first"""

    def clip_grad_norm_(parameters, max_norm):
        norm = _global_norm(_gradients(parameters))
        factor = _factor(norm, max_norm)
        for gradient in _gradients(parameters):
            gradient.mul_(factor)
        return norm


class gradients_replaced:
    """p.grad becomes a new tensor; scale the existing one, in place"""

    def clip_grad_norm_(parameters, max_norm):
        parameters = [p for p in parameters if p.grad is not None]
        norm = _global_norm([p.grad for p in parameters])
        for p in parameters:
            p.grad = p.grad * _factor(norm, max_norm)
        return norm


class parameters_scaled:
    """the parameters are scaled; scale their gradients"""

    def clip_grad_norm_(parameters, max_norm):
        parameters = [p for p in parameters if p.grad is not None]
        norm = _global_norm([p.grad for p in parameters])
        with torch.no_grad():
            for p in parameters:
                p.mul_(_factor(norm, max_norm))
        return norm


class every_gradient_expected:
    """a gradient of None is used like any other; skip such a parameter"""

    def _gradients(parameters):
        return [p.grad.detach() for p in parameters]


class no_gradients_not_expected:
    """torch.stack is called on an empty list, which raises an error; without
    gradients, return a norm of 0"""

    def _global_norm(gradients):
        return torch.stack([gradient.norm() for gradient in gradients]).norm()


class norm_in_float32:
    """the norm is computed in float32; float64 gradients should keep all their digits"""

    def _global_norm(gradients):
        total = torch.zeros((), dtype=torch.float32)
        for gradient in gradients:
            total = total + gradient.float().square().sum()
        return total.sqrt()


class squares_in_half_precision:
    """half precision gradients, or their norms, are squared in their own dtype, where squares
    overflow or vanish; square them in float32 at least"""

    def _global_norm(gradients):
        total = torch.zeros(())
        for gradient in gradients:
            total = total + gradient.square().sum()
        return total.sqrt()


class gradients_flattened_by_view:
    """gradients are flattened by view(-1), which needs memory without gaps; use reshape(-1), or
    each as it is"""

    def _global_norm(gradients):
        total = torch.zeros(())
        for gradient in gradients:
            wide = gradient.view(-1).to(torch.promote_types(gradient.dtype, torch.float32))
            total = total + wide.square().sum()
        return total.sqrt()


class copies_of_gradients_scaled:
    """gradients are flattened by reshape(-1) and scaled there, which is a copy where they are
    transposed; scale the gradients themselves"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = _gradients(parameters)
        norm = _global_norm(gradients)
        for gradient in gradients:
            gradient.reshape(-1).mul_(_factor(norm, max_norm))
        return norm


class no_floor:
    """the learning rate falls to 0; it should fall to lr / 10"""

    def get_lr(step, total_steps, lr):
        return lr * 0.5 * (1 + math.cos(math.pi * step / total_steps))


class floor_on_top:
    """lr / 10 is added to a full-height wave, which then starts at 1.1 · lr;
    multiply the wave by 0.45, not 0.5"""

    def get_lr(step, total_steps, lr):
        return lr / 10 + 0.5 * lr * (1 + math.cos(math.pi * step / total_steps))


class floor_by_maximum:
    """the wave goes to 0 and is cut off at lr / 10; make the wave lower instead, so
    that it ends at lr / 10"""

    def get_lr(step, total_steps, lr):
        return max(0.1 * lr, lr * 0.5 * (1 + math.cos(math.pi * step / total_steps)))


class no_pi:
    """the cosine gets step / total_steps without π, so that the rate falls only part of the way;
    use π · step / total_steps"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 + math.cos(step / total_steps)))


class whole_wave:
    """the cosine gets 2π · step / total_steps, so that it ends at lr again; use π for half a
    wave"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 + math.cos(2 * math.pi * step / total_steps)))


class upwards:
    """the learning rate rises from lr / 10 to lr; it should fall"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 - math.cos(math.pi * step / total_steps)))


class straight_line:
    """the learning rate falls along a straight line; it should follow a cosine"""

    def get_lr(step, total_steps, lr):
        return lr * (1 - 0.9 * step / total_steps)


class one_step_late:
    """the learning rate is that of the step before; use step as it is in the formula"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - 1) / total_steps)))


class one_step_early:
    """the learning rate is that of the next step; use step as it is in the formula"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 + math.cos(math.pi * (step + 1) / total_steps)))


class one_step_short:
    """the wave ends at total_steps − 1; it should end at total_steps"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 + math.cos(math.pi * step / max(1, total_steps - 1))))


class whole_numbers:
    """step // total_steps is used, which is 0 until the end; divide with /"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 + math.cos(math.pi * (step // total_steps))))


class with_a_warm_up:
    """the learning rate warms up over the first tenth; it should start at lr"""

    def get_lr(step, total_steps, lr):
        warm = min(1.0, (step + 1) / (0.1 * total_steps + 1))
        return warm * lr * (0.1 + 0.45 * (1 + math.cos(math.pi * step / total_steps)))
