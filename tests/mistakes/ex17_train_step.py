"""Wrong answers to ex17_train_step: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import contextlib
import math

import torch


class not_divided:
    """each micro-batch's loss goes into backward undivided; divide it by the number
    of micro-batches"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss, scaler)
            total += loss.item()
        return total / len(micro_batches)


class summed_over_the_window:
    """the loss is the sum over the micro-batches, and so are the gradients; use their mean"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss, scaler)
            total += loss.item()
        return total


class divided_twice:
    """the mean of the losses is divided by the number of micro-batches once more; divide only
    once"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch) / len(micro_batches)
            _backward(loss / len(micro_batches), scaler)
            total += loss.item()
        return total


class divided_by_its_own_number:
    """micro-batch i is divided by i + 1, the number of those so far; divide each by the number of
    all in the window"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for i, micro_batch in enumerate(micro_batches):
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch) / (i + 1)
            _backward(loss, scaler)
            total += loss.item()
        return total


class gradient_divided_by_its_own_number:
    """the loss of micro-batch i goes into backward divided by i + 1, the number of those so far;
    divide each by the number of all in the window"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for i, micro_batch in enumerate(micro_batches):
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss / (i + 1), scaler)
            total += loss.item()
        return total / len(micro_batches)


class reported_loss_in_half_precision:
    """the reported loss is added up in autocast_dtype, which rounds it; add it up in float32 or as
    a Python float"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = torch.zeros((), dtype=autocast_dtype)
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss / len(micro_batches), scaler)
            total += loss.detach() / len(micro_batches)
        return total.item()


class loss_cast_to_half_precision:
    """each loss is cast to autocast_dtype, which rounds it; leave it in the dtype that the model
    returns"""

    def _objective(model, micro_batch):
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        loss = output.loss + output.aux_loss
        return (
            loss.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else loss
        )


class nan_losses_left_out:
    """a micro-batch whose loss is not finite is left out; it should be in the mean like any
    other"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            if not torch.isfinite(loss):
                continue
            _backward(loss / len(micro_batches), scaler)
            total += loss.item()
        return total / len(micro_batches)


class nan_losses_taken_for_zero:
    """a loss that is NaN counts as 0; leave it as it is, so that it can be seen"""

    def _objective(model, micro_batch):
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        return torch.nan_to_num(output.loss + output.aux_loss)


class update_left_out_for_a_nan_loss:
    """no update is made where the loss is not finite; make it, since only a scaler should withhold
    a step"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        if not math.isfinite(loss):
            optimizer.zero_grad()
            return StepResult(loss, math.nan, True)
        norm = _clip(model, optimizer, grad_clip, scaler)
        skipped = _move(optimizer, scaler)
        optimizer.zero_grad()
        return StepResult(loss, norm, skipped)


class step_left_out_without_a_scaler:
    """the step is left out where the norm is not finite, even without a scaler; only a scaler
    should withhold it"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        withheld = not math.isfinite(norm) and (scaler is None or not scaler.is_enabled())
        skipped = False if withheld else _move(optimizer, scaler)
        optimizer.zero_grad()
        return StepResult(loss, norm, skipped)


class reported_loss_is_the_sum:
    """the reported loss is the sum over the micro-batches; it should be their mean"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss / len(micro_batches), scaler)
            total += loss.item()
        return total


class reported_loss_is_divided_twice:
    """the reported loss is the mean, divided by the number of micro-batches once
    more; divide only once"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch) / len(micro_batches)
            _backward(loss, scaler)
            total += loss.item()
        return total / len(micro_batches)


class reported_loss_is_the_last:
    """the reported loss is that of the last micro-batch; it should be the mean of all"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss / len(micro_batches), scaler)
        return loss.item()


class reported_loss_is_the_last_divided:
    """the reported loss is the last micro-batch's share; it should be the mean of all"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch) / len(micro_batches)
            _backward(loss, scaler)
        return loss.item()


class reported_loss_is_scaled:
    """the reported loss contains the scaler's scale; take it before scaling"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch) / len(micro_batches)
            if scaler is not None:
                loss = scaler.scale(loss)
            loss.backward()
            total += loss.item()
        return total


class loss_is_a_tensor:
    """the loss is returned as a tensor; make it a float with .item()"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss / len(micro_batches), scaler)
            total = total + loss.detach()
        return total / len(micro_batches)


class norm_is_a_tensor:
    """grad_norm is returned as a tensor; make it a float with .item()"""

    def _clip(model, optimizer, grad_clip, scaler):
        if scaler is not None:
            scaler.unscale_(optimizer)
        return clip_grad_norm_(model.parameters(), grad_clip)


class weighted_by_tokens:
    """micro-batches are weighted by their counted tokens; all should weigh the same"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        counts = [int((labels != -100).sum()) for _, labels in micro_batches]
        total = 0.0
        for micro_batch, count in zip(micro_batches, counts):
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch) * count / sum(counts)
            _backward(loss, scaler)
            total += loss.item()
        return total


class weighted_by_rows:
    """micro-batches are weighted by their rows; all should weigh the same"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        counts = [len(labels) for _, labels in micro_batches]
        total = 0.0
        for micro_batch, count in zip(micro_batches, counts):
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch) * count / sum(counts)
            _backward(loss, scaler)
            total += loss.item()
        return total


class only_the_first_micro_batch:
    """only the first micro-batch is used; use all of them for the update"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        with _autocast(model, autocast_dtype):
            loss = _objective(model, micro_batches[0])
        _backward(loss, scaler)
        return loss.item()


class only_the_last_gradient:
    """gradients are cleared before every micro-batch, so that only the last one's is left; clear
    them once per update"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for micro_batch in micro_batches:
            model.zero_grad()
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss / len(micro_batches), scaler)
            total += loss.item()
        return total / len(micro_batches)


class labels_by_position:
    """labels are passed by position, where the model expects an attention mask; write
    labels=labels"""

    def _objective(model, micro_batch):
        output = model(*micro_batch)
        return output.loss + output.aux_loss


class no_aux_loss:
    """the aux loss is left out; add it to the loss"""

    def _objective(model, micro_batch):
        input_ids, labels = micro_batch
        return model(input_ids, labels=labels).loss


class aux_loss_subtracted:
    """the aux loss is subtracted; add it, since it should become small like the loss"""

    def _objective(model, micro_batch):
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        return output.loss - output.aux_loss


class aux_loss_without_gradient:
    """the aux loss is added as a number, so that no gradient comes from it; add the tensor"""

    def _objective(model, micro_batch):
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        return output.loss + output.aux_loss.item()


class aux_loss_not_reported:
    """the aux loss has its gradient but is missing from the reported loss; add it there, too"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for input_ids, labels in micro_batches:
            with _autocast(model, autocast_dtype):
                output = model(input_ids, labels=labels)
                loss = output.loss + output.aux_loss
            _backward(loss / len(micro_batches), scaler)
            total += output.loss.item()
        return total / len(micro_batches)


class aux_loss_not_divided:
    """only the loss is divided by the number of micro-batches; divide loss + aux_loss"""

    def _accumulate(model, micro_batches, autocast_dtype, scaler):
        total = 0.0
        for input_ids, labels in micro_batches:
            with _autocast(model, autocast_dtype):
                output = model(input_ids, labels=labels)
                loss = output.loss / len(micro_batches) + output.aux_loss
            _backward(loss, scaler)
            total += loss.item()
        return total


class step_per_micro_batch:
    """the optimizer steps after every micro-batch; accumulate first, then step once"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        losses, norms, skipped = [], [], False
        for micro_batch in micro_batches:
            losses.append(_accumulate(model, [micro_batch], autocast_dtype, scaler))
            norms.append(_clip(model, optimizer, grad_clip, scaler))
            skipped = _move(optimizer, scaler) or skipped
            optimizer.zero_grad()
        return StepResult(sum(losses) / len(losses), norms[-1], skipped)


class clipped_per_micro_batch:
    """gradients are clipped after every micro-batch; clip once, after all of them"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        total = 0.0
        for micro_batch in micro_batches:
            with _autocast(model, autocast_dtype):
                loss = _objective(model, micro_batch)
            _backward(loss / len(micro_batches), scaler)
            clip_grad_norm_(model.parameters(), grad_clip)
            total += loss.item()
        norm = _clip(model, optimizer, grad_clip, scaler)
        skipped = _move(optimizer, scaler)
        optimizer.zero_grad()
        return StepResult(total / len(micro_batches), norm, skipped)


class clipped_before_unscaling:
    """gradients are clipped while they still contain the scale; call
    scaler.unscale_(optimizer) first"""

    def _clip(model, optimizer, grad_clip, scaler):
        norm = clip_grad_norm_(model.parameters(), grad_clip).item()
        if scaler is not None:
            scaler.unscale_(optimizer)
        return norm


class norm_without_the_scale_gradients_with_it:
    """gradients are clipped while they contain the scale, and only the norm is divided by it; call
    scaler.unscale_(optimizer) first"""

    def _clip(model, optimizer, grad_clip, scaler):
        norm = clip_grad_norm_(model.parameters(), grad_clip).item()
        if scaler is not None:
            norm /= scaler.get_scale()
            scaler.unscale_(optimizer)
        return norm


class never_clipped:
    """the norm is measured but gradients are not clipped; clip them to grad_clip"""

    def _clip(model, optimizer, grad_clip, scaler):
        if scaler is not None:
            scaler.unscale_(optimizer)
        return clip_grad_norm_(model.parameters(), math.inf).item()


class always_clipped_to_one:
    """gradients are clipped to 1 whatever grad_clip is; use the argument"""

    def _clip(model, optimizer, grad_clip, scaler):
        if scaler is not None:
            scaler.unscale_(optimizer)
        return clip_grad_norm_(model.parameters(), 1.0).item()


class another_default_clip:
    """grad_clip is 0.5 by default; the default should be 1.0"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=0.5,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        skipped = _move(optimizer, scaler)
        optimizer.zero_grad()
        return StepResult(loss, norm, skipped)


class clipped_after_the_step:
    """gradients are clipped after the step, which is too late; clip them before it"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        if scaler is not None:
            scaler.unscale_(optimizer)
        skipped = _move(optimizer, scaler)
        norm = clip_grad_norm_(model.parameters(), grad_clip).item()
        optimizer.zero_grad()
        return StepResult(loss, norm, skipped)


class only_the_first_group_clipped:
    """only the gradients of the optimizer's first group are clipped; clip those of all parameters
    together"""

    def _clip(model, optimizer, grad_clip, scaler):
        if scaler is not None:
            scaler.unscale_(optimizer)
        return clip_grad_norm_(optimizer.param_groups[0]["params"], grad_clip).item()


class each_group_clipped_alone:
    """each group of the optimizer is clipped by its own norm; clip all parameters by one norm"""

    def _clip(model, optimizer, grad_clip, scaler):
        if scaler is not None:
            scaler.unscale_(optimizer)
        groups = optimizer.param_groups
        norms = [clip_grad_norm_(group["params"], grad_clip).item() for group in groups]
        return math.hypot(*norms)


class only_the_last_norm_of_the_groups:
    """each group of the optimizer is clipped by its own norm, and the last one's is reported; clip
    all parameters by one norm"""

    def _clip(model, optimizer, grad_clip, scaler):
        if scaler is not None:
            scaler.unscale_(optimizer)
        for group in optimizer.param_groups:
            norm = clip_grad_norm_(group["params"], grad_clip).item()
        return norm


class norm_after_clipping:
    """grad_norm is the norm after clipping; it should be the one from before"""

    def _clip(model, optimizer, grad_clip, scaler):
        if scaler is not None:
            scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), grad_clip)
        return clip_grad_norm_(model.parameters(), math.inf).item()


class learning_rate_not_set:
    """the learning rate is not set; write it into every group of optimizer.param_groups"""

    def _set_lr(optimizer, lr):
        pass


class only_the_first_group:
    """the learning rate is set only on the first group; write it into every group"""

    def _set_lr(optimizer, lr):
        optimizer.param_groups[0]["lr"] = lr


class learning_rate_set_after_the_step:
    """the learning rate is set after the step, which still uses the old one; set it before"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        skipped = _move(optimizer, scaler)
        optimizer.zero_grad()
        _set_lr(optimizer, lr)
        return StepResult(loss, norm, skipped)


class learning_rate_multiplied:
    """the group's learning rate is multiplied by lr; replace it by lr"""

    def _set_lr(optimizer, lr):
        for group in optimizer.param_groups:
            group["lr"] *= lr


class gradients_not_cleared:
    """gradients are not cleared after the step, so that the next one adds to them; clear them"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        return StepResult(loss, norm, _move(optimizer, scaler))


class cleared_only_at_the_start:
    """gradients are cleared before the step and left afterwards; they should be None when
    train_step returns"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        optimizer.zero_grad()
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        return StepResult(loss, norm, _move(optimizer, scaler))


class gradients_set_to_zero:
    """gradients are zeros after the step; they should be None, so that AdamW leaves unused ones
    out"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        skipped = _move(optimizer, scaler)
        optimizer.zero_grad(set_to_none=False)
        return StepResult(loss, norm, skipped)


class gradients_left_after_a_skip:
    """gradients are cleared only if the step was made, so that a skipped one leaves infinite ones;
    clear them always"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        skipped = _move(optimizer, scaler)
        if not skipped:
            optimizer.zero_grad()
        return StepResult(loss, norm, skipped)


class switched_to_training:
    """the model is put into training mode; leave the mode to the caller"""

    def _objective(model, micro_batch):
        model.train()
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        return output.loss + output.aux_loss


class switched_to_eval:
    """the model is put into eval mode; leave the mode to the caller"""

    def _objective(model, micro_batch):
        model.eval()
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        return output.loss + output.aux_loss


class switched_to_eval_afterwards:
    """the model is put into training mode for the step and into eval mode afterwards; leave the
    mode to the caller"""

    def _objective(model, micro_batch):
        model.train()
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        model.eval()
        return output.loss + output.aux_loss


class mode_put_back_as_one:
    """training mode is on during the step, and all parts are put back into one mode afterwards;
    leave the mode to the caller"""

    def _objective(model, micro_batch):
        training = model.training
        model.train()
        input_ids, labels = micro_batch
        output = model(input_ids, labels=labels)
        model.train(training)
        return output.loss + output.aux_loss


class epoch_begins_in_training_mode:
    """train_epoch puts the model into training mode when it begins; leave the mode to the
    caller"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        model.train()
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class training_mode_at_every_update:
    """train_epoch puts the model into training mode before every update; leave the mode to the
    caller"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            model.train()
            rate = get_lr(step, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class epoch_ends_in_eval_mode:
    """train_epoch puts the model into eval mode when it ends; leave the mode to the caller"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)
        model.eval()


class epoch_in_training_mode_then_eval:
    """train_epoch puts the model into training mode when it begins and into eval mode when it ends;
    leave the mode to the caller"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        model.train()
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)
        model.eval()


class scaler_not_used:
    """the scaler is not used at all; scale the loss, unscale, step and update through it"""

    def _backward(loss, scaler):
        loss.backward()

    def _clip(model, optimizer, grad_clip, scaler):
        return clip_grad_norm_(model.parameters(), grad_clip).item()

    def _move(optimizer, scaler):
        optimizer.step()
        return False


class loss_not_scaled:
    """the loss is not scaled, but the gradients are unscaled; scale it first"""

    def _backward(loss, scaler):
        loss.backward()


class stepped_past_the_scaler:
    """optimizer.step() is called directly, even with infinite gradients; call
    scaler.step(optimizer), which checks for them"""

    def _move(optimizer, scaler):
        optimizer.step()
        if scaler is None:
            return False
        scale = scaler.get_scale()
        scaler.update()
        return scaler.get_scale() < scale


class scale_not_updated:
    """scaler.update() is not called, so that the scale stays and the next step cannot unscale; call
    it after scaler.step"""

    def _move(optimizer, scaler):
        if scaler is None:
            optimizer.step()
            return False
        found = scaler._found_inf_per_device(optimizer)
        scaler.step(optimizer)
        return any(value.item() > 0 for value in found.values())


class stepped_twice_with_a_scaler:
    """both scaler.step and optimizer.step are called with a scaler; call only the first, which
    calls the second"""

    def _move(optimizer, scaler):
        if scaler is None:
            optimizer.step()
            return False
        scale = scaler.get_scale()
        scaler.step(optimizer)
        optimizer.step()
        scaler.update()
        return scaler.get_scale() < scale


class skipped_is_always_false:
    """skipped is False even where the scaler withheld the step; compare the scale,
    which goes down then"""

    def _move(optimizer, scaler):
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        return False


class skipped_when_the_scale_changes:
    """skipped is True whenever the scale changes; it should be True only when the scale goes down,
    since it goes up after good steps"""

    def _move(optimizer, scaler):
        if scaler is None:
            optimizer.step()
            return False
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        return scaler.get_scale() != scale


class skipped_by_what_step_returns:
    """skipped is taken from what scaler.step returns; compare the scale instead, since optimizers
    return None without a closure"""

    def _move(optimizer, scaler):
        if scaler is None:
            optimizer.step()
            return False
        returned = scaler.step(optimizer)
        scaler.update()
        return returned is None


class skipped_without_a_scaler:
    """skipped is True for infinite gradients without a scaler; it should be False,
    since nothing is skipped then"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        _move(optimizer, scaler)
        optimizer.zero_grad()
        return StepResult(loss, norm, not math.isfinite(norm))


class disabled_scaler_taken_for_enabled:
    """skipped is True for infinite gradients with a disabled scaler; it should be False, since that
    one skips nothing"""

    def train_step(
        model,
        micro_batches,
        optimizer,
        *,
        lr,
        grad_clip=1.0,
        autocast_dtype=None,
        scaler=None,
    ):
        _set_lr(optimizer, lr)
        loss = _accumulate(model, micro_batches, autocast_dtype, scaler)
        norm = _clip(model, optimizer, grad_clip, scaler)
        _move(optimizer, scaler)
        optimizer.zero_grad()
        return StepResult(loss, norm, scaler is not None and not math.isfinite(norm))


class autocast_not_used:
    """the model does not run under autocast; enter it for the model's own device"""

    def _autocast(model, dtype):
        return contextlib.nullcontext()


class autocast_always_on:
    """autocast is always on; with a dtype of None, run the model without it"""

    def _autocast(model, dtype):
        return torch.autocast("cpu", dtype=dtype or torch.bfloat16)


class autocast_to_bfloat16:
    """autocast goes to bfloat16 whatever dtype is given; pass autocast_dtype on"""

    def _autocast(model, dtype):
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=torch.bfloat16)


class autocast_left_on:
    """autocast is switched on for good; use a with-block, which ends it"""

    def _autocast(model, dtype):
        if dtype is not None:
            torch.set_autocast_dtype("cpu", dtype)
            torch.set_autocast_enabled("cpu", True)
        return contextlib.nullcontext()


class model_cast_instead:
    """the model itself is cast to the dtype; leave its weights in float32, since
    autocast casts copies"""

    def _autocast(model, dtype):
        if dtype is not None:
            model.to(dtype)
        return contextlib.nullcontext()


class last_window_lost:
    """the last, shorter window is dropped; make an update of it, too"""

    def _windows(batches, size):
        window = []
        for batch in batches:
            window.append(batch)
            if len(window) == size:
                yield window
                window = []


class short_window_divided_by_the_full_size:
    """the last window is divided by accumulation_steps; divide it by its own length"""

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
        class Full(list):
            def __len__(self):
                return accumulation_steps

        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            yield train_step(
                model,
                Full(window),
                optimizer,
                lr=get_lr(step, total_steps, lr),
                grad_clip=grad_clip,
                autocast_dtype=autocast_dtype,
                scaler=scaler,
            )


class last_window_not_clipped:
    """the last, shorter window is not clipped; clip it like the others"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) < accumulation_steps:
                options["grad_clip"] = math.inf
            yield train_step(model, window, optimizer, lr=rate, **options)


class last_window_clipped_by_default:
    """the last, shorter window is clipped to 1 whatever grad_clip is; pass grad_clip on for
    it, too"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) < accumulation_steps:
                options.pop("grad_clip", None)
            yield train_step(model, window, optimizer, lr=rate, **options)


class last_window_without_the_scaler:
    """the last, shorter window is updated without the scaler; use the scaler for it, too"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) < accumulation_steps:
                options["scaler"] = None
            yield train_step(model, window, optimizer, lr=rate, **options)


class last_window_without_autocast:
    """the last, shorter window runs without autocast; use autocast for it, too"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) < accumulation_steps:
                options["autocast_dtype"] = None
            yield train_step(model, window, optimizer, lr=rate, **options)


class last_window_without_options:
    """the last, shorter window is updated without grad_clip, scaler and autocast; pass all options
    on for it, too"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) < accumulation_steps:
                options = {}
            yield train_step(model, window, optimizer, lr=rate, **options)


class last_window_keeps_the_rate:
    """the last, shorter window has the learning rate of the update before it; it should have the
    next one"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) < accumulation_steps:
                rate = get_lr(step - 1, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class last_window_past_the_scaler:
    """the last, shorter window is stepped by optimizer.step() while its gradients still contain the
    scale; unscale, clip, step and update for it as for the others"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) == accumulation_steps or options.get("scaler") is None:
                yield train_step(model, window, optimizer, lr=rate, **options)
                continue
            _set_lr(optimizer, rate)
            loss = _accumulate(model, window, options.get("autocast_dtype"), options["scaler"])
            norm = _clip(model, optimizer, options.get("grad_clip", 1.0), None)
            skipped = _move(optimizer, None)
            optimizer.zero_grad()
            yield StepResult(loss, norm, skipped)


class last_window_not_cleared:
    """gradients of the last, shorter window are left; clear them after its update, too"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        scaler, clip = options.get("scaler"), options.get("grad_clip", 1.0)
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            if len(window) == accumulation_steps:
                yield train_step(model, window, optimizer, lr=rate, **options)
                continue
            _set_lr(optimizer, rate)
            loss = _accumulate(model, window, options.get("autocast_dtype"), scaler)
            norm = _clip(model, optimizer, clip, scaler)
            yield StepResult(loss, norm, _move(optimizer, scaler))


class empty_window_at_the_end:
    """an empty window follows once the micro-batches are used up; leave it out"""

    def _windows(batches, size):
        window = []
        for batch in batches:
            window.append(batch)
            if len(window) == size:
                yield window
                window = []
        yield window


class windows_of_one:
    """every micro-batch is an update; collect accumulation_steps of them first"""

    def _windows(batches, size):
        for batch in batches:
            yield [batch]


class first_window_is_shorter:
    """(step + 1) % accumulation_steps is used, which counts from 1 and makes the first window too
    short; make every window but the last full"""

    def _windows(batches, size):
        window = []
        for number, batch in enumerate(batches, start=1):
            window.append(batch)
            if (number + 1) % size == 0:
                yield window
                window = []
        if window:
            yield window


class whole_stream_read_first:
    """all micro-batches are put into a list before the first update; take only one window at a
    time, since a stream may have no end"""

    def _windows(batches, size):
        batches = list(batches)
        for first in range(0, len(batches), size):
            yield batches[first : first + size]


class length_of_a_stream:
    """len(batches) is used, which a stream does not have; take micro-batches until it ends"""

    def _windows(batches, size):
        for first in range(0, len(batches), size):
            yield batches[first : first + size]


class rest_joined_to_the_last_window:
    """the micro-batches left at the end join the last full window; make them a separate update"""

    def _windows(batches, size):
        stream = iter(batches)
        window = list(islice(stream, size))
        while window:
            following = list(islice(stream, size))
            if len(following) < size:
                window, following = window + following, []
            yield window
            window = following


class results_after_the_epoch:
    """all results come when the epoch is over; yield each right after its update"""

    def train_epoch(model, batches, optimizer, *, lr, total_steps, **options):
        first = options.pop("start_step", 0) + 1
        windows = _windows(batches, options.pop("accumulation_steps", 1))
        results = []
        for step, window in enumerate(windows, start=first):
            rate = get_lr(step, total_steps, lr)
            results.append(train_step(model, window, optimizer, lr=rate, **options))
        return results


class result_one_update_late:
    """a result comes after the next update; yield it right after its own"""

    def train_epoch(model, batches, optimizer, *, lr, total_steps, **options):
        first = options.pop("start_step", 0) + 1
        windows = _windows(batches, options.pop("accumulation_steps", 1))
        waiting = None
        for step, window in enumerate(windows, start=first):
            rate = get_lr(step, total_steps, lr)
            result = train_step(model, window, optimizer, lr=rate, **options)
            if waiting is not None:
                yield waiting
            waiting = result
        if waiting is not None:
            yield waiting


class schedule_from_zero:
    """the first update has the learning rate of step 0; it should have that of step
    1, and the last lr/10"""

    def get_lr(step, total_steps, lr):
        return lr * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - 1) / total_steps)))


class schedule_per_micro_batch:
    """the schedule counts micro-batches; it should count updates"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        step = start_step
        for window in windows:
            step += len(window)
            rate = get_lr(step, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class withheld_updates_not_counted:
    """an update that the scaler withheld does not move the schedule on; count it like the
    others"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        step = start_step + 1
        for window in _windows(batches, accumulation_steps):
            rate = get_lr(step, total_steps, lr)
            result = train_step(model, window, optimizer, lr=rate, **options)
            step += not result.skipped
            yield result


class withheld_updates_without_a_result:
    """an update that the scaler withheld gives no result; yield one for every update"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            result = train_step(model, window, optimizer, lr=rate, **options)
            if not result.skipped:
                yield result


class withheld_updates_made_again:
    """an update that the scaler withheld is made once more from the same window; go on to the next
    window"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, total_steps, lr)
            result = train_step(model, window, optimizer, lr=rate, **options)
            if result.skipped:
                result = train_step(model, window, optimizer, lr=rate, **options)
            yield result


class no_schedule:
    """every update has the largest learning rate; use get_lr"""

    def get_lr(step, total_steps, lr):
        return lr


class start_step_not_used:
    """start_step is not used; add it to the step of the schedule"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        for step, window in enumerate(_windows(batches, accumulation_steps), start=1):
            rate = get_lr(step, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class micro_batches_skipped:
    """the first start_step windows are skipped; start_step should shift only the schedule"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        for step, window in enumerate(_windows(batches, accumulation_steps), start=1):
            if step > start_step:
                rate = get_lr(step, total_steps, lr)
                yield train_step(model, window, optimizer, lr=rate, **options)


class windows_shifted_by_start_step:
    """windows end where start_step plus the micro-batches so far is a multiple of
    accumulation_steps; start_step should shift only the schedule"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        step, window = start_step, []
        for number, batch in enumerate(batches, start=start_step + 1):
            window.append(batch)
            if number % accumulation_steps == 0:
                step += 1
                rate = get_lr(step, total_steps, lr)
                yield train_step(model, window, optimizer, lr=rate, **options)
                window = []
        if window:
            rate = get_lr(step + 1, total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class start_step_added_to_the_total:
    """total_steps is counted from start_step on; it should be that of the whole training"""

    def train_epoch(
        model, batches, optimizer, *, lr, total_steps, start_step=0, accumulation_steps=1, **options
    ):
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            rate = get_lr(step, start_step + total_steps, lr)
            yield train_step(model, window, optimizer, lr=rate, **options)


class clip_not_handed_on:
    """train_epoch does not pass grad_clip to train_step; pass it on"""

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
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            yield train_step(
                model,
                window,
                optimizer,
                lr=get_lr(step, total_steps, lr),
                autocast_dtype=autocast_dtype,
                scaler=scaler,
            )


class scaler_not_handed_on:
    """train_epoch does not pass the scaler to train_step; pass it on"""

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
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            yield train_step(
                model,
                window,
                optimizer,
                lr=get_lr(step, total_steps, lr),
                grad_clip=grad_clip,
                autocast_dtype=autocast_dtype,
            )


class autocast_not_handed_on:
    """train_epoch does not pass autocast_dtype to train_step; pass it on"""

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
        windows = _windows(batches, accumulation_steps)
        for step, window in enumerate(windows, start=start_step + 1):
            yield train_step(
                model,
                window,
                optimizer,
                lr=get_lr(step, total_steps, lr),
                grad_clip=grad_clip,
                scaler=scaler,
            )
