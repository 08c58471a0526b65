"""Right answers to ex17_train_step, written differently: each must pass every test."""

import itertools
import math
from typing import NamedTuple

import torch


class one_backward:
    """one backward of the mean of all losses; a named tuple; torch's own clipping"""

    class StepResult(NamedTuple):
        loss: float
        grad_norm: float
        skipped: bool

    def train_step(
        model, micro_batches, optimizer, *, lr, grad_clip=1.0, autocast_dtype=None, scaler=None
    ):
        for group in optimizer.param_groups:
            group.update(lr=lr)
        device = next(iter(model.parameters())).device
        losses = []
        for input_ids, labels in micro_batches:
            enabled = autocast_dtype is not None
            with torch.amp.autocast(device.type, dtype=autocast_dtype, enabled=enabled):
                output = model(input_ids, labels=labels)
                losses.append(output.loss + output.aux_loss)
        loss = torch.stack(losses).mean()
        if scaler:
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
        else:
            loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip))
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        model.zero_grad()
        skipped = scaler is not None and scaler.is_enabled() and not math.isfinite(norm)
        return StepResult(loss=float(loss), grad_norm=norm, skipped=skipped)

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        window, update = [], 0
        for batch in batches:
            window.append(batch)
            if len(window) < accumulation_steps:
                continue
            update += 1
            rate = get_lr(start_step + update, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)
            window = []
        if window:
            rate = get_lr(start_step + update + 1, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class divided_at_the_end:
    """gradients are summed and divided afterwards; everything but the step under autocast"""

    def train_step(
        model, micro_batches, optimizer, *, lr, grad_clip=1.0, autocast_dtype=None, scaler=None
    ):
        scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        parameters = [p for p in model.parameters() if p.requires_grad]
        count, total = len(micro_batches), 0.0
        device = parameters[0].device.type
        with torch.autocast(device, dtype=autocast_dtype, enabled=bool(autocast_dtype)):
            for batch in micro_batches:
                output = model(batch[0], labels=batch[1])
                objective = torch.add(output.loss, output.aux_loss)
                total += objective.detach().item()
                scaler.scale(objective).backward()
        scaler.unscale_(optimizer)
        for p in parameters:
            if p.grad is not None:
                p.grad /= count
        finite = all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None)
        norm = clip_grad_norm_((p for p in parameters), grad_clip)
        for group in optimizer.param_groups:
            group["lr"] = lr
        scaler.step(optimizer)
        scaler.update()
        for p in parameters:
            p.grad = None
        return StepResult(total / count, norm.item(), scaler.is_enabled() and not finite)


class one_window_ahead:
    """train_epoch knows the next window before it updates; train_step in one function"""

    def train_epoch(
        model,
        batches,
        optimizer,
        *,
        lr,
        total_steps,
        start_step=0,
        accumulation_steps=1,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        stream, window = iter(batches), []
        following = list(itertools.islice(stream, accumulation_steps))
        for i in itertools.count(1):
            window, following = following, list(itertools.islice(stream, accumulation_steps))
            if not window:
                return
            yield train_step(
                model,
                tuple(window),
                optimizer,
                lr=lr * (0.1 + 0.45 * (1 + math.cos(math.pi * (start_step + i) / total_steps))),
                grad_clip=grad_clip,
                autocast_dtype=autocast_dtype,
                scaler=scaler,
            )

    def train_step(
        model, micro_batches, optimizer, *, lr, grad_clip=1.0, autocast_dtype=None, scaler=None
    ):
        optimizer.zero_grad()
        losses = 0
        share = 1 / len(micro_batches)
        for input_ids, labels in micro_batches:
            if autocast_dtype is None:
                output = model(input_ids=input_ids, labels=labels)
            else:
                with torch.autocast(device_type=input_ids.device.type, dtype=autocast_dtype):
                    output = model(input_ids=input_ids, labels=labels)
            loss = share * output.loss + share * output.aux_loss
            losses += loss.item()
            (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is not None:
            scaler.unscale_(optimizer)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in trained if p.grad is not None]
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
        if norm > grad_clip:
            for g in gradients:
                g.mul_(grad_clip / norm)
        for group in optimizer.param_groups:
            group["lr"] = lr
        skipped = False
        if scaler is not None and scaler.is_enabled():
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped = bool(before > scaler.get_scale())
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return StepResult(losses, norm, skipped)


class by_hand_for_float16:
    """helpers replaced one by one: the loss as a tensor until the end, the found infinities"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = torch.zeros(())
        for micro_batch in reversed(micro_batches):
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
                loss = loss / torch.tensor(float(len(micro_batches)))
            _backward(loss, scaler)
            total = total + loss.detach()
        return total.item()

    def _move(optimizer, scaler):
        if scaler is None or not scaler.is_enabled():
            optimizer.step()
            return False
        found = sum(value.item() for value in scaler._found_inf_per_device(optimizer).values())
        scaler.step(optimizer)
        scaler.update()
        return found > 0

    def _windows(batches, size):
        stream = iter(batches)
        for first in stream:
            yield [first, *itertools.islice(stream, size - 1)]


class flushed_at_the_end:
    """train_epoch counts micro-batches and flushes what is left through one inner function"""

    def train_epoch(
        model,
        batches,
        optimizer,
        *,
        lr,
        total_steps,
        start_step=0,
        accumulation_steps=1,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        pending, updates = [], start_step

        def flush():
            nonlocal updates
            updates += 1
            window = pending[:]
            pending.clear()
            return train_step(
                model,
                window,
                optimizer,
                lr=get_lr(updates, total_steps, lr),
                grad_clip=grad_clip,
                autocast_dtype=autocast_dtype,
                scaler=scaler,
            )

        for number, batch in enumerate(batches, start=1):
            pending.append(batch)
            if number % accumulation_steps == 0:
                yield flush()
        if pending:
            yield flush()
