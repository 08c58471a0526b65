"""Root-mean-square normalisation: the reference for ex01.

RMSNorm (Zhang and Sennrich, arXiv 1910.07467) divides every vector by its root mean square and
multiplies feature i by a learned ``weight[i]``. Unlike LayerNorm it neither subtracts the mean nor
adds a bias. Everything is computed in at least float32, and rounded to x's dtype once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Scale the last axis to a root mean square of about 1, then by a weight per feature.

    Args:
        dim: size of the last axis of x.
        eps: added to the mean square, inside the root.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x ``[..., dim]``; shape and dtype are kept."""
        wide = x.to(_working_dtype(x))
        return (wide / _root_mean_square(wide, self.eps) * self.weight).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


def rms_norm_backward(
    grad_output: Tensor, x: Tensor, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Gradients of ``RMSNorm`` with respect to its input and its weight.

    With g = grad_output, D features and r the root of ``mean(x^2) + eps``: y_i = w_i x_i / r, and
    r depends on every x_j by ``dr/dx_j = x_j / (D r)``. Hence

        dx_j = (w_j g_j - x_j * sum_i(w_i g_i x_i) / (D r^2)) / r
        dw_i = sum over all vectors of g_i x_i / r

    Args:
        grad_output: gradient of the output, ``[..., D]``.
        x: the input, ``[..., D]``.
        weight: ``[D]``.
        eps: as in ``RMSNorm``.

    Returns:
        ``(grad_x [..., D], grad_weight [D])``, each in its argument's dtype, computed in at least
        float32.
    """
    dtype = _working_dtype(x)
    wide, grad, w = x.to(dtype), grad_output.to(dtype), weight.to(dtype)
    root = _root_mean_square(wide, eps)
    unit = wide / root
    scaled = w * grad
    grad_x = (scaled - unit * (scaled * unit).mean(-1, keepdim=True)) / root
    grad_weight = (grad * unit).flatten(0, -2).sum(0) if x.dim() > 1 else grad * unit
    return grad_x.to(x.dtype), grad_weight.to(weight.dtype)


def _root_mean_square(wide: Tensor, eps: float) -> Tensor:
    """``sqrt(mean(x^2) + eps)`` of every vector, ``[..., 1]``."""
    return torch.sqrt((wide * wide).mean(-1, keepdim=True) + eps)


def _working_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
