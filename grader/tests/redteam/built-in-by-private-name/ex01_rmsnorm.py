"""Calls the built-in as a private function."""

import torch


class RMSNorm(torch.nn.Module):
    """Root-mean-square normalisation by the built-in."""

    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = torch.nn.Parameter(torch.ones(dim))

    def forward(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        weight = self.weight.to(wide.dtype)
        return torch._C._VariableFunctions.rms_norm(wide, weight.shape, weight, self.eps).to(
            x.dtype
        )
