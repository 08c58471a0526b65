"""ex16_optimizer: facts about AdamW, parameter groups, clipping and the schedule."""

import copy
import math

import pytest
import torch

from tests.support import copied

SLOW = 0.9999
"""A beta1 whose correction still tells 400 steps from 500."""
MORE = 400
"""Steps that are made after loading, when a count that bfloat16 holds no longer moves."""
TRAINS = {"inference": "parameters that are made in inference mode cannot be trained elsewhere"}


def parameter(start):
    """A parameter of its own memory: an optimizer changes it in place."""
    return torch.nn.Parameter(start.clone())


def walk(optimizer, parameters, gradients):
    """Where the parameters are after every step; a gradient may be None."""
    path = []
    for step in gradients:
        for p, gradient in zip(parameters, step, strict=True):
            p.grad = None if gradient is None else copied(gradient)
        optimizer.step()
        path.append([p.detach().clone() for p in parameters])
    return [torch.stack(places) for places in zip(*path, strict=True)]


def tensors_in(value):
    """The tensors in a state dict, whatever its form."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return tensors_in(list(value.values()))
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def in_default_dtype(norm):
    """A norm in the dtype under test; what is no tensor stays what it is."""
    return norm.to(torch.get_default_dtype()) if isinstance(norm, torch.Tensor) else norm


def clipped(optim, gradients, max_norm):
    """What clipping returns, and what it leaves in the tensors that the gradients were in."""
    parameters = [parameter(torch.ones_like(gradient)) for gradient in gradients]
    held = [copied(gradient) for gradient in gradients]
    for p, gradient in zip(parameters, held, strict=True):
        p.grad = gradient
    norm = optim.clip_grad_norm_(parameters, max_norm)
    return {
        "norm": in_default_dtype(norm),
        **{f"gradient {i}": gradient for i, gradient in enumerate(held)},
        **{f"parameter {i}": p.detach() for i, p in enumerate(parameters)},
    }


def modules(shapes):
    """Modules in a module, each with one parameter of zeros: {"norm.weight": (4,), ...}."""
    model = torch.nn.Module()
    for path, shape in shapes.items():
        owner, name = path.split(".")
        if not hasattr(model, owner):
            model.add_module(owner, torch.nn.Module())
        getattr(model, owner).register_parameter(name, torch.nn.Parameter(torch.zeros(shape)))
    return model


def shuffled(rng, values):
    """Values in an order that depends on the seed."""
    return [values[i] for i in rng.permutation(len(values)).tolist()]


def sizes(rng, dimensions):
    """A shape of so many dimensions; the sizes depend on the seed."""
    return tuple(rng.integers(2, 8, dimensions).tolist())


def groups_of(optim, model, weight_decay):
    """The groups that the answer makes; an assertion of its own refuses a model."""
    try:
        groups = optim.decay_groups(model, weight_decay)
    except AssertionError:
        return "an assertion refuses the model"
    return told(model, groups, weight_decay)


def told(model, groups, weight_decay):
    """Which parameters are in the group that decays, and which are in the one that does not."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = {weight_decay: [], 0: []}
    for group in groups:
        members = found.setdefault(group.get("weight_decay", "not named"), [])
        members += [
            names.get(id(p), "a parameter that is not the model's") for p in group["params"]
        ]
    return {
        "groups": len(groups),
        "decayed": sorted(found.pop(weight_decay)),
        "not decayed": sorted(found.pop(0)),
        "another decay": sorted(str(decay) for decay in found),
    }


@pytest.mark.weight(3)
def test_every_step_follows_the_formula(check, rng):
    """p becomes p · (1 − lr·wd) − lr · m̂ / (√v̂ + eps), where decay takes the old p."""

    def steps(optim, start, gradients):
        p = parameter(start)
        optimizer = optim.AdamW([p], 0.2, (0.7, 0.95), 0.3, 0.6)
        (path,) = walk(optimizer, [p], [[gradient] for gradient in gradients])
        return {"p after every step": path}

    check(steps, rng.normal(3, 5), rng.normal(4, 3, 5, offset=0.5), double=True, without=TRAINS)


def test_defaults_are_torchs(check, rng):
    """The defaults are lr 1e-3, betas (0.9, 0.999), eps 1e-8 and weight decay 1e-2."""

    def steps(optim, start, gradients):
        p = parameter(start)
        (path,) = walk(optim.AdamW([p]), [p], [[gradient] for gradient in gradients])
        return {"p after every step": path}

    # Gradients not much larger than eps and p not much larger than a step, or neither would show.
    check(
        steps, rng.normal(7, scale=0.05), rng.normal(9, 7, scale=1e-7), double=True, without=TRAINS
    )


@pytest.mark.weight(2)
def test_each_step_reads_the_settings_of_its_group(check, rng):
    """Every group has its own settings, and a change of them counts from the next step on."""

    def steps(optim, first, second, gradients):
        p, q = parameter(first), parameter(second)
        own = {"params": [q], "lr": 0.3, "betas": (0.5, 0.6), "eps": 0.2, "weight_decay": 0.7}
        optimizer = optim.AdamW([{"params": [p]}, own], 0.1, (0.8, 0.9), 0.4, 0.3)
        before = walk(optimizer, [p, q], [[g[:4], g[4:]] for g in gradients[:2]])
        optimizer.param_groups[0].update(lr=0.4, weight_decay=0.1)
        optimizer.param_groups[1].update(lr=0.05, eps=0.6)
        after = walk(optimizer, [p, q], [[g[:4], g[4:]] for g in gradients[2:]])
        return {
            "first group": before[0],
            "second group": before[1],
            "first group, changed": after[0],
            "second group, changed": after[1],
        }

    check(steps, rng.normal(4), rng.normal(3), rng.normal(4, 7), double=True, without=TRAINS)


@pytest.mark.weight(2)
def test_a_parameter_without_a_gradient_is_left_out(check, rng):
    """A parameter whose gradient is None is left out; one whose gradient is 0 decays and moves."""

    def steps(optim, start, gradients):
        *rows, late = (parameter(row) for row in start)
        optimizer = optim.AdamW(rows, 0.3, (0.8, 0.9), 0.1, 0.4)
        first = walk(optimizer, rows, [[None, g[1], g[2], None] for g in gradients[:2]])
        optimizer.add_param_group({"params": [late]})
        given = [
            [g[0], None if i == 0 else g[1], g[2], None, g[3]] for i, g in enumerate(gradients[2:])
        ]
        then = walk(optimizer, [*rows, late], given)
        return {
            "no gradient in the first two steps": torch.cat((first[0], then[0])),
            "no gradient in the third step": torch.cat((first[1], then[1])),
            "always a gradient": torch.cat((first[2], then[2])),
            "never a gradient": torch.cat((first[3], then[3])),
            "added after two steps": then[4],
        }

    check(steps, rng.normal(5, 3), rng.normal(4, 4, 3), double=True, without=TRAINS)

    def with_zeros(optim, start, gradient):
        rows = [parameter(row) for row in start]
        optimizer = optim.AdamW(rows, 0.3, (0.8, 0.9), 0.1, 0.4)
        nothing = torch.zeros_like(gradient)
        given = [[gradient, nothing], [nothing, nothing], [gradient, gradient]]
        first, second = walk(optimizer, rows, given)
        return {"0 in the second step": first, "0 in the first two steps": second}

    check(with_zeros, rng.normal(2, 3), rng.normal(3), double=True, without=TRAINS)


def test_parameters_change_in_place_and_gradients_do_not(check, rng):
    """A step writes into the parameter's own memory and leaves its gradient as it is."""

    def step(optim, start, gradient):
        p = torch.nn.Parameter(start.clone().T)
        shared = p.detach()
        optimizer = optim.AdamW([p], 0.3, (0.8, 0.9), 0.1, 0.4)
        held = p.grad = copied(gradient.T)
        optimizer.step()
        optimizer.step()
        return {
            "what shares p's memory": shared,
            "p": p.detach(),
            "gradient": held,
            "p's gradient is still there": p.grad is held,
            "p still requires a gradient": p.requires_grad,
        }

    check(step, rng.normal(4, 3), rng.normal(4, 3), without=TRAINS)


def test_the_closure_comes_first_and_its_loss_comes_back(check, rng):
    """step calls the closure once, with gradients on, uses its gradients and returns its loss."""

    def step(optim, start, target):
        p, calls = parameter(start), []
        optimizer = optim.AdamW([p], 0.3, (0.8, 0.9), 0.1, 0.4)

        def closure():
            calls.append(torch.is_grad_enabled())
            optimizer.zero_grad()
            loss = (p - target).square().sum()
            loss.backward()
            return loss.detach()

        losses = [optimizer.step(closure) for _ in range(2)]
        return {"first": losses[0], "second": losses[1], "gradients on": calls, "p": p.detach()}

    check(step, rng.normal(5), rng.normal(5), without=TRAINS)


@pytest.mark.weight(2)
def test_a_loaded_state_dict_goes_on_where_the_other_stopped(check, rng):
    """An optimizer that loads another's state dict makes the same steps from there."""

    def resumed(optim, start, gradients):
        def built(rows, lr):
            groups = [{"params": [rows[0]]}, {"params": [rows[1]], "weight_decay": 0.2}]
            return optim.AdamW(groups, lr, (0.8, 0.9), 0.1, 0.4)

        def steps(optimizer, rows, which):
            given = [[gradients[s, 0], gradients[s, 1] if s else None] for s in which]
            return walk(optimizer, rows, given)

        rows = [parameter(row) for row in start]
        optimizer = built(rows, 0.3)
        steps(optimizer, rows, range(3))
        saved = copy.deepcopy(optimizer.state_dict())
        copies = [parameter(p.detach()) for p in rows]
        other = built(copies, 5.0)
        other.load_state_dict(saved)
        again, straight = steps(other, copies, (3, 4)), steps(optimizer, rows, (3, 4))
        return {
            "first parameter, resumed": again[0],
            "second parameter, resumed": again[1],
            "first parameter, straight on": straight[0],
            "second parameter, straight on": straight[1],
        }

    check(resumed, rng.normal(2, 4), rng.normal(5, 2, 4), double=True, without=TRAINS)


def test_moments_have_the_dtype_of_their_parameter(check, rng):
    """m and v are kept in the dtype of their parameter, whichever that is."""

    def dtypes(optim, start, gradient):
        found = {}
        for dtype in (torch.bfloat16, torch.float32, torch.float64):
            p = parameter(start.to(dtype))
            optimizer = optim.AdamW([p], 0.3, (0.8, 0.9), 0.1, 0.4)
            p.grad = gradient.to(dtype)
            optimizer.step()
            kept = [t for t in tensors_in(optimizer.state_dict()) if t.numel() >= p.numel()]
            found[f"moments of a {dtype} parameter"] = sorted({str(t.dtype) for t in kept})
            found[f"{dtype} parameter"] = str(p.dtype)
            found[f"{dtype} parameter after a step"] = in_default_dtype(p.detach())
        return found

    check(dtypes, rng.normal(6), rng.normal(6), without=TRAINS)


@pytest.mark.weight(2)
def test_steps_in_half_precision(check, rng):
    """In bfloat16 and float16 p, m and v are rounded, but neither t nor the bias correction is."""

    def steps(optim, start, gradients):
        p = parameter(start)
        (path,) = walk(
            optim.AdamW([p], 0.2, (0.9, 0.999), 0.01, 0.0), [p], [[g] for g in gradients]
        )
        return {"p after every step": path}

    # The v of a tiny gradient has few digits in float16, and a p beside a power of 2 rounds worst.
    signs = rng.integers(0, 2, 2, 9, 16) * 2.0 - 1
    start = rng.uniform(9, 16, low=-1.6, high=1.6)
    start[0, 0] = 3.5
    check(
        steps,
        start,
        signs * rng.uniform(2, 9, 16, low=0.4, high=2.5),
        half=("start", "gradients"),
        without=TRAINS,
    )


def test_many_steps_in_half_precision_are_all_counted(check, rng):
    """A bfloat16 parameter counts its steps beyond 256, where bfloat16 cannot count on."""

    def step(optim, gradients, many):
        p, resumed = (parameter(torch.zeros_like(gradients, dtype=torch.bfloat16)) for _ in "12")
        optimizer = optim.AdamW([p], 0.2, (SLOW, 0.5), 1e-8, 0.3)
        stand_still(optimizer, p, many)
        saved = copy.deepcopy(optimizer.state_dict())
        other = optim.AdamW([resumed], 5.0)
        other.load_state_dict(saved)
        stand_still(other, resumed, MORE)
        return {
            "steps counted": steps_counted(optimizer, p, gradients),
            "steps counted, resumed": steps_counted(other, resumed, gradients),
        }

    check(step, rng.normal(5, offset=3.0), int(rng.integers(4, 8)) * 100 - 1, without=TRAINS)


def stand_still(optimizer, p, steps):
    """Steps that are counted, but lead nowhere from 0."""
    p.grad = torch.zeros_like(p)
    for _ in range(steps):
        optimizer.step()


def steps_counted(optimizer, p, gradients):
    """How many steps the first one away from 0 speaks of, to the next hundred.

    It is as long as lr · (1 - SLOW) · sqrt(2) / (1 - SLOW^t), which bfloat16 rounds to 1 % or so.
    """
    p.grad = gradients.to(p.dtype)
    optimizer.step()
    length = float(p.detach().abs().float().median())
    corrected = 0.2 * (1 - SLOW) * math.sqrt(2) / length if length else 1.0
    steps = math.log1p(-corrected) / math.log(SLOW) if 0 < corrected < 1 else 0
    return round(steps / 100) * 100


def test_parameters_of_two_or_more_dimensions_decay(check, rng):
    """Matrices, embeddings and larger tensors decay; vectors and scalars do not."""

    def groups(optim, shapes):
        return {"groups": groups_of(optim, modules(shapes), 0.25)}

    shapes = {}
    turn = int(rng.integers(0, 3))
    for i, owner in enumerate(("embed", "proj", "norm", "attention", "conv")):
        for j, name in enumerate(("weight", "bias", "gain")):
            # Every name has one dimension in one module and more in another.
            shapes[f"{owner}.{name}"] = sizes(rng, (1, 2, 3)[(turn + i + j) % 3])
    shapes["attention.temperature"] = ()
    check(groups, {name: shapes[name] for name in shuffled(rng, list(shapes))})


def test_groups_of_torchs_own_modules(check, rng):
    """Weights of Linear and Embedding decay; those of LayerNorm and all their biases do not."""

    def groups(optim, kinds):
        model = torch.nn.Module()
        for number, (kind, size, other) in enumerate(kinds):
            layer = {
                "linear": lambda size=size, other=other: torch.nn.Linear(size, other),
                "embedding": lambda size=size, other=other: torch.nn.Embedding(size, other),
                "norm": lambda size=size: torch.nn.LayerNorm(size),
            }[kind]()
            model.add_module(f"layer{number}", layer)
        return {"groups": groups_of(optim, model, 0.25)}

    kinds = shuffled(rng, ["linear", "linear", "embedding", "embedding", "norm", "norm", "linear"])
    check(groups, [(kind, *sizes(rng, 2)) for kind in kinds], draws=True)


def test_frozen_parameters_are_left_out_and_tied_ones_come_once(check, rng):
    """A frozen parameter is in neither group, and a tied one is in its group only once."""

    def groups(optim, shapes, frozen, tied):
        model = modules(shapes)
        for path in frozen:
            model.get_parameter(path).requires_grad_(False)
        model.add_module("head", torch.nn.Module())
        for name, path in tied.items():
            setattr(model.head, name, model.get_parameter(path))
        return {"groups": groups_of(optim, model, 0.5)}

    matrices = shuffled(rng, ["embed.weight", "proj.weight", "base.weight", "gate.weight"])
    vectors = shuffled(rng, ["embed.scale", "proj.bias", "base.bias", "gate.scale"])
    shapes = {path: sizes(rng, 2) for path in matrices} | {path: sizes(rng, 1) for path in vectors}
    tied = {"weight": matrices[0], "norm": vectors[0]}
    check(groups, shapes, [matrices[1], vectors[1]], tied)


@pytest.mark.weight(2)
def test_all_gradients_are_clipped_by_one_global_norm(check, rng):
    """All gradients are multiplied, in place, by max_norm / norm; the norm of all comes back."""
    across = rng.normal(5, 3).T  # as gradients of a transposed weight lie in memory
    gradients = [rng.normal(3, 5, scale=4.0), rng.normal(7, scale=0.2), rng.normal(2, 2, 3), across]
    check(lambda optim, gradients: clipped(optim, gradients, 1.7), gradients, double=True)


def test_the_norm_of_gradients_in_half_precision(check, rng):
    """The norm of half precision gradients is right even where their squares do not fit."""

    def both(optim, large, small):
        of_large = {f"{name}, large": v for name, v in clipped(optim, large, 1.7).items()}
        of_small = {f"{name}, small": v for name, v in clipped(optim, small, 1e-3).items()}
        return of_large | of_small

    large = [rng.normal(8, 12, scale=400.0), rng.normal(40, scale=300.0)]
    small = [rng.normal(8, 12, scale=3e-4), rng.normal(40, scale=2e-4)]
    check(both, large, small, half=("large", "small"))


def test_small_gradients_are_not_scaled_up(check, rng):
    """Gradients whose norm is below max_norm stay as they are; so do gradients of 0."""

    def small(optim, gradients):
        zeros = [torch.zeros_like(gradient) for gradient in gradients]
        of_zeros = {f"{name} of 0": value for name, value in clipped(optim, zeros, 1.7).items()}
        return clipped(optim, gradients, 1.7) | of_zeros

    check(small, [rng.normal(3, 5, scale=0.1), rng.normal(7, scale=0.05)], double=True)


def test_parameters_may_be_a_generator(check, rng):
    """A generator works; parameters without a gradient are skipped; no gradients give 0."""

    def from_generator(optim, gradients):
        parameters = [parameter(torch.ones_like(gradient)) for gradient in gradients]
        parameters.insert(1, parameter(torch.ones(3)))
        for p, gradient in zip(parameters[::2], gradients, strict=True):
            p.grad = copied(gradient)
        norm = optim.clip_grad_norm_((p for p in parameters), 1.7)
        nothing = optim.clip_grad_norm_(iter(parameters[1:2]), 1.7)
        return {
            "norm": in_default_dtype(norm),
            "first gradient": parameters[0].grad,
            "second gradient": parameters[2].grad,
            "norm of no gradients": in_default_dtype(nothing),
        }

    check(from_generator, [rng.normal(3, 5), rng.normal(7)])


def test_learning_rate_falls_along_a_cosine_to_a_tenth(check, rng):
    """get_lr is lr at step 0, falls along half a cosine wave and ends at lr / 10."""

    def schedule(optim, total, lr, other):
        rates = [optim.get_lr(step, total, lr) for step in range(total + 1)]
        rates += [optim.get_lr(3, 40, other), optim.get_lr(1, 1, other)]
        return torch.tensor(rates, dtype=torch.float64)

    lr, other = rng.uniform(2, low=0.2, high=5.0).tolist()
    check(schedule, int(rng.integers(9, 20)), lr, other)
