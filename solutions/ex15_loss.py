"""ex15: the loss of a language model, whole and in chunks.

At every position the model scores the whole vocabulary, and the loss asks how much probability it
gave to the token that really came next:

    loss of a token = -log softmax(logits)[next token]

The loss of a batch is the mean over all its tokens that count. Two things make it an exercise.
The logits at position s are about the token at s + 1, so labels and logits are shifted against each
other *here*; callers pass labels as they pass inputs. And some labels do not count (padding, the
question in a chat): they equal ``ignore_index``.

The second function gives the same number without ever having all the logits. With V = 6400 and a
batch of 32 x 512 tokens, they are 420 MB, and autograd keeps a second tensor of that size for the
backward pass. But a token's loss needs its own row only: take a chunk of positions, compute its
logits, add up its losses, forget the logits. The backward pass computes them again, chunk by chunk.

Axes: B batch, S positions, V vocabulary, C hidden size. No function here modifies an argument.
Inputs need not be contiguous.
"""

from typing import Any

import torch
from torch.nn import functional as F

# BEGIN SOLUTION


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _shift(values: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Position s beside the label at s + 1; the last position has none."""
    return values[:, :-1], labels[:, 1:]


def _count(labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """How many labels count; at least 1, so that a batch without any gives 0 / 1."""
    return (labels != ignore_index).sum().clamp(min=1)


def _total(logits: torch.Tensor, labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """The sum of the losses of all tokens that count."""
    return F.cross_entropy(
        _widen(logits).flatten(0, 1),
        labels.flatten(),
        ignore_index=ignore_index,
        reduction="sum",
    )


def _logits(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.linear(hidden, weight)


def _slope(logits: torch.Tensor, labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """The gradient of `_total` in the logits: softmax - 1 at the label, 0 where none counts."""
    ignored = labels == ignore_index
    target = labels.masked_fill(ignored, 0).unsqueeze(-1)
    slope = _widen(logits).softmax(dim=-1)
    slope.scatter_add_(-1, target, slope.new_full(target.shape, -1.0))
    return slope.masked_fill_(ignored.unsqueeze(-1), 0.0)


def _chunks(
    hidden: torch.Tensor, labels: torch.Tensor, chunk_size: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Both in pieces of `chunk_size` positions, the last of what is left."""
    pieces = hidden.split(chunk_size, dim=1), labels.split(chunk_size, dim=1)
    return list(zip(*pieces, strict=True))


class _ChunkedTotal(torch.autograd.Function):
    """`_total` of ``hidden @ weight.T``; keeps its inputs for the backward pass and no logits."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        chunk_size: int,
        ignore_index: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(hidden, weight, labels)
        ctx.chunk_size, ctx.ignore_index = chunk_size, ignore_index
        total = _widen(hidden.new_zeros(()))
        for chunk, wanted in _chunks(hidden, labels, chunk_size):
            total += _total(_logits(chunk, weight), wanted, ignore_index)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, labels = ctx.saved_tensors
        grad_weight = _widen(torch.zeros_like(weight))
        grad_hidden = []
        for chunk, wanted in _chunks(hidden, labels, ctx.chunk_size):
            slope = grad_outputs[0] * _slope(_logits(chunk, weight), wanted, ctx.ignore_index)
            grad_hidden.append(slope.to(weight.dtype) @ weight)
            grad_weight += slope.flatten(0, 1).T @ _widen(chunk).flatten(0, 1)
        return torch.cat(grad_hidden, dim=1), grad_weight.to(weight.dtype), None, None, None


# END SOLUTION


def causal_lm_loss(
    logits: torch.Tensor, labels: torch.Tensor, ignore_index: int = -100
) -> torch.Tensor:
    """The mean loss of all tokens that count.

    The logits at position s are compared with the label at s + 1, in each row. The last logits of a
    row and its first label are not used. A label that equals ``ignore_index`` does not count,
    neither in the sum nor in what it is divided by. All other labels are tokens, 0 .. V - 1.

    The mean is over the tokens of the whole batch: every token weighs the same, whether its row has
    many that count or few. Where none counts (or S is 1), the loss is 0; it can still be used in
    ``backward``, and all gradients are 0.

    Computed in float32 at least, and returned in that dtype. Logits may be large, far beyond what
    ``exp`` can hold.

    Args:
        logits: ``[B, S, V]``.
        labels: ``[B, S]``, integers; not shifted by the caller.
        ignore_index: the label that does not count; it may also be one of 0 .. V - 1.

    Returns:
        A tensor without axes.
    """
    # BEGIN SOLUTION
    logits, labels = _shift(logits, labels)
    return _total(logits, labels, ignore_index) / _count(labels, ignore_index)
    # END SOLUTION


def chunked_causal_lm_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    chunk_size: int,
    ignore_index: int = -100,
) -> torch.Tensor:
    """``causal_lm_loss(hidden @ weight.T, labels)`` without all the logits in memory.

    It has the same value and the same gradients, with respect to ``hidden`` and to ``weight``, also
    where only one of the two is trained. The difference is what lies in memory:

    * No tensor is ever larger than the logits of one chunk, ``B * chunk_size * V`` numbers, neither
      in the forward nor in the backward pass.
    * All that is alive at one time is less than half of all logits, ``B * S * V / 2`` numbers, when
      there are many chunks.
    * Between the forward and the backward pass nothing holds the logits of a chunk, nor their
      softmax. So the backward pass needs them anew, or the forward pass must make the gradients
      already.

    You may cut along S, or along the B * S tokens in a row.

    Losses are computed in float32 at least. The logits of a chunk may be formed in the dtype of
    ``hidden`` and be widened then, or from widened factors.

    Args:
        hidden: ``[B, S, C]``, what the model has before its last matrix.
        weight: ``[V, C]``, that matrix, in the dtype of ``hidden``.
        labels: ``[B, S]``, as above.
        chunk_size: how many positions make a chunk, not how many chunks there are; it need not
            divide S and may be larger.
        ignore_index: as above.

    Returns:
        A tensor without axes, in float32 at least.
    """
    # BEGIN SOLUTION
    hidden, labels = _shift(hidden, labels)
    total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
    return total / _count(labels, ignore_index)
    # END SOLUTION
