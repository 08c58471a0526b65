"""RMSNorm, right but for one thing."""

import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean_square = wide.pow(2).mean(-1, keepdim=True)
        return (self.weight * (wide * torch.rsqrt(mean_square + self.epsilon))).to(x.dtype)


def rms_norm_backward(grad_output, x, weight, eps):
    kind = torch.promote_types(x.dtype, torch.float32)
    g, wide, w = grad_output.to(kind), x.to(kind), weight.to(kind)
    r = (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    scaled, normed = w * g, wide / r
    grad_x = (scaled - normed * (scaled * normed).mean(-1, keepdim=True)) / r
    grad_weight = (g * normed).flatten(0, -2).sum(0) if x.dim() > 1 else g * normed
    return grad_x.to(x.dtype), grad_weight.to(weight.dtype)
