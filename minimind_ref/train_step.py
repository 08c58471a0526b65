"""One optimizer update from several micro-batches, and an epoch of them: the reference for ex17.

Follows the accumulate, unscale, clip, step, update order of torch's notes on automatic mixed
precision (docs.pytorch.org/docs/stable/notes/amp_examples.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from .optimizer import clip_grad_norm_, get_lr

MicroBatch = Sequence[Tensor]
"""``(input_ids, labels)``."""


@dataclass(frozen=True)
class StepResult:
    """What one update did.

    Attributes:
        loss: mean of ``loss + aux_loss`` over the micro-batches.
        grad_norm: global norm of the gradients, before clipping.
        skipped: whether the scaler withheld the update because a gradient was not finite.
    """

    loss: float
    grad_norm: float
    skipped: bool


def train_step(
    model: torch.nn.Module,
    micro_batches: Sequence[MicroBatch],
    optimizer: torch.optim.Optimizer,
    *,
    lr: float,
    grad_clip: float = 1.0,
    autocast_dtype: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> StepResult:
    """Accumulate the gradients of all micro-batches and update once.

    Args:
        model: called ``model(input_ids, labels=labels)`` for ``.loss`` and ``.aux_loss``.
        micro_batches: at least one; all weigh the same.
        optimizer: every group gets ``lr``; gradients are None afterwards.
        lr: learning rate of this update.
        grad_clip: largest global norm of the unscaled gradients.
        autocast_dtype: run the model under autocast to it; None runs without.
        scaler: scales the loss for backward; None, or a disabled one, leaves it as it is.

    Returns:
        Loss, norm, and whether the update was skipped.
    """
    if scaler is None:
        scaler = torch.amp.GradScaler(enabled=False)
    device = next(model.parameters()).device.type
    total = 0.0
    for input_ids, labels in micro_batches:
        with torch.autocast(device, dtype=autocast_dtype, enabled=autocast_dtype is not None):
            output = model(input_ids, labels=labels)
            loss = (output.loss + output.aux_loss) / len(micro_batches)
        backward: Any = scaler.scale(loss)
        backward.backward()
        total += loss.item()
    for group in optimizer.param_groups:
        group["lr"] = lr
    scaler.unscale_(optimizer)
    norm = clip_grad_norm_(model.parameters(), grad_clip).item()
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    # A scaler lowers its scale exactly when it has withheld a step.
    return StepResult(loss=total, grad_norm=norm, skipped=scaler.get_scale() < scale)


def train_epoch(
    model: torch.nn.Module,
    batches: Iterable[MicroBatch],
    optimizer: torch.optim.Optimizer,
    *,
    lr: float,
    total_steps: int,
    start_step: int = 0,
    accumulation_steps: int = 1,
    grad_clip: float = 1.0,
    autocast_dtype: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> Iterator[StepResult]:
    """Update once per window of micro-batches and yield each result as it comes.

    Args:
        model, optimizer, grad_clip, autocast_dtype, scaler: as for ``train_step``.
        batches: micro-batches, read a window at a time.
        lr: peak of the schedule.
        total_steps: updates in the whole schedule.
        start_step: updates made before this epoch; it shifts the schedule and nothing else.
        accumulation_steps: micro-batches in a window; the last one may be shorter.

    Yields:
        One result after each update.
    """
    stream = iter(batches)
    step = start_step
    while window := list(islice(stream, accumulation_steps)):
        step += 1
        yield train_step(
            model,
            window,
            optimizer,
            lr=get_lr(step, total_steps, lr),
            grad_clip=grad_clip,
            autocast_dtype=autocast_dtype,
            scaler=scaler,
        )
