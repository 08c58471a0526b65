"""The loss of a language model, whole and in chunks: the reference for ex15.

The loss is the negative log-likelihood of the next token (Bengio et al. 2003, *A Neural
Probabilistic Language Model*), averaged over the counted tokens of the batch as ``ForCausalLMLoss``
of ``transformers`` does without ``num_items_in_batch``.

The chunked form makes the gradients in the forward pass, where the logits are at hand, as the fused
linear cross-entropy of Liger Kernel does (Hsu et al., arXiv 2410.10989, section 3.2): the loss is a
sum over tokens, so its gradients are known but for one factor, the gradient that comes back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def causal_lm_loss(logits: Tensor, labels: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean of -log p(next token) over the labels that are not `ignore_index`.

    Args:
        logits: ``[B, S, V]``.
        labels: ``[B, S]``, unshifted.
        ignore_index: the label that does not count.

    Returns:
        A 0-dim tensor in at least float32; 0 with zero gradients where nothing counts.
    """
    following, counted = _following(labels, ignore_index)
    return _summed(logits[:, :-1], following, counted) / _divisor(counted)


def chunked_causal_lm_loss(
    hidden: Tensor, weight: Tensor, labels: Tensor, chunk_size: int, ignore_index: int = -100
) -> Tensor:
    """The same of ``hidden @ weight.T``, which is never formed as a whole.

    Args:
        hidden: ``[B, S, C]``.
        weight: ``[V, C]``.
        labels: ``[B, S]``, unshifted.
        chunk_size: positions whose logits are alive at a time.
        ignore_index: the label that does not count.

    Returns:
        A 0-dim tensor in at least float32.
    """
    following, counted = _following(labels, ignore_index)
    summed: Tensor = _ChunkedSum.apply(  # type: ignore[no-untyped-call]
        hidden[:, :-1], weight, following, counted, chunk_size
    )
    return summed / _divisor(counted)


def _following(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The token after each position but the last, and whether it counts; 0 stands where not."""
    following = labels[:, 1:]
    counted = following != ignore_index
    return torch.where(counted, following, 0), counted


def _divisor(counted: Tensor) -> Tensor:
    return counted.sum().clamp(min=1)


def _summed(logits: Tensor, following: Tensor, counted: Tensor) -> Tensor:
    """Sum of log-sum-exp minus the logit of the following token, where it counts."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    chosen = wide.gather(-1, following.unsqueeze(-1)).squeeze(-1)
    losses = torch.logsumexp(wide, dim=-1) - chosen
    return torch.where(counted, losses, 0.0).sum()


class _ChunkedSum(Function):
    """`_summed` of ``hidden @ weight.T``, with both gradients from one walk over the chunks."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, following: Tensor, counted: Tensor, chunk: int
    ) -> Tensor:
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        needed = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        head = weight.detach().to(dtype).requires_grad_(needed)
        grad_hidden, grad_head = [], torch.zeros_like(head, requires_grad=False)
        summed = torch.zeros((), dtype=dtype, device=hidden.device)
        pieces = (torch.split(x, chunk, dim=1) for x in (hidden, following, counted))
        for states, *wanted in zip(*pieces, strict=True):
            with torch.set_grad_enabled(needed):
                wide = states.detach().to(dtype).requires_grad_(needed)
                part = _summed(wide @ head.T, *wanted)
            if needed:
                of_states, of_head = torch.autograd.grad(part, (wide, head))
                grad_hidden.append(of_states)
                grad_head += of_head
            summed += part.detach()
        if needed:
            ctx.save_for_backward(torch.cat(grad_hidden, dim=1), grad_head)
            ctx.dtypes = hidden.dtype, weight.dtype
        return summed

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = (
            (grad_outputs[0] * gradient).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return of_hidden, of_weight, None, None, None
