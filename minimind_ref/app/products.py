"""Matrix products, by the way that is fastest on the processor at hand.

Processors without instructions for bfloat16 multiply it several times more slowly than float32, and
worst of all in a backward pass. There the operands are rounded to bfloat16 as asked and multiplied
in float32. Native kernels sum up in float32, too, so the result is the same but for the order of
the sum, and only it is rounded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


@cache
def multiplies_bfloat16(device_type: str) -> bool:
    """Whether a kind of device has instructions for products in bfloat16.

    Torch tells it of x86 alone; of other processors it is assumed.
    """
    if device_type != "cpu":
        return True
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # new in torch 2.12
    if capabilities is None:
        return True
    offered = capabilities()
    if offered.get("architecture") != "x86_64":
        return True
    return bool(offered.get("avx512_bf16") or offered.get("amx_bf16"))


def product_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which a product with x is asked for: autocast's, or x's own."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return x.dtype


def working_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype in which operands of another are multiplied."""
    if dtype == torch.bfloat16 and not multiplies_bfloat16(device.type):
        return torch.float32
    return dtype


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x @ weight.T``.

    Args:
        x: ``[..., C]``.
        weight: ``[N, C]``.

    Returns:
        ``[..., N]`` in x's dtype, or in that of autocast.
    """
    dtype = product_dtype(x)
    rows = x.reshape(-1, x.shape[-1])
    # One row reads the weights once, and then fewer bytes are faster.
    if working_dtype(dtype, x.device) == dtype or len(rows) == 1:
        return F.linear(x, weight)
    out: Tensor = _Grouped.apply(rows, (len(rows),), dtype, weight)  # type: ignore[no-untyped-call]
    return out.reshape(*x.shape[:-1], len(weight))


def grouped_linear(x: Tensor, sizes: Sequence[int], weights: Sequence[Tensor]) -> Tensor:
    """Products of consecutive rows with a weight for each group of them.

    Args:
        x: ``[N, C]``, the rows of the first group first.
        sizes: rows of each group; together N.
        weights: ``[M, C]`` for each group. One without rows gets a gradient of zeros.

    Returns:
        ``[N, M]`` in x's dtype, or in that of autocast.
    """
    dtype = product_dtype(x)
    if x.device.type == "cuda" and dtype == torch.bfloat16:
        ends = torch.tensor(sizes, device=x.device).cumsum(0).to(torch.int32)
        stacked = torch.stack([weight.to(dtype) for weight in weights])
        return F.grouped_mm(x.to(dtype), stacked.transpose(1, 2), offs=ends)
    grouped: Tensor = _Grouped.apply(x, tuple(sizes), dtype, *weights)  # type: ignore[no-untyped-call]
    return grouped


class _Grouped(Function):
    """One node of autograd for all groups, whose results are written to their places at once."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, sizes: tuple[int, ...], dtype: torch.dtype, *weights: Tensor
    ) -> Tensor:
        work = working_dtype(dtype, x.device)
        rounded = x.to(dtype)
        rows = rounded.to(work)
        out = rows.new_empty(len(x), weights[0].shape[0])
        with torch.autocast(x.device.type, enabled=False):
            for group, place in _places(sizes):
                torch.mm(rows[place], _rounded(weights[group], dtype, work).t(), out=out[place])
        ctx.save_for_backward(rounded, *weights)
        ctx.settings = sizes, dtype, work, x.dtype
        return out.to(dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        rounded, *weights = ctx.saved_tensors
        sizes, dtype, work, dtype_of_x = ctx.settings
        grad = grad_outputs[0].to(work)
        rows = rounded.to(work)
        grad_x = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        of_weights: list[Tensor | None] = [
            torch.zeros_like(weight) if needed and not size else None
            for weight, needed, size in zip(weights, ctx.needs_input_grad[3:], sizes, strict=True)
        ]
        with torch.autocast(rows.device.type, enabled=False):
            for group, place in _places(sizes):
                weight = weights[group]
                if grad_x is not None:
                    torch.mm(grad[place], _rounded(weight, dtype, work), out=grad_x[place])
                if ctx.needs_input_grad[3 + group]:
                    of_weights[group] = (grad[place].t() @ rows[place]).to(weight.dtype)
        return None if grad_x is None else grad_x.to(dtype_of_x), None, None, *of_weights


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """The groups that have rows, and where these are."""
    start = 0
    for group, size in enumerate(sizes):
        if size:
            yield group, slice(start, start + size)
        start += size


def _rounded(weight: Tensor, dtype: torch.dtype, work: torch.dtype) -> Tensor:
    return weight.to(dtype).to(work)
