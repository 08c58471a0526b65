"""ex16: AdamW, gradient clipping and the learning rate schedule.

An optimizer turns gradients into steps. AdamW keeps, for every single weight, a running mean m of
its gradients and a running mean v of their squares, and moves the weight by m over the root of v:
a step of about the learning rate, however large or small that weight's gradients are. With
gradient g, at this parameter's t-th step (t = 1, 2, ...):

    m <- beta1 * m + (1 - beta1) * g              m, v start at 0
    v <- beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)                    without these two divisions the first steps
    v_hat = v / (1 - beta2**t)                    would lean towards the 0 that m, v started at
    p <- p * (1 - lr * weight_decay) - lr * m_hat / (sqrt(v_hat) + eps)

The factor in front of p is the weight decay. It takes the old p, and it stays out of m and v: that
is the W in AdamW.

You write the optimizer, the two groups of parameters it gets (matrices decay, the rest does not),
the clipping that comes before each step, and the schedule of its learning rate. You may not use
torch's own optimizers, other than the base class ``torch.optim.Optimizer``, nor its clipping.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

# BEGIN SOLUTION
# Each step of the formula is a function of its own, and everything changes in place.


def _loss_of(closure: Callable[[], Any] | None) -> Any:
    """Evaluate the closure with gradients on, whatever the mode around us."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _state_of(optimizer: torch.optim.Optimizer, p: torch.Tensor) -> dict[str, Any]:
    """What is kept for one parameter; it lives in ``optimizer.state``, which state dicts save."""
    state = optimizer.state[p]
    if not state:
        state["step"] = 0
        state["exp_avg"] = torch.zeros_like(p)
        state["exp_avg_sq"] = torch.zeros_like(p)
    return state


def _average(state: dict[str, Any], gradient: torch.Tensor, betas: tuple[float, float]) -> None:
    """Count the step and mix the gradient into both running means."""
    state["step"] = int(state["step"]) + 1  # a state dict of torch's AdamW brings a tensor
    state["exp_avg"].mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
    state["exp_avg_sq"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])


def _direction(state: dict[str, Any], betas: tuple[float, float], eps: float) -> torch.Tensor:
    """``m_hat / (sqrt(v_hat) + eps)``: what is subtracted, but for the learning rate."""
    mean = state["exp_avg"] / (1 - betas[0] ** state["step"])
    square = state["exp_avg_sq"] / (1 - betas[1] ** state["step"])
    return mean / (square.sqrt() + eps)


def _update(optimizer: torch.optim.Optimizer, p: torch.Tensor, group: dict[str, Any]) -> None:
    """One step of one parameter, by the settings that its group has now."""
    state = _state_of(optimizer, p)
    _average(state, p.grad, group["betas"])
    p.mul_(1 - group["lr"] * group["weight_decay"])
    p.sub_(_direction(state, group["betas"], group["eps"]), alpha=group["lr"])


# END SOLUTION


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay, by the formula at the top of this file.

    A subclass of ``torch.optim.Optimizer``, which gives you ``param_groups`` (a list of dicts:
    "params" and one entry per setting), ``state`` (a dict from a parameter to whatever you keep
    for it), ``state_dict``, ``load_state_dict`` and ``zero_grad``. Only ``__init__`` and ``step``
    are left to write.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        """Hand the parameters and the default settings to the base class.

        Args:
            params: parameters, or dicts with "params" and settings that differ for them.
            lr: the learning rate.
            betas: how much of m and of v is kept at every step.
            eps: added to the root of v_hat, outside of it.
            weight_decay: a step takes ``lr * weight_decay`` times the old weight off.
        """
        # BEGIN SOLUTION
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        # END SOLUTION

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

        * Settings are those that the parameter's group has at this moment: a schedule changes
          ``group["lr"]`` between steps.
        * A parameter whose ``grad`` is None is left out entirely: no decay, no step counted, m
          and v as they were. So every parameter counts its own steps t.
        * Parameters change in place, so that everything that shares their memory sees it;
          gradients are not changed.
        * m and v have their parameter's shape and dtype. The bias correction is not rounded to it:
          in bfloat16, 0.999 would be 1, and t would not get past 256.
        * m, v and t are kept in ``self.state[p]``: an optimizer that loads this one's
          ``state_dict()`` goes on exactly as this one would. (Any names will do; torch's are
          "step", "exp_avg", "exp_avg_sq".)

        Args:
            closure: computes the loss anew and calls ``backward``. It is called once, before
                anything else, and not under ``no_grad``.

        Returns:
            What the closure returned; None without a closure.
        """
        # BEGIN SOLUTION
        loss = _loss_of(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        _update(self, p, group)
        return loss
        # END SOLUTION


# BEGIN SOLUTION
def _trained(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that learn; ``parameters()`` gives a tied one once."""
    return [p for p in model.parameters() if p.requires_grad]


def _decays(p: torch.nn.Parameter) -> bool:
    """Whether weight decay is for this parameter: for matrices and the like."""
    return p.dim() >= 2


# END SOLUTION


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Make the two groups of parameters that AdamW gets: one decays, one does not.

    Parameters of two or more dimensions decay: projections, and the embedding, too. The rest,
    norm weights and biases, does not. The number of dimensions decides, not the name. Parameters
    that do not require a gradient are left out; one that is tied under two names stands in its
    group once.

    Args:
        model: the model to be trained.
        weight_decay: for the group that decays.

    Returns:
        Two dicts, in any order, each with "params" and "weight_decay", which is 0 in one of them.
    """
    # BEGIN SOLUTION
    decayed = [p for p in _trained(model) if _decays(p)]
    others = [p for p in _trained(model) if not _decays(p)]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # END SOLUTION


# BEGIN SOLUTION
def _gradients(parameters: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The gradients there are, in a list: a generator can be read only once."""
    return [p.grad for p in parameters if p.grad is not None]


def _global_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The root of the sum of all squares, as if all gradients were one vector."""
    total = torch.zeros(())
    for gradient in gradients:
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        total = total.to(wide.device) + wide.square().sum()
    return total.sqrt()


def _factor(norm: torch.Tensor, max_norm: float) -> torch.Tensor:
    """What all gradients are multiplied by: never more than 1."""
    return (max_norm / (norm + 1e-6)).clamp(max=1.0)


# END SOLUTION


def clip_grad_norm_(parameters: Iterable[torch.Tensor], max_norm: float) -> torch.Tensor:
    """Scale all gradients down together, so that their global norm is at most max_norm.

    The global norm is the length of the one long vector that all gradients form together: the
    root of the sum of all their squares. If it is larger than max_norm, every gradient is
    multiplied, in place, by the same ``max_norm / norm``; otherwise none changes. (torch writes
    ``max_norm / (norm + 1e-6)``; both are right.) Gradients may be in half precision, where squares
    of 300 and of 1e-4 do not fit: add squares up in float32 at least.

    Args:
        parameters: any iterable of parameters, a generator such as ``model.parameters()`` too.
            Those without a gradient are skipped.
        max_norm: the largest norm that is left alone.

    Returns:
        The global norm from before clipping, as a 0-dim tensor; 0 if there is no gradient.
    """
    # BEGIN SOLUTION
    gradients = _gradients(parameters)
    norm = _global_norm(gradients)
    factor = _factor(norm, max_norm)
    for gradient in gradients:
        gradient.mul_(factor)
    return norm
    # END SOLUTION


def get_lr(step: int, total_steps: int, lr: float) -> float:
    """The learning rate of a step: a cosine from lr at step 0 to lr / 10 at the last one.

    ``lr * (0.1 + 0.45 * (1 + cos(pi * step / total_steps)))``. (MiniMind's earlier trainers added
    lr / 10 to the whole wave, ``0.5 * lr * (1 + cos(...))``, and so began at 1.1 * lr.)

    Args:
        step: 0 to total_steps.
        total_steps: the number of steps in the whole training.
        lr: the largest learning rate.

    Returns:
        A float.
    """
    # BEGIN SOLUTION
    return lr * (0.1 + 0.45 * (1 + math.cos(math.pi * step / total_steps)))
    # END SOLUTION
