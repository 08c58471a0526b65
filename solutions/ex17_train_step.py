"""ex17: the training step.

Training repeats one cycle: run the model, get gradients, clip them, let the optimizer move the
weights, clear the gradients. Two things complicate it.

Gradient accumulation. The batch that trains well does not fit into memory, so it comes in parts,
micro-batches. ``backward`` adds to the gradients that are there already; with each part's loss
divided by the number of parts, the sum is the gradient of the mean, and one update follows.

Mixed precision. Under autocast matrix products run in bfloat16 or float16. Small gradients become
0 in float16, so a ``torch.amp.GradScaler`` multiplies the loss by a large scale before backward,
and the gradients come out larger by that factor. They must be divided by it again (``unscale_``)
before anybody looks at their size. A scale that is too large makes gradients infinite; the scaler
then withholds the optimizer's step and lowers the scale.

One update is therefore, in this order: accumulate, unscale, clip, step, update the scale, clear.

You write this update, and the loop over an epoch that collects micro-batches into windows and sets
the learning rate. ``clip_grad_norm_`` and ``get_lr`` are those of ex16.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from .ex16_optimizer import clip_grad_norm_, get_lr

MicroBatch = Sequence[torch.Tensor]
"""Two tensors: ``(input_ids, labels)``."""


@dataclass(frozen=True)
class StepResult:
    """What one update did, as plain Python values.

    Attributes:
        loss: the mean over the micro-batches of ``loss + aux_loss``, in float32 at least; the
            scaler's scale is not in it.
        grad_norm: the global norm of the gradients, after unscaling and before clipping.
        skipped: whether the scaler withheld the update, because a gradient was not finite.
            Without a scaler, or with a disabled one, always False.
    """

    loss: float
    grad_norm: float
    skipped: bool


# BEGIN SOLUTION
def _set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def _autocast(model: torch.nn.Module, dtype: torch.dtype | None) -> Any:
    """Autocast on the model's device, or a context that does nothing."""
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=dtype)


def _objective(model: torch.nn.Module, micro_batch: MicroBatch) -> torch.Tensor:
    """What training makes small: the loss of the tokens and the loss of the routers."""
    input_ids, labels = micro_batch
    output = model(input_ids, labels=labels)
    return output.loss + output.aux_loss


def _backward(loss: torch.Tensor, scaler: torch.amp.GradScaler | None) -> None:
    if scaler is not None:
        loss = scaler.scale(loss)
    loss.backward()


def _accumulate(
    model: torch.nn.Module,
    micro_batches: Sequence[MicroBatch],
    autocast_dtype: torch.dtype | None,
    scaler: torch.amp.GradScaler | None,
) -> float:
    """Add up the gradients of the mean, one micro-batch after the other; returns the mean."""
    total = 0.0
    for micro_batch in micro_batches:
        with _autocast(model, autocast_dtype):
            loss = _objective(model, micro_batch)
        _backward(loss / len(micro_batches), scaler)
        total += loss.item()
    return total / len(micro_batches)


def _clip(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    grad_clip: float,
    scaler: torch.amp.GradScaler | None,
) -> float:
    """Bring the gradients back to their own size, clip them once, return their norm before."""
    if scaler is not None:
        scaler.unscale_(optimizer)
    return clip_grad_norm_(model.parameters(), grad_clip).item()


def _move(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None) -> bool:
    """Step, through the scaler if there is one; returns whether it withheld the step."""
    if scaler is None:
        optimizer.step()
        return False
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    return scaler.get_scale() < scale  # it lowers the scale only where gradients were not finite


# END SOLUTION


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
    """Make one optimizer update from the mean loss of several micro-batches.

    The loss of a micro-batch is ``output.loss + output.aux_loss`` with
    ``output = model(input_ids, labels=labels)``; ``aux_loss`` is always a tensor. What is
    minimised is the plain mean over the micro-batches, each of which counts the same however many
    tokens it has. However many there are: one clip, one optimizer step.

    The learning rate of every parameter group is set to lr. Gradients are None when the function
    is called and None again when it returns, after a withheld step, too. Whether the model is in
    training mode is the caller's business and is left alone. A loss that is NaN or infinite is
    treated like any other: it is reported, and only a scaler withholds an update.

    Args:
        model: the model to train.
        micro_batches: at least one pair ``(input_ids, labels)``.
        optimizer: the optimizer of the model's parameters.
        lr: the learning rate of this update.
        grad_clip: the largest global norm of the gradients.
        autocast_dtype: run the model under ``torch.autocast`` to this dtype, on the device that
            its parameters are on; None: no autocast.
        scaler: a gradient scaler, used as the top of this file says; None: no scaling.

    Returns:
        The result of the update. Where the scaler withheld it, parameters are unchanged.
    """
    # BEGIN SOLUTION
    _set_lr(optimizer, lr)
    loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
    norm = _clip(model, optimizer, grad_clip, scaler)
    skipped = _move(optimizer, scaler)
    optimizer.zero_grad(set_to_none=True)
    return StepResult(loss, norm, skipped)
    # END SOLUTION


# BEGIN SOLUTION
def _windows(batches: Iterable[MicroBatch], size: int) -> Iterator[list[MicroBatch]]:
    """The micro-batches in lists of `size`, read as they are needed; the last may be shorter."""
    stream = iter(batches)
    while window := list(islice(stream, size)):
        yield window


# END SOLUTION


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
    """Train on all micro-batches, one update per window of them: a generator of results.

    Each window of ``accumulation_steps`` micro-batches is given to ``train_step``. What is left
    at the end is a window too: a shorter one, whose mean is over its own length.

    A step is one optimizer update, not one micro-batch. The updates of this call are
    i = 1, 2, ..., and update i uses the learning rate
    ``get_lr(start_step + i, total_steps, lr)``, so that the last update of a training gets a
    tenth of lr. An update that the scaler withheld is an update, too: it has its step in the
    schedule and its result. ``start_step`` says how many updates came before this call. It shifts
    the schedule and does nothing else: no micro-batch is skipped. The model's training mode is
    left alone here as well.

    Args:
        model, optimizer, grad_clip, autocast_dtype, scaler: as in ``train_step``.
        batches: any iterable of micro-batches; a stream without end will do.
        lr: the largest learning rate.
        total_steps: the number of updates in the whole training.
        start_step: the number of updates before this call.
        accumulation_steps: micro-batches per update.

    Yields:
        The result of each update, right after it: the next one begins when its result is asked for.
    """
    # BEGIN SOLUTION
    windows = _windows(batches, accumulation_steps)
    for step, window in enumerate(windows, start=start_step + 1):
        yield train_step(
            model,
            window,
            optimizer,
            lr=get_lr(step, total_steps, lr),
            grad_clip=grad_clip,
            autocast_dtype=autocast_dtype,
            scaler=scaler,
        )
    # END SOLUTION
