"""ex01: root-mean-square normalisation (RMSNorm).

A deep network multiplies by matrix after matrix, and the size of its vectors drifts: a little too
large in every layer is far too large after thirty. RMSNorm brings each vector back to a known size
before it is used. It divides the vector by the root of the mean of its squares and then lets the
network choose the size of each feature, by one learned weight per feature:

    y = weight * x / sqrt(mean(x^2) + eps)

The mean runs over the last axis, so every vector of D features is treated by itself. Nothing is
subtracted and nothing is added: that is what tells RMSNorm from LayerNorm. A small eps inside the
root keeps a vector of zeros from dividing by zero.

You write the layer, and then its gradients by hand, to see what autograd does for you elsewhere.

Axes: any number of leading axes (often B batch and S positions, sometimes none), and last D
features. No function here modifies an argument. Inputs need not be contiguous.
"""

import torch
from torch import nn

# BEGIN SOLUTION


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _mean_square(wide: torch.Tensor) -> torch.Tensor:
    """Mean of the squares over the last axis: ``[..., D] -> [..., 1]``."""
    return wide.square().mean(dim=-1, keepdim=True)


def _inverse_rms(wide: torch.Tensor, eps: float) -> torch.Tensor:
    """What each vector is multiplied by: ``[..., D] -> [..., 1]``."""
    return torch.rsqrt(_mean_square(wide) + eps)


# END SOLUTION


class RMSNorm(nn.Module):
    """Scale every vector along the last axis to a root mean square near 1, then by the weight.

    ``y = weight * x / sqrt(mean(x^2, over the last axis) + eps)``

    Has one parameter, ``weight``, of shape ``[dim]``, which starts as ones; nothing else appears
    in its state dict.

    Args:
        dim: features per vector (the D above).
        eps: added to the mean of the squares, inside the root.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        # BEGIN SOLUTION
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        # END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x.

        Squares, mean and root are computed in float32 at least, so bfloat16 and float16 are widened
        *before* they are squared: ``x.float()`` does it, and so does
        ``x.to(torch.promote_types(x.dtype, torch.float32))``, which keeps float64 as it is.
        Multiplying by the weight before or after the cast back is both right.

        Args:
            x: ``[..., dim]``, any number of leading axes, also none.

        Returns:
            ``[..., dim]`` in x's dtype, whatever the weight's dtype is. Gradients reach x and the
            weight.
        """
        # BEGIN SOLUTION
        wide = _widen(x)
        return (self.weight * (wide * _inverse_rms(wide, self.eps))).to(x.dtype)
        # END SOLUTION


# BEGIN SOLUTION
def _gradient_of_x(
    scaled: torch.Tensor, normed: torch.Tensor, inverse: torch.Tensor
) -> torch.Tensor:
    """``scaled`` is weight * grad_output, ``normed`` is x / r and ``inverse`` is 1 / r.

    Growing along x itself changes nothing that the norm lets through, so the part of the gradient
    along x is taken out.
    """
    along = (scaled * normed).mean(dim=-1, keepdim=True)
    return (scaled - normed * along) * inverse


def _gradient_of_weight(grad: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
    """Every vector used the one weight, so their gradients add up: ``[..., D] -> [D]``."""
    products = grad * normed
    return products.reshape(-1, products.shape[-1]).sum(dim=0)


# END SOLUTION


def rms_norm_backward(
    grad_output: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of RMSNorm, by hand: what autograd computes for ``RMSNorm.forward``.

    With g = grad_output, w = weight and ``r = sqrt(mean(x^2) + eps)``, one r per vector:

        grad_x      = (w*g - x * sum(w*g*x) / (D * r^2)) / r      the sum runs over the last axis
        grad_weight = sum of g * x / r                            over all leading axes

    The weight stands in both terms of grad_x, in the second one inside the sum only. Computed in
    float32 at least, like the forward pass.

    Args:
        grad_output: gradient of the loss with respect to the output, ``[..., D]``.
        x: the input of the forward pass, ``[..., D]``; any number of leading axes, also none.
        weight: ``[D]``.
        eps: the eps of the forward pass.

    Returns:
        ``(grad_x, grad_weight)``: ``[..., D]`` in x's dtype and ``[D]`` in weight's dtype.
    """
    # BEGIN SOLUTION
    wide, grad = _widen(x), _widen(grad_output)
    inverse = _inverse_rms(wide, eps)
    normed = wide * inverse
    grad_x = _gradient_of_x(_widen(weight) * grad, normed, inverse)
    return grad_x.to(x.dtype), _gradient_of_weight(grad, normed).to(weight.dtype)
    # END SOLUTION
