"""Right answers to ex07_feed_forward, written differently: each must pass every test."""

import torch
from torch import nn
from torch.nn import functional as F


class as_minimind_does:
    """layers in MiniMind's order, an activation looked up by name, a dropout of 0"""

    class FeedForward(nn.Module):
        def __init__(self, config, intermediate_size=None):
            super().__init__()
            intermediate_size = intermediate_size or config.intermediate_size
            self.gate_proj = nn.Linear(config.hidden_size, intermediate_size, bias=False)
            self.down_proj = nn.Linear(intermediate_size, config.hidden_size, bias=False)
            self.up_proj = nn.Linear(config.hidden_size, intermediate_size, bias=False)
            self.act_fn = {"silu": nn.SiLU()}[config.hidden_act]
            self.dropout = nn.Dropout(config.dropout)

        def forward(self, x):
            hidden = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
            return self.dropout(self.down_proj(hidden))


class wide_inside:
    """everything in float32 at least, the result cast back"""

    class FeedForward(nn.Module):
        def __init__(self, config, intermediate_size=None):
            super().__init__()
            inner = config.intermediate_size if intermediate_size is None else intermediate_size
            sizes = {"gate": (inner, config.hidden_size), "up": (inner, config.hidden_size)}
            for name, (rows, columns) in (sizes | {"down": (config.hidden_size, inner)}).items():
                self.add_module(f"{name}_proj", nn.Linear(columns, rows, bias=False))
                nn.init.normal_(getattr(self, f"{name}_proj").weight, std=0.02)

        def forward(self, x):
            wide = x.float()
            gate = torch.einsum("...c,ic->...i", wide, self.gate_proj.weight.float())
            up = torch.einsum("...c,ic->...i", wide, self.up_proj.weight.float())
            gated = gate * (1 + torch.tanh(gate / 2)) / 2 * up
            return torch.einsum("...i,ci->...c", gated, self.down_proj.weight.float()).to(x.dtype)


class one_product_for_gate_and_up:
    """both projections in one product, silu in place, rows flattened and put back"""

    class FeedForward(nn.Module):
        def __init__(self, config, intermediate_size=None):
            super().__init__()
            self.inner = intermediate_size or config.intermediate_size
            self.up_proj = nn.Linear(config.hidden_size, self.inner, bias=False)
            self.gate_proj = nn.Linear(config.hidden_size, self.inner, bias=False)
            self.down_proj = nn.Linear(self.inner, config.hidden_size, bias=False)

        def forward(self, x):
            rows = x.reshape(-1, x.shape[-1])
            both = rows @ torch.cat((self.gate_proj.weight, self.up_proj.weight)).T
            gate, up = both.split(self.inner, dim=-1)
            gate = F.silu(gate.clone(), inplace=True)
            return torch.mm(gate * up, self.down_proj.weight.t()).view(x.shape)


class part_by_part:
    """a loop over parts of the inner width, whose shares are summed, and over exp where it cannot
    overflow"""

    class _Matrix(nn.Module):
        def __init__(self, rows, columns):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(rows, columns) / columns**0.5)

    class FeedForward(nn.Module):
        def __init__(self, config, intermediate_size=None):
            super().__init__()
            inner = config.intermediate_size if intermediate_size is None else intermediate_size
            self.gate_proj = _Matrix(inner, config.hidden_size)
            self.up_proj = _Matrix(inner, config.hidden_size)
            self.down_proj = _Matrix(config.hidden_size, inner)

        def _silu(self, gate):
            # exp of minus the absolute value is at most 1.
            small = torch.exp(-gate.abs())
            return gate * torch.where(gate < 0, small, torch.ones_like(small)) / (1 + small)

        def forward(self, x):
            weights = self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight.mT
            out = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
            for gate, up, down in zip(*(weight.split(24) for weight in weights)):
                inner = self._silu(x @ gate.mT) * (x @ up.mT)
                out = out + inner.to(out.dtype) @ down.to(out.dtype)
            return out.to(x.dtype)
