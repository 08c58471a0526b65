"""Right answers to ex16_optimizer, written differently: each must pass every test."""

import math

import torch


class many_at_once:
    """torch's operations on lists of tensors; groups by a dict; the norm of one long vector"""

    class AdamW(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
            super().__init__(
                params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=False)
            )

        @torch.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                moving = [p for p in group["params"] if p.grad is not None]
                if not moving:
                    continue
                for p in moving:
                    if len(self.state[p]) == 0:
                        self.state[p]["t"] = 0
                        self.state[p]["m"] = torch.zeros_like(p)
                        self.state[p]["v"] = torch.zeros_like(p)
                    self.state[p]["t"] += 1
                beta1, beta2 = group["betas"]
                states = [self.state[p] for p in moving]
                gradients = [p.grad for p in moving]
                means, squares = [s["m"] for s in states], [s["v"] for s in states]
                torch._foreach_lerp_(means, gradients, 1 - beta1)
                torch._foreach_mul_(squares, beta2)
                torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
                sizes = torch._foreach_sqrt(squares)
                torch._foreach_div_(sizes, [(1 - beta2 ** s["t"]) ** 0.5 for s in states])
                torch._foreach_add_(sizes, group["eps"])
                torch._foreach_mul_(moving, 1 - group["lr"] * group["weight_decay"])
                rates = [-group["lr"] / (1 - beta1 ** s["t"]) for s in states]
                torch._foreach_addcdiv_(moving, means, sizes, rates)
            return loss

    def decay_groups(model, weight_decay):
        groups = {True: [], False: []}
        for _, p in model.named_parameters():
            if p.requires_grad:
                groups[p.ndim >= 2].append(p)
        return [
            {"params": groups[False], "weight_decay": 0.0, "name": "rest"},
            {"params": groups[True], "weight_decay": weight_decay, "name": "matrices"},
        ]

    def clip_grad_norm_(parameters, max_norm):
        gradients = [p.grad for p in parameters if p.grad is not None]
        if len(gradients) == 0:
            return torch.tensor(0.0)
        total = torch.linalg.vector_norm(torch.cat([g.reshape(-1) for g in gradients]))
        torch._foreach_mul_(gradients, torch.clamp(max_norm / (total + 1e-6), max=1.0))
        return total


class as_torch_keeps_it:
    """a decorated step, a count of steps in a tensor, bias corrections computed from it"""

    class AdamW(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
            defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
            super(AdamW, self).__init__(params, defaults)

        @torch.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"] = torch.tensor(0.0)
                        state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                        state["exp_avg_sq"] = torch.zeros_like(p)
                    b1, b2 = group["betas"]
                    state["step"] += 1
                    t = state["step"]
                    state["exp_avg"].lerp_(p.grad, 1 - b1)
                    state["exp_avg_sq"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                    root = (state["exp_avg_sq"].sqrt() / (1 - b2**t).sqrt()).add_(group["eps"])
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(state["exp_avg"] / root * (group["lr"] / (1 - b1**t)))
            return loss

    def clip_grad_norm_(parameters, max_norm):
        parameters = [p for p in parameters if p.grad is not None]
        if not parameters:
            return torch.zeros(())
        norms = torch.stack([p.grad.detach().norm(2) for p in parameters])
        total = norms.norm(2)
        if total > max_norm:
            for p in parameters:
                p.grad.detach().mul_(max_norm / total)
        return total

    def get_lr(step, total_steps, lr):
        low = 0.1 * lr
        return low + 0.5 * (lr - low) * (1.0 + math.cos(math.pi * step / total_steps))


class through_data:
    """everything by p.data and p.grad.data, the step computed apart and written at the end"""

    class AdamW(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
            super().__init__(
                params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
            )

        def step(self, closure=None):
            loss = None
            if closure is not None:
                with torch.set_grad_enabled(True):
                    loss = closure()
            for group in self.param_groups:
                lr, (beta1, beta2) = group["lr"], group["betas"]
                for p in filter(lambda p: p.grad is not None, group["params"]):
                    grad = p.grad.data
                    state = self.state[p]
                    t = state.get("t", 0) + 1
                    zero = torch.zeros_like(p.data)
                    m = beta1 * state.get("m", zero) + (1 - beta1) * grad
                    v = beta2 * state.get("v", zero) + (1 - beta2) * grad**2
                    m_hat = m / (1 - math.pow(beta1, t))
                    v_hat = v / (1 - math.pow(beta2, t))
                    move = (
                        m_hat / (torch.sqrt(v_hat) + group["eps"]) + group["weight_decay"] * p.data
                    )
                    p.data.copy_(p.data - lr * move)
                    state.update(m=m, v=v, t=t)
            return loss

    def decay_groups(model, weight_decay):
        seen, decay, no_decay = set(), [], []
        for module in model.modules():
            for p in module._parameters.values():
                if p is None or not p.requires_grad or p in seen:
                    continue
                seen.add(p)
                if len(p.shape) < 2:
                    no_decay.append(p)
                else:
                    decay.append(p)
        return (
            dict(params=no_decay, weight_decay=0),
            dict(params=tuple(decay), weight_decay=weight_decay),
        )

    def clip_grad_norm_(parameters, max_norm):
        total, gradients = 0.0, []
        for p in parameters:
            if p.grad is not None:
                gradients.append(p.grad.data)
                total += float(p.grad.data.double().pow(2).sum())
        total = math.sqrt(total)
        factor = max_norm / (total + 1e-6)
        if factor < 1:
            for g in gradients:
                g *= factor
        return torch.tensor(total)

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.9 * math.cos(math.pi * step / (2 * total_steps)) ** 2)


class both_moments_in_one:
    """m and v as one stacked tensor, the bias corrections folded into the step size and into eps"""

    class AdamW(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
            defaults = {}
            defaults["lr"], defaults["betas"] = lr, betas
            defaults["eps"], defaults["weight_decay"] = eps, weight_decay
            super().__init__(params, defaults)

        def step(self, closure=None):
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            else:
                loss = None
            with torch.inference_mode(False), torch.no_grad():
                for group in self.param_groups:
                    self._step_group(**group)
            return loss

        def _step_group(self, params, lr, betas, eps, weight_decay, **unused):
            for p in params:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "moments" not in state:
                    state["moments"] = p.new_zeros(2, *p.shape)
                    state["powers"] = [1.0, 1.0]
                powers = state["powers"] = [a * b for a, b in zip(state["powers"], betas)]
                for moment, beta, value in zip(state["moments"], betas, (p.grad, p.grad**2)):
                    moment += (1 - beta) * (value - moment)
                root = math.sqrt(1 - powers[1])
                rate = lr * root / (1 - powers[0])
                step = rate * state["moments"][0] / (state["moments"][1] ** 0.5 + eps * root)
                p -= lr * weight_decay * p + step

    def decay_groups(model, weight_decay):
        trained = {p: None for p in model.parameters() if p.requires_grad}
        split = [[p for p in trained if (p.dim() >= 2) is flag] for flag in (True, False)]
        return [
            {"weight_decay": decay, "params": members}
            for decay, members in zip((weight_decay, 0.0), split)
        ]

    def clip_grad_norm_(parameters, max_norm):
        found = [p.grad for p in parameters if p.grad is not None]
        wide = [g.flatten().to(torch.promote_types(g.dtype, torch.float32)) for g in found]
        total = sum((torch.dot(g, g) for g in wide), torch.zeros([])) ** 0.5
        factor = torch.minimum(torch.ones_like(total), max_norm / total)
        with torch.no_grad():
            for g in found:
                g.copy_(g * factor)
        return total

    def get_lr(step, total_steps, lr):
        wave = torch.tensor(math.pi * step / total_steps, dtype=torch.float64).cos().item()
        return 0.55 * lr + 0.45 * lr * wave


class wide_in_between:
    """all arithmetic in float32 at least, and only what is kept is rounded; norms one by one"""

    def _average(state, gradient, betas):
        state["step"] += 1
        wide = torch.promote_types(gradient.dtype, torch.float32)
        gradient = gradient.to(wide)
        mean, square = state["exp_avg"].to(wide), state["exp_avg_sq"].to(wide)
        state["exp_avg"].copy_(betas[0] * mean + (1 - betas[0]) * gradient)
        state["exp_avg_sq"].copy_(betas[1] * square + (1 - betas[1]) * gradient * gradient)

    def _update(optimizer, p, group):
        state = _state_of(optimizer, p)
        _average(state, p.grad, group["betas"])
        wide = torch.promote_types(p.dtype, torch.float32)
        kept = {
            "step": state["step"],
            "exp_avg": state["exp_avg"].to(wide),
            "exp_avg_sq": state["exp_avg_sq"].to(wide),
        }
        direction = _direction(kept, group["betas"], group["eps"])
        decayed = p.to(wide) * (1 - group["lr"] * group["weight_decay"])
        p.copy_(decayed - group["lr"] * direction)

    def _global_norm(gradients):
        if not gradients:
            return torch.zeros(())
        norms = [
            torch.linalg.vector_norm(g, dtype=torch.promote_types(g.dtype, torch.float32))
            for g in gradients
        ]
        return torch.linalg.vector_norm(torch.stack(norms))
