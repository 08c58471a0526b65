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
        # your code here
        raise NotImplementedError

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
        # your code here
        raise NotImplementedError


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
    # your code here
    raise NotImplementedError


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
    # your code here
    raise NotImplementedError


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
    # your code here
    raise NotImplementedError
