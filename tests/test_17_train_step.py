"""ex17_train_step: facts about one update and an epoch of updates."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

TOKENS = 11
POISON, BROKEN = 0, 1
"""The token ids that make a gradient infinite while the loss stays finite, and the loss NaN."""
UNCLIPPED = 1e6


class Toy(torch.nn.Module):
    """Predicts labels by a table and a head, and writes down how it was called."""

    def __init__(self, weights, aux=0.0, products=True):
        super().__init__()
        self.table = torch.nn.Parameter(weights["table"].clone())
        self.head = torch.nn.Parameter(weights["head"].clone())
        self.idle = torch.nn.Parameter(torch.ones(3))  # never gets a gradient
        self.inner = torch.nn.Identity()
        self.aux = aux
        self.products = products  # without matrix products autocast rounds nothing
        self.autocasts = []
        self.modes = []

    def forward(self, input_ids, attention_mask=None, labels=None):
        device = next(self.parameters()).device.type
        on = torch.is_autocast_enabled(device)
        self.autocasts.append(str(torch.get_autocast_dtype(device)) if on else "off")
        self.modes.append([self.training, self.inner.training])
        hidden = self.inner(self.table[input_ids])
        if self.products:
            scores = F.linear(hidden, self.head)
        else:
            scores = (hidden.unsqueeze(-2) * self.head).sum(-1)
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        loss = F.cross_entropy(wide.flatten(0, 1), labels.flatten())
        if bool((input_ids == POISON).any()):
            loss = loss + (self.head[0, 0] - self.head[0, 0].detach()).sqrt()
        if bool((input_ids == BROKEN).any()):
            loss = loss * math.nan
        return SimpleNamespace(loss=loss, logits=scores, aux_loss=self.aux * hidden.square().mean())


class SGD(torch.optim.SGD):
    """Plain gradient descent, which hides nothing, and a count of its steps."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)


def toy_weights(rng, scale=1.0):
    return {
        "table": rng.normal(TOKENS, 5, scale=scale),
        "head": rng.normal(TOKENS, 5, scale=scale),
    }


def micro_batch(rng, rows=2, positions=4, uncounted=1):
    labels = rng.integers(0, TOKENS, rows, positions)
    labels[0, :uncounted] = -100
    return rng.integers(2, TOKENS, rows, positions), labels


def micro_batches(rng, count):
    """Micro-batches of one size; what a different size changes is one test's business."""
    return [micro_batch(rng) for _ in range(count)]


def poisoned(batch, token=POISON):
    """A micro-batch with one token that makes a gradient infinite, or the loss NaN."""
    input_ids, labels = batch
    input_ids = input_ids.clone()
    input_ids[0, 1] = token
    return input_ids, labels


def descent(model, lr=0.5):
    return SGD(model.parameters(), lr=lr)


def scaler_of_1024(growth_interval=1):
    """Halves its scale after a withheld step, doubles it after so many others in a row."""
    return torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=growth_interval)


def numbers(result):
    return {"loss": result.loss, "grad_norm": result.grad_norm, "skipped": result.skipped}


def in_two_groups(model, lr=0.5):
    """An optimizer with the table in one group and the rest in another."""
    return SGD([{"params": [model.table]}, {"params": [model.head, model.idle]}], lr=lr)


def if_finite(number):
    """A number, or words where it is infinite or NaN."""
    return number if math.isfinite(number) else "not finite"


def weights_of(model):
    return {"table": model.table.detach(), "head": model.head.detach()}


def left_over(model):
    """The parameters that still have a gradient."""
    return [name for name, p in model.named_parameters() if p.grad is not None]


@pytest.mark.weight(2)
def test_one_update_follows_the_mean_of_all_micro_batches(check, rng):
    """Several micro-batches make one update by the plain mean of their losses."""

    def step(training, weights, batches):
        model = Toy(weights)
        optimizer = descent(model)
        result = training.train_step(model, batches, optimizer, lr=0.5, grad_clip=UNCLIPPED)
        return numbers(result) | weights_of(model) | {"optimizer steps": optimizer.steps}

    batches = [micro_batch(rng, 2, 5, 1), micro_batch(rng, 3, 4, 3), micro_batch(rng, 1, 6, 4)]
    check(step, toy_weights(rng), batches)


@pytest.mark.weight(2)
def test_the_aux_loss_is_part_of_the_loss(check, rng):
    """The mean of loss + aux_loss is minimised and reported."""

    def step(training, weights, batches):
        model = Toy(weights, aux=0.3)
        optimizer = descent(model)
        result = training.train_step(model, batches, optimizer, lr=0.5, grad_clip=UNCLIPPED)
        return numbers(result) | weights_of(model)

    check(step, toy_weights(rng), tuple(micro_batches(rng, 2)))


@pytest.mark.weight(2)
def test_gradients_are_clipped_once_by_their_norm(check, rng):
    """The gradients of all groups are clipped together, once, to a norm of grad_clip."""

    def step(training, weights, batches):
        outcome = {}
        for name, options in {"": {"grad_clip": 0.05}, " by default": {}}.items():
            model = Toy(weights)
            optimizer = descent(model)
            result = training.train_step(model, batches, optimizer, lr=0.5, **options)
            found = numbers(result) | weights_of(model)
            outcome |= {key + name: value for key, value in found.items()}
        return outcome

    check(step, toy_weights(rng, scale=4.0), micro_batches(rng, 3))

    def step(training, weights, batches):
        outcome = {}
        for name, scaler in {"": None, ", with a scaler": scaler_of_1024()}.items():
            model = Toy(weights)
            optimizer = in_two_groups(model)
            result = training.train_step(
                model, batches, optimizer, lr=0.5, grad_clip=0.05, scaler=scaler
            )
            found = numbers(result) | weights_of(model)
            outcome |= {key + name: value for key, value in found.items()}
        return outcome

    check(step, toy_weights(rng, scale=4.0), micro_batches(rng, 2))


def test_every_group_gets_the_learning_rate(check, rng):
    """The learning rate is set on every parameter group, before the optimizer's step."""

    def step(training, weights, batches):
        model = Toy(weights)
        rest = {"params": [model.head, model.idle], "lr": 7.0}
        optimizer = SGD([{"params": [model.table]}, rest], lr=9.0)
        training.train_step(model, batches, optimizer, lr=0.3, grad_clip=UNCLIPPED)
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        return weights_of(model) | {"learning rates": rates}

    check(step, toy_weights(rng), micro_batches(rng, 1))


def test_gradients_are_none_after_a_step(check, rng):
    """Gradients are None after a step, so that none of them gets into the next one."""

    def steps(training, weights, batches):
        model = Toy(weights)
        optimizer = descent(model)
        found = {}
        for which in ("first", "second"):
            result = training.train_step(model, batches, optimizer, lr=0.5, grad_clip=UNCLIPPED)
            found[f"grad_norm of the {which} step"] = result.grad_norm
            found[f"gradients after the {which} step"] = left_over(model)
            left = [p.grad.abs().max().item() for p in model.parameters() if p.grad is not None]
            found[f"largest gradient after the {which} step"] = max(left, default=0.0)
        return found | weights_of(model)

    check(steps, toy_weights(rng), micro_batches(rng, 1))


def test_the_training_flag_is_left_alone(check, rng):
    """A model in training stays in training, one in eval mode stays in eval mode, all through."""

    def step(training, weights, batches):
        found = {}
        for name in ("training", "eval", "training but for a frozen part"):
            model = Toy(weights).train(name != "eval")
            model.inner.train(name == "training")
            training.train_step(model, batches, descent(model), lr=0.5, grad_clip=UNCLIPPED)
            flags = [*model.modes, [model.training, model.inner.training]]
            found[f"a model in {name}"] = flags
            found |= {f"{key}, {name}": value for key, value in weights_of(model).items()}
        return found

    check(step, toy_weights(rng), micro_batches(rng, 2))


def test_an_epoch_leaves_the_training_flag_alone(check, rng):
    """An epoch leaves the training flag as it is, and as the caller changes it between updates."""

    def epoch(training, weights, batches):
        found = {}
        for name in ("training", "eval"):
            model = Toy(weights).train(name == "training")
            optimizer = descent(model)
            flags = []
            options = {"accumulation_steps": 2, "grad_clip": UNCLIPPED}
            for _ in training.train_epoch(
                model, batches, optimizer, lr=0.5, total_steps=3, **options
            ):
                flags.append(model.training)
                if len(flags) == 2:
                    model.train(name == "eval")
            found[f"a model in {name}, after each update"] = flags
            found[f"a model in {name}, during updates"] = [mode for mode, _ in model.modes]
            found[f"a model in {name}, after the epoch"] = model.training
            found |= {f"{key}, {name}": value for key, value in weights_of(model).items()}
        return found

    check(epoch, toy_weights(rng), micro_batches(rng, 5))


@pytest.mark.weight(2)
def test_infinite_gradients_are_skipped_with_a_scaler(check, rng):
    """A scaler changes nothing but the scale; with one, a step that is not finite is skipped."""

    def steps(training, weights, bad, good):
        model, scaler = Toy(weights), scaler_of_1024(growth_interval=100)
        optimizer = descent(model)
        found = {}
        for name, batches in {"bad": bad, "good": good}.items():
            result = training.train_step(
                model, batches, optimizer, lr=0.5, grad_clip=UNCLIPPED, scaler=scaler
            )
            norm = result.grad_norm
            found |= {
                f"loss of the {name} step": result.loss,
                f"type of the {name} step's grad_norm": type(norm).__name__,
                f"grad_norm of the {name} step": norm if math.isfinite(norm) else "not finite",
                f"{name} step skipped": result.skipped,
                f"optimizer steps after the {name} one": optimizer.steps,
                f"gradients after the {name} step": left_over(model),
                f"scale after the {name} step": scaler.get_scale(),
                f"table after the {name} step": model.table.detach().clone(),
                f"head after the {name} step": model.head.detach().clone(),
            }
        return found

    first, second, third, *good = micro_batches(rng, 5)
    check(steps, toy_weights(rng), [first, poisoned(second), third], good)

    def step(training, weights, batches):
        outcome = {}
        for name, clip in {"clipped": 0.05, "not clipped": UNCLIPPED}.items():
            model, scaler = Toy(weights), scaler_of_1024()
            result = training.train_step(
                model, batches, descent(model), lr=0.5, grad_clip=clip, scaler=scaler
            )
            found = numbers(result) | weights_of(model) | {"scale": scaler.get_scale()}
            outcome |= {f"{key}, {name}": value for key, value in found.items()}
        return outcome

    check(step, toy_weights(rng), micro_batches(rng, 3))


def test_nothing_is_skipped_without_a_scaler(check, rng):
    """Without a scaler, or with a disabled one, skipped is False whatever the gradients are."""

    def step(training, weights, bad, good):
        found = {}
        for name, disabled in {"no": False, "a disabled": True}.items():
            scaler = torch.amp.GradScaler("cpu", enabled=False) if disabled else None
            model = Toy(weights)
            result = training.train_step(
                model, good, descent(model), lr=0.5, grad_clip=UNCLIPPED, scaler=scaler
            )
            seen = numbers(result) | weights_of(model)
            optimizer = descent(model)
            result = training.train_step(model, bad, optimizer, lr=0.5, scaler=scaler)
            seen["skipped, infinite gradients"] = result.skipped
            seen["optimizer steps, infinite gradients"] = optimizer.steps
            seen["gradients after infinite ones"] = left_over(model)
            found |= {f"{key}, {name} scaler": value for key, value in seen.items()}
        return found

    first, second = micro_batches(rng, 2)
    check(step, toy_weights(rng), [first, poisoned(second)], [first, second])


def test_a_loss_of_nan_is_not_passed_over(check, rng):
    """A loss that is NaN is in the mean like any other; only a scaler withholds its update."""

    def steps(training, weights, good, bad):
        found = {}
        for name, scaler in {"no scaler": None, "a scaler": scaler_of_1024()}.items():
            model = Toy(weights)
            optimizer = descent(model)
            first = training.train_step(model, good, optimizer, lr=0.5, scaler=scaler)
            before = model.head.detach().clone()
            result = training.train_step(model, bad, optimizer, lr=0.5, scaler=scaler)
            seen = {
                "loss before it": first.loss,
                "head before it": before,
                "loss": if_finite(result.loss),
                "grad_norm": if_finite(result.grad_norm),
                "skipped": result.skipped,
                "optimizer steps": optimizer.steps,
                "micro-batches used": len(model.modes),
                "the head is NaN": bool(model.head.isnan().any()),
                "gradients after it": left_over(model),
            }
            found |= {f"{key}, {name}": value for key, value in seen.items()}
        return found

    first, second, third = micro_batches(rng, 3)
    check(steps, toy_weights(rng), [first], [poisoned(second, BROKEN), third])


def test_the_model_runs_under_autocast_if_asked(check, rng):
    """Autocast to the given dtype is on while the model runs, and only if a dtype is given."""

    def step(training, weights, batches):
        found = {}
        for dtype in (None, torch.bfloat16, torch.float16):
            model = Toy(weights)
            options = {} if dtype is None else {"autocast_dtype": dtype}
            result = training.train_step(model, batches, descent(model), lr=0.5, **options)
            found[f"autocast in the model, {dtype} asked"] = model.autocasts
            found[f"loss is a float, {dtype} asked"] = type(result.loss) is float
            found[f"weights, {dtype} asked"] = str(model.table.dtype)
            found |= {f"{key}, {dtype} asked": value for key, value in weights_of(model).items()}
        return found

    check(step, toy_weights(rng), micro_batches(rng, 2))


def test_losses_keep_their_digits_under_autocast(check, rng):
    """The model's losses are float32; they are added up and reported without rounding them."""

    def step(training, weights, batches):
        found = {}
        for dtype in (torch.bfloat16, torch.float16):
            model = Toy(weights, aux=0.3, products=False)
            result = training.train_step(
                model, batches, descent(model), lr=0.5, grad_clip=UNCLIPPED, autocast_dtype=dtype
            )
            outcome = numbers(result) | weights_of(model)
            found |= {f"{key}, {dtype}": value for key, value in outcome.items()}
        return found

    check(step, toy_weights(rng, scale=2.0), micro_batches(rng, 3))


def results_of(epoch, optimizer):
    """All results of an epoch, and the learning rates that each update had."""
    losses, norms, skipped, rates = [], [], [], []
    for result in epoch:
        losses.append(result.loss)
        norms.append(result.grad_norm)
        skipped.append(result.skipped)
        rates.append(optimizer.param_groups[0]["lr"])
    finite = [norm for norm in norms if math.isfinite(norm)]
    return {
        "results": len(losses),
        "losses": torch.tensor(losses, dtype=torch.float64),
        "grad_norms": torch.tensor(finite, dtype=torch.float64),
        "grad_norms that are not finite": len(norms) - len(finite),
        "skipped": skipped,
        "learning rates": torch.tensor(rates, dtype=torch.float64),
    }


@pytest.mark.weight(2)
def test_an_epoch_updates_once_per_window(check, rng):
    """An epoch updates once per window of accumulation_steps; update i uses step start_step + i."""

    def epoch(training, weights, batches):
        found = {}
        for name, count in {"seven": 7, "six": 6, "two": 2, "no": 0}.items():
            model = Toy(weights)
            optimizer = descent(model, 9.0)
            results = training.train_epoch(
                model,
                iter(batches[:count]),
                optimizer,
                lr=0.5,
                total_steps=5,
                accumulation_steps=3,
                grad_clip=UNCLIPPED,
            )
            outcome = results_of(results, optimizer) | weights_of(model)
            found |= {f"{key}, {name} micro-batches": value for key, value in outcome.items()}
        return found

    check(epoch, toy_weights(rng), micro_batches(rng, 7))

    def epochs(training, weights, batches):
        found = {}
        for name, start in {"first": 0, "second": 3}.items():
            model = Toy(weights)
            optimizer = descent(model, 9.0)
            results = training.train_epoch(
                model,
                batches,
                optimizer,
                lr=0.5,
                total_steps=7,
                start_step=start,
                accumulation_steps=2,
                grad_clip=UNCLIPPED,
            )
            outcome = results_of(results, optimizer) | weights_of(model)
            outcome["micro-batches used"] = len(model.modes)
            found |= {f"{key}, {name} epoch": value for key, value in outcome.items()}
        return found

    check(epochs, toy_weights(rng), micro_batches(rng, 8))


@pytest.mark.weight(2)
def test_the_last_window_is_updated_like_the_others(check, rng):
    """The last, shorter window is clipped, scaled and run under autocast like the others."""

    def epochs(training, weights, batches, last):
        scalers = [scaler_of_1024() for _ in range(2)]
        cases = {
            "clipped": {"grad_clip": 0.05},
            "with a scaler": {"grad_clip": 0.05, "scaler": scalers[0]},
            "with a scaler, infinite in the end": {"scaler": scalers[1]},
            "under autocast": {"autocast_dtype": torch.bfloat16},
        }
        found = {}
        for name, options in cases.items():
            model = Toy(weights, aux=0.3)
            optimizer = descent(model, 9.0)
            stream = [*batches[:-1], last] if "infinite" in name else batches
            results = training.train_epoch(
                model, stream, optimizer, lr=0.5, total_steps=2, accumulation_steps=3, **options
            )
            outcome = results_of(results, optimizer) | weights_of(model)
            outcome["optimizer steps"] = optimizer.steps
            outcome["gradients after the epoch"] = left_over(model)
            outcome["autocast in the model"] = model.autocasts
            if "scaler" in options:
                outcome["scale"] = options["scaler"].get_scale()
            found |= {f"{key}, {name}": value for key, value in outcome.items()}
        return found

    batches = micro_batches(rng, 5)
    # Norms of 4 to 6; gradients in bfloat16 may be divided before or after they are summed.
    allowed = {"grad_norms, under autocast": 0.2}
    check(epochs, toy_weights(rng, scale=3.0), batches, poisoned(batches[-1]), allowed=allowed)


def test_a_withheld_update_is_an_update_of_the_schedule(check, rng):
    """An update that the scaler withheld has its result and its step of the schedule."""

    def epoch(training, weights, batches):
        model, scaler = Toy(weights), scaler_of_1024(growth_interval=100)
        optimizer = descent(model, 9.0)
        results = training.train_epoch(
            model,
            iter(batches),
            optimizer,
            lr=0.5,
            total_steps=6,
            start_step=1,
            accumulation_steps=2,
            grad_clip=UNCLIPPED,
            scaler=scaler,
        )
        found = results_of(results, optimizer) | weights_of(model)
        return found | {"optimizer steps": optimizer.steps, "scale": scaler.get_scale()}

    batches = micro_batches(rng, 10)
    withheld = (0, 5)  # the first and the third update
    check(
        epoch,
        toy_weights(rng),
        [poisoned(batch) if i in withheld else batch for i, batch in enumerate(batches)],
    )


def test_every_result_comes_right_after_its_update(check, rng):
    """A result comes as soon as its update is made, however long the stream of micro-batches."""

    def first_two(training, weights, batches):
        model, drawn = Toy(weights), []
        optimizer = descent(model, 9.0)

        def stream():
            for number in range(60):
                drawn.append(number)
                yield batches[number % len(batches)]

        epoch = iter(
            training.train_epoch(
                model,
                stream(),
                optimizer,
                lr=0.5,
                total_steps=30,
                accumulation_steps=2,
                grad_clip=UNCLIPPED,
            )
        )
        found = {}
        for which in ("first", "second"):
            found[f"loss of the {which} result"] = next(epoch).loss
            found[f"micro-batches used at the {which} result"] = len(model.modes)
            found[f"updates made at the {which} result"] = optimizer.steps
            found[f"head at the {which} result"] = model.head.detach().clone()
        other = Toy(weights)
        by_default = training.train_epoch(
            other, batches, descent(other, 9.0), lr=0.5, total_steps=30, grad_clip=UNCLIPPED
        )
        found["updates of three micro-batches by default"] = len(list(by_default))
        return found | {"the whole stream is read at once": len(drawn) == 60}

    check(first_two, toy_weights(rng), micro_batches(rng, 3))
