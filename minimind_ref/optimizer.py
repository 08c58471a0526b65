"""AdamW, parameter groups, gradient clipping and the schedule: the reference for ex16.

AdamW (Loshchilov and Hutter, arXiv 1711.05101) is Adam (Kingma and Ba, arXiv 1412.6980) with the
weight decay taken out of the gradient, where dividing by the gradients' size would undo it. The
names of its state are those of ``torch.optim.AdamW``: the two can read each other's state dicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class AdamW(Optimizer):
    """Adam with decoupled weight decay.

    Args:
        params: parameters, or dicts of them with settings of their own.
        lr: learning rate.
        betas: how much of the mean and of the mean square is kept at every step.
        eps: added to the root of the mean square.
        weight_decay: times the learning rate, the fraction of a weight that a step takes off.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, settings)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and the gradients anew; called first, with gradients on.

        Returns:
            What the closure returned; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state = self.state[parameter]
        if not state:
            state.update(
                step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter)
            )
        # Plain torch keeps a tensor here; int() takes what a state dict of its own brings along.
        state["step"] = step = int(state["step"]) + 1
        mean: Tensor = state["exp_avg"].lerp_(gradient, 1 - beta1)
        square: Tensor = state["exp_avg_sq"].lerp_(gradient.square(), 1 - beta2)
        size = (square / _share(beta2, step)).sqrt_().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, size, value=-group["lr"] / _share(beta1, step))


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trained parameters into matrices, which decay, and the rest, which do not.

    Args:
        model: tied parameters count once and frozen ones not at all.
        weight_decay: for parameters of at least two dimensions.

    Returns:
        Two groups for an optimizer: ``{"params": [...], "weight_decay": ...}``.
    """
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (decayed if parameter.dim() > 1 else kept).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Shrink all gradients by one factor, in place, so that their joint norm is at most max_norm.

    Args:
        parameters: read once; those without a gradient do not count.
        max_norm: gradients of a smaller norm stay as they are.

    Returns:
        The norm before clipping, a 0-dim tensor of at least float32; 0 where there is no gradient.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    wide = [g.to(torch.promote_types(g.dtype, torch.float32)) for g in gradients]
    norm: Tensor = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(g) for g in wide])
    )
    factor = _factor(norm, max_norm)
    with torch.no_grad():
        for gradient in gradients:
            gradient.mul_(factor)
    return norm


def get_lr(step: int, total_steps: int, lr: float) -> float:
    """The learning rate of a step: half a cosine wave from lr down to a tenth of it.

    Args:
        step: the update, 0 to total_steps.
        total_steps: where the wave ends.
        lr: the peak.

    Returns:
        ``lr`` at step 0, ``0.55 * lr`` half-way, ``0.1 * lr`` at the end.
    """
    return lr * (0.55 + 0.45 * math.cos(math.pi * step / total_steps))


def _share(beta: float, step: int) -> float:
    """How much of a running mean that began at 0 is the data's; the rest is still that 0."""
    return float(1 - beta**step)


def _factor(norm: Tensor, max_norm: float) -> Tensor:
    return (max_norm / (norm + 1e-6)).clamp(max=1.0)
