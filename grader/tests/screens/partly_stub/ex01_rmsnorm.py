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
        return (self.weight * (wide * torch.rsqrt(mean_square + self.eps))).to(x.dtype)


def rms_norm_backward(grad_output, x, weight, eps):
    # your code here
    raise NotImplementedError
