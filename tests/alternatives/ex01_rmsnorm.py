"""Right answers to ex01_rmsnorm, written differently: each must pass every test."""

import math

import torch
from torch import nn


class weight_after_the_cast_back:
    """as MiniMind and Llama write it: normalise in float32, cast back, then the weight"""

    class RMSNorm(nn.Module):
        def __init__(self, dim, eps=1e-5):
            super().__init__()
            self.eps = eps
            self.weight = nn.Parameter(torch.ones(dim))

        def _norm(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

        def forward(self, x):
            return (self.weight * self._norm(x.float()).type_as(x)).type_as(x)

    def rms_norm_backward(grad_output, x, weight, eps):
        g, xf, w = grad_output.float(), x.float(), weight.float()
        D = x.shape[-1]
        r = torch.sqrt(xf.pow(2).mean(-1, keepdim=True) + eps)
        dot = (w * g * xf).sum(-1, keepdim=True)
        grad_x = (w * g - xf * dot / (D * r**2)) / r
        grad_weight = g * xf / r
        while grad_weight.dim() > 1:
            grad_weight = grad_weight.sum(0)
        return grad_x.type_as(x), grad_weight.type_as(weight)


class by_the_euclidean_norm:
    """the root mean square is the length over sqrt(D); the weight is rounded to x's dtype"""

    class RMSNorm(nn.Module):
        def __init__(self, dim, eps=1e-5):
            super().__init__()
            self.dim, self.eps = dim, eps
            self.weight = nn.Parameter(torch.empty(dim))
            nn.init.ones_(self.weight)

        def forward(self, x):
            length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
            factor = (length**2 / self.dim + self.eps) ** -0.5
            return (x.float() * factor).to(x.dtype) * self.weight.to(x.dtype)

    def rms_norm_backward(grad_output, x, weight, eps):
        shape, dim = x.shape, x.size(-1)
        g = grad_output.reshape(-1, dim).to(torch.float32)
        rows = x.reshape(-1, dim).to(torch.float32)
        factor = ((rows.norm(dim=1) / math.sqrt(dim)) ** 2 + eps).pow(-0.5)
        grad_weight = torch.einsum("nd,nd,n->d", g, rows, factor)
        scaled = torch.einsum("nd,d->nd", g, weight.to(torch.float32))
        along = torch.einsum("nd,nd->n", scaled, rows) * factor**3 / dim
        grad_x = scaled * factor[:, None] - rows * along[:, None]
        return grad_x.reshape(shape).to(x.dtype), grad_weight.to(weight.dtype)


class autograd_function:
    """the layer uses the gradients by hand, which project each on its vector by a product"""

    class _Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, eps):
            ctx.save_for_backward(x, weight)
            ctx.eps = eps
            wide = x.float()
            root = (torch.sum(wide * wide, dim=-1, keepdim=True) / x.shape[-1] + eps).sqrt()
            return torch.div(wide, root).mul(weight).to(x.dtype)

        @staticmethod
        def backward(ctx, grad_output):
            x, weight = ctx.saved_tensors
            return *rms_norm_backward(grad_output, x, weight, ctx.eps), None

    class RMSNorm(nn.Module):
        def __init__(self, dim, eps=1e-5):
            super().__init__()
            self.register_parameter("weight", nn.Parameter(torch.full((dim,), 1.0)))
            self.variance_epsilon = eps

        def forward(self, x):
            return _Norm.apply(x, self.weight, self.variance_epsilon)

    def rms_norm_backward(grad_output, x, weight, eps):
        wide, grad, w = x.float(), grad_output.float(), weight.float()
        dim = x.shape[-1]
        root = (wide.square().mean(-1, keepdim=True) + eps).sqrt()
        unit = wide / root
        along = torch.matmul((w * grad).unsqueeze(-2), unit.unsqueeze(-1)).squeeze(-1) / dim
        grad_x = (w * grad).sub(unit * along).div(root)
        axes = list(range(x.dim() - 1))
        grad_weight = (grad * unit).sum(axes) if axes else grad * unit
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype)


class in_float64_on_fresh_memory:
    """double precision inside, in place on its own copies, one vector after the other"""

    class RMSNorm(nn.Module):
        def __init__(self, dim, eps=1e-5):
            super().__init__()
            self.register_buffer("_eps", torch.tensor(eps, dtype=torch.float64), persistent=False)
            self.weight = nn.Parameter(torch.zeros(dim) + 1)

        def forward(self, x):
            out = x.to(torch.float64, copy=True)
            out /= (x.double() ** 2).mean(dim=-1, keepdim=True).add_(self._eps).sqrt_()
            out *= self.weight
            return out.to(x.dtype)

    def rms_norm_backward(grad_output, x, weight, eps):
        dim = x.shape[-1]
        grad_x = torch.zeros_like(x)
        grad_weight = torch.zeros(dim, dtype=torch.float64)
        flat_x, flat_g = x.reshape(-1, dim).double(), grad_output.reshape(-1, dim).double()
        rows = []
        for row, g in zip(flat_x, flat_g):
            r = math.sqrt(float(row @ row) / dim + eps)
            wg = g * weight
            rows.append((wg - row * float(wg @ row) / (dim * r * r)) / r)
            grad_weight += g * row / r
        grad_x.copy_(torch.stack(rows).reshape(x.shape))
        return grad_x, grad_weight.to(weight.dtype)
