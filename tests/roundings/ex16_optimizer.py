"""Other correct ways to compute the reference of ex16_optimizer, which round differently."""

import torch


class no_safety_term:
    """clipping divides by the norm itself, without 1e-6"""

    def _factor(norm, max_norm):
        return (max_norm / norm).clamp(max=1.0)


class norms_in_the_gradients_dtype:
    """norms are rounded to the dtype of their gradients, as torch's own clipping does"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return torch.zeros(())
        norms = torch.stack([torch.linalg.vector_norm(g) for g in gradients])
        norm = torch.linalg.vector_norm(norms)
        for gradient in gradients:
            gradient.mul_((1 / norm * max_norm).clamp(max=1.0))
        return norm


class norm_of_one_long_gradient:
    """all gradients are joined first; norm and factor are rounded to their dtype"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return torch.zeros(())
        norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))
        for gradient in gradients:
            gradient.mul_(_factor(norm, max_norm))
        return norm


class steps_in_a_tensor:
    """the step count is a tensor of the default dtype, and so is what is computed from it"""

    def _share(beta, step):
        return float(1 - beta ** torch.tensor(float(step)))


class as_the_formula_is_written:
    """means by sums, both corrected first, decay and step taken off together"""

    class AdamW(AdamW):
        def _move(self, parameter, gradient, group):
            beta1, beta2 = group["betas"]
            state = self.state[parameter]
            step = state["step"] = state.get("step", 0) + 1
            zero = torch.zeros_like(parameter)
            state["m"] = beta1 * state.get("m", zero) + (1 - beta1) * gradient
            state["v"] = beta2 * state.get("v", zero) + (1 - beta2) * gradient * gradient
            mean, square = state["m"] / _share(beta1, step), state["v"] / _share(beta2, step)
            direction = mean / (square.sqrt() + group["eps"])
            parameter -= group["lr"] * (direction + group["weight_decay"] * parameter)


class corrected_by_roots:
    """means move by differences, the root of v is divided by the root of its correction"""

    class AdamW(AdamW):
        def _move(self, parameter, gradient, group):
            beta1, beta2 = group["betas"]
            state = self.state[parameter]
            zero = torch.zeros_like(parameter)
            state["step"] = step = state.get("step", torch.tensor(0.0)) + 1
            mean, square = state.get("m", zero), state.get("v", zero)
            state["m"] = mean + (gradient - mean) * (1 - beta1)
            state["v"] = square + (gradient * gradient - square) * (1 - beta2)
            root = state["v"].sqrt() / (1 - beta2**step).sqrt() + group["eps"]
            decayed = parameter - parameter * (group["lr"] * group["weight_decay"])
            parameter.copy_(decayed - state["m"] / root * (group["lr"] / (1 - beta1**step)))


class rounded_at_every_operation:
    """no operation does two things at once, so that each of them rounds"""

    class AdamW(AdamW):
        def _move(self, parameter, gradient, group):
            beta1, beta2 = group["betas"]
            state = self.state[parameter]
            step = state["step"] = state.get("step", 0) + 1
            zero = torch.zeros_like(parameter)
            state["m"] = state.get("m", zero) * beta1 + gradient * (1 - beta1)
            state["v"] = state.get("v", zero) * beta2 + gradient * gradient * (1 - beta2)
            size = state["v"].sqrt() / _share(beta2, step) ** 0.5 + group["eps"]
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.sub_(state["m"] / size / _share(beta1, step) * group["lr"])


class many_at_once:
    """torch's operations on lists, which round otherwise in half precision"""

    class AdamW(AdamW):
        def _move(self, parameter, gradient, group):
            beta1, beta2 = group["betas"]
            state = self.state[parameter]
            step = state["step"] = state.get("step", 0) + 1
            mean = [state.setdefault("m", torch.zeros_like(parameter))]
            square = [state.setdefault("v", torch.zeros_like(parameter))]
            torch._foreach_lerp_(mean, [gradient], 1 - beta1)
            torch._foreach_mul_(square, beta2)
            torch._foreach_addcmul_(square, [gradient], [gradient], 1 - beta2)
            size = torch._foreach_sqrt(square)
            torch._foreach_div_(size, [_share(beta2, step) ** 0.5])
            torch._foreach_add_(size, group["eps"])
            torch._foreach_mul_([parameter], 1 - group["lr"] * group["weight_decay"])
            torch._foreach_addcdiv_([parameter], mean, size, [-group["lr"] / _share(beta1, step)])
