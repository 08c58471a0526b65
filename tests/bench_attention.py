"""Flash against manual attention: time and peak memory, forward and backward, over the length.

Run by `pytest tests/bench_attention.py --benchmark-only`, with `--device=cuda` on a GPU. The tiled
attention here is the reference's; `pytest tests/test_06_flash_attention.py --benchmark-only` races
yours.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from minimind_ref.flash_attention import flash_attention, flash_attention_backward
from tests.support import time_and_memory

LENGTHS = [128, 256, 512, 1024, 2048, 4096, 8192]


def manual(q, k, v, grad_out):
    """Scores written out, and their gradients by autograd."""

    def attend(q, k, v):
        hidden = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).triu(1)
        scores = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).masked_fill(hidden, -torch.inf)
        return scores.softmax(-1) @ v

    return by_autograd(attend, q, k, v, grad_out)


def fused(q, k, v, grad_out):
    """torch's own kernels."""

    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return by_autograd(attend, q, k, v, grad_out)


def tiled(q, k, v, grad_out):
    """The reference of ex06, block by block."""
    block = min(256, q.shape[2])
    with torch.no_grad():
        out, lse = flash_attention(q, k, v, block_size=block)
        if grad_out is not None:
            flash_attention_backward(grad_out, q, k, v, out, lse, is_causal=True, block_size=block)


def by_autograd(attend, q, k, v, grad_out):
    leaves = [x.detach().requires_grad_(grad_out is not None) for x in (q, k, v)]
    out = attend(*leaves)
    if grad_out is not None:
        torch.autograd.grad(out, leaves, grad_out)


@pytest.mark.parametrize("kind", [manual, tiled, fused], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.timeout(0)
def test_attention(benchmark, device, backward, dtype, tokens, kind):
    q, k, v, grad_out = (torch.randn(1, 2, tokens, 64).to(device, dtype) for _ in range(4))
    arguments = (q, k, v, grad_out if backward else None)
    time_and_memory(
        benchmark,
        lambda: kind(*arguments),
        device,
        backward=backward,
        dtype=dtype,
        tokens=tokens,
        kind=kind.__name__,
    )
