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
    # your code here
    raise NotImplementedError


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
    # your code here
    raise NotImplementedError
