"""ex18_checkpoint: facts about saving, loading and going on."""

import contextlib
import os
import random
import tempfile
from pathlib import Path

import numpy
import pytest
import torch

NO_TRAINING = "training needs a graph, and nothing is trained there"
WITHOUT = {"no_grad": NO_TRAINING, "inference": NO_TRAINING}


class Momentum(torch.optim.Optimizer):
    """Descent with momentum, whose state dicts have the form of torch's own.

    Those import 800 modules when they are first used, so that nothing here is theirs.
    """

    def __init__(self, groups, lr=0.1, beta=0.9):
        self.defaults = {"lr": lr, "beta": beta}
        self.state = {}
        groups = list(groups)
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.param_groups = [
            {**self.defaults, **group, "params": list(group["params"])} for group in groups
        ]

    def __setstate__(self, state):
        # torch's own would put a wrapper around `step`, in the class, when a copy is made.
        self.__dict__.update(state)

    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._move(p, group)

    def _move(self, p, group):
        state = self.state.setdefault(p, {"step": 0, "average": torch.zeros_like(p)})
        state["step"] += 1
        state["average"].mul_(group["beta"]).add_(p.grad)
        p.sub_(group["lr"] / state["step"] ** 0.5 * state["average"])

    def zero_grad(self, set_to_none=True):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self):
        numbers, groups = {}, []
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(p, len(numbers))
            groups.append({**group, "params": [numbers[p] for p in group["params"]]})
        state = {numbers[p]: value for p, value in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, saved):
        sizes = [
            [len(group["params"]) for group in g]
            for g in (self.param_groups, saved["param_groups"])
        ]
        if sizes[0] != sizes[1]:
            raise ValueError("loaded state dict has other parameter groups")
        parameters = {}
        for group, other in zip(self.param_groups, saved["param_groups"], strict=True):
            parameters |= dict(zip(other["params"], group["params"], strict=True))
            group.update({key: value for key, value in other.items() if key != "params"})
        self.state = {
            parameters[number]: {
                key: value.clone() if isinstance(value, torch.Tensor) else value
                for key, value in state.items()
            }
            for number, state in saved["state"].items()
        }


def built(parameters, buffers=None, tied=None):
    """A model with tensors of these dotted names; `tied` has further names for some of them."""
    root = torch.nn.Module()
    for name, value in parameters.items():
        owner, last = owner_of(root, name)
        owner.register_parameter(last, torch.nn.Parameter(copied(value)))
    for name, value in (buffers or {}).items():
        owner, last = owner_of(root, name)
        owner.register_buffer(last, copied(value))
    for name, other in (tied or {}).items():
        owner, last = owner_of(root, name)
        owner.register_parameter(last, root.get_parameter(other))
    return root


def owner_of(root, name):
    """The module that holds what a dotted name means, and the last part of the name."""
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, torch.nn.Module())
        root = root._modules[part]
    return root, last


def copied(value):
    return value.detach().clone(memory_format=torch.contiguous_format)


def blank(values):
    """Tensors of the same names, shapes and dtypes with nothing in them."""
    return {name: torch.zeros_like(copied(value)) for name, value in values.items()}


def wrapped(model, *wrappers):
    """A model inside wrappers, the outermost first, each with the name that it gives it."""
    for name in reversed(wrappers):
        outer = torch.nn.Module()
        outer.add_module(name, model)
        model = outer
    return model


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def step_by(model, optimizer, gradients):
    """One step of the optimizer with these gradients of the model's parameters."""
    for name, p in model.named_parameters():
        p.grad = copied(gradients[name])
    optimizer.step()
    optimizer.zero_grad()


@contextlib.contextmanager
def a_folder():
    """An empty folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def seed_generators(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)


@contextlib.contextmanager
def own_generators(seed):
    """The generators, seeded; afterwards they are as they were."""
    kept = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        numpy.random.seed(seed)
        yield
    finally:
        torch.set_rng_state(kept[0])
        random.setstate(kept[1])
        numpy.random.set_state(kept[2])


def draw():
    """What the generators give next. Normal numbers come in pairs: the second one is kept."""
    return {
        "torch": torch.rand(3, dtype=torch.float64),
        "Python": random.random(),
        "Python, normal": random.gauss(0.0, 1.0),
        "NumPy": float(numpy.random.rand()),
        "NumPy, normal": float(numpy.random.randn()),
    }


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)


def how(call):
    """Whether a call raises, in words."""
    try:
        call()
    except NotImplementedError:
        raise
    except Exception:
        return "raises"
    return "raises nothing"


def saved_and_loaded(checkpoint, model, other, optimizer=None, its=None, **options):
    """Save one model and load it into another; what loading returned."""
    with a_folder() as folder:
        first = optimizer or Momentum(model.parameters())
        checkpoint.save_checkpoint(folder / "run.pt", model, first, step=3, **options)
        second = its or Momentum(other.parameters())
        return checkpoint.load_checkpoint(folder / "run.pt", other, second, **options)


def some_weights(rng):
    return {
        "embed.weight": rng.normal(5, 3),
        "blocks.0.norm.weight": rng.normal(3),
        "blocks.0.proj.weight": rng.normal(4, 3),
    }


@pytest.mark.weight(2)
def test_every_tensor_comes_back_as_it_was(check, rng):
    """Parameters and buffers come back in every dtype, bit for bit, from a str and from a Path."""

    def scenario(checkpoint, weights, buffers, step):
        found = {}
        with a_folder() as folder:
            for name, path in {"a str": str(folder / "a.b.pt"), "a Path": folder / "last"}.items():
                model, other = built(weights, buffers), built(blank(weights), blank(buffers))
                for one in (model, other):
                    one.get_parameter("frozen.weight").requires_grad_(False)
                before = weights_of(model)
                optimizer = Momentum(model.parameters())
                checkpoint.save_checkpoint(path, model, optimizer, step=step)
                loaded = checkpoint.load_checkpoint(path, other, Momentum(other.parameters()))
                after = weights_of(other)
                wrong = [key for key in before if not same(before[key], after[key])]
                found[f"step, from {name}"] = loaded
                found[f"not as they were saved, from {name}"] = wrong
                found |= {f"{key}, from {name}": value for key, value in after.items()}
            found["files"] = sorted(os.listdir(folder))
        return found

    weights = {
        "wide.weight": rng.normal(4, 3).double() / 3,
        "plain.weight": rng.normal(3, 5),
        "frozen.weight": rng.normal(2, 3) * 300,
        "brain.weight": rng.normal(2, 6).bfloat16(),
        "narrow.weight": (rng.normal(7) / 3).half(),
    }
    buffers = {
        "norm.running_mean": rng.normal(5),
        "norm.batches": rng.integers(2**33, 2**40, 1)[0],
        "mask": rng.integers(0, 2, 4, 3).bool(),
        "tables.cos": rng.normal(3, 2).double() / 7,
    }
    check(scenario, weights, buffers, int(rng.integers(1000, 99999, 1)))


@pytest.mark.weight(2)
def test_the_optimizer_goes_on(check, rng):
    """The next step of the optimizer is the one that it would have made, in every group."""

    def scenario(checkpoint, weights, gradients):
        def made(values, scale):
            model = built(values)
            first, *rest = model.parameters()
            groups = [{"params": rest, "lr": 0.3 * scale}, {"params": [first], "beta": 0.5 * scale}]
            return model, Momentum(groups, lr=0.1 * scale)

        model, optimizer = made(weights, 1.0)
        for gradient in gradients[:2]:
            step_by(model, optimizer, gradient)
        other, its = made(blank(weights), 0.01)
        saved_and_loaded(checkpoint, model, other, optimizer, its)
        rates = [[group["lr"], group["beta"]] for group in its.param_groups]
        step_by(other, its, gradients[2])
        return weights_of(other) | {"lr and beta of each group": torch.tensor(rates)}

    weights = some_weights(rng)
    gradients = [{name: rng.normal(*w.shape) for name, w in weights.items()} for _ in range(3)]
    check(scenario, weights, gradients)


def test_the_optimizer_s_parameters_stay_the_model_s(check, rng):
    """Loading copies into the model's own parameters, so that the optimizer still moves them."""

    def scenario(checkpoint, weights, gradients):
        model, other = built(weights), built(blank(weights))
        optimizer, its = Momentum(model.parameters()), Momentum(other.parameters())
        parameters = list(other.parameters())
        saved_and_loaded(checkpoint, model, other, optimizer, its)
        found = {f"{name}, loaded": value for name, value in weights_of(other).items()}
        own = zip(parameters, other.parameters(), strict=True)
        found["the model's parameters are the same objects"] = all(a is b for a, b in own)
        step_by(other, its, gradients)
        moved = {f"{name}, after a step": value for name, value in weights_of(other).items()}
        return found | moved

    weights = some_weights(rng)
    check(scenario, weights, {name: rng.normal(*w.shape) for name, w in weights.items()})


@pytest.mark.weight(2)
def test_tied_weights_stay_tied(check, rng):
    """A weight with two names is loaded under both, and is one weight afterwards."""

    def scenario(checkpoint, weights, gradients):
        tied = {"head.weight": "embed.weight"}
        model, other = built(weights, tied=tied), built(blank(weights), tied=tied)
        its = Momentum(other.parameters())
        saved_and_loaded(checkpoint, model, other, None, its)
        loaded = {f"{name}, loaded": value for name, value in weights_of(other).items()}
        one = other.get_parameter("head.weight") is other.get_parameter("embed.weight")
        step_by(other, its, gradients)
        return loaded | weights_of(other) | {"head and embed are one weight": one}

    weights = some_weights(rng)
    check(scenario, weights, {name: rng.normal(*w.shape) for name, w in weights.items()})


@pytest.mark.weight(2)
def test_the_generators_go_on(check, rng):
    """What torch, Python and NumPy draw next is what they would have drawn."""

    def scenario(checkpoint, weights, seed):
        with own_generators(seed), a_folder() as folder:
            draw()
            model = built(weights)
            checkpoint.save_checkpoint(folder / "x", model, Momentum(model.parameters()), step=1)
            seed_generators(seed + 1)
            random.random()
            numpy.random.rand()
            torch.rand(1)
            other = built(blank(weights))
            checkpoint.load_checkpoint(folder / "x", other, Momentum(other.parameters()))
            return draw() | weights_of(other)

    check(scenario, some_weights(rng), int(rng.integers(1, 10**6, 1)))


def test_cuda_generators_go_on(check, rng):
    """The states of CUDA's generators are saved and restored, where there is a CUDA device."""

    def scenario(checkpoint, weights, state):
        set_to = []
        fakes = {
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "get_rng_state_all": lambda: [state.clone()],
            "get_rng_state": lambda *args, **kwargs: state.clone(),
            "set_rng_state_all": lambda states: set_to.extend(states),
            "set_rng_state": lambda new_state, *args, **kwargs: set_to.append(new_state),
        }
        model, other = built(weights), built(blank(weights))
        with own_generators(5), exchanged(torch.cuda, fakes), exchanged(torch.cuda.random, fakes):
            try:
                saved_and_loaded(checkpoint, model, other)
            except NotImplementedError:
                raise
            except Exception as error:
                if "cuda" not in str(error).lower():
                    raise
                # It used the device that is not there: what it does on a real one is not seen.
                set_to, other = [state], model
        return weights_of(other) | {"restored": [torch.as_tensor(s).tolist() for s in set_to]}

    check(scenario, some_weights(rng), rng.integers(0, 255, 16).to(torch.uint8))


@contextlib.contextmanager
def exchanged(owner, functions):
    """Functions of a module replaced for a while, those that it has."""
    kept = {name: getattr(owner, name) for name in functions if hasattr(owner, name)}
    for name in kept:
        setattr(owner, name, functions[name])
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(owner, name, value)


@pytest.mark.weight(2)
def test_saving_changes_nothing(check, rng):
    """Saving draws no random number and leaves model and optimizer as they are."""

    def scenario(checkpoint, weights, gradients, seed):
        found = {}
        for mode in ("training", "eval"):
            with own_generators(seed), a_folder() as folder:
                draw()
                model = built(weights).train(mode == "training")
                optimizer = Momentum(model.parameters())
                step_by(model, optimizer, gradients)
                objects, before = list(model.parameters()), weights_of(model)
                state = [s["average"].clone() for s in optimizer.state.values()]
                path = folder / "x"
                checkpoint.save_checkpoint(path, model, optimizer, step=1)
                after = weights_of(model)
                kept = zip(state, optimizer.state.values(), strict=True)
                other = built(blank(weights)).train(mode == "training")
                numbers = draw()
                changed = [name for name in before if not same(before[name], after[name])]
                own = zip(objects, model.parameters(), strict=True)
                checkpoint.load_checkpoint(path, other, Momentum(other.parameters()))
                seen = {
                    "weights that saving changed": changed,
                    "the parameters are the same objects": all(a is b for a, b in own),
                    "parameters that are no longer trained": [
                        name for name, p in model.named_parameters() if not p.requires_grad
                    ],
                    "the optimizer's state is as it was": all(
                        same(a, b["average"]) for a, b in kept
                    ),
                    "training mode after saving": model.training,
                    "training mode after loading": other.training,
                    **{f"{name}, drawn next": value for name, value in numbers.items()},
                    **{f"{name}, loaded": value for name, value in weights_of(other).items()},
                }
                found |= {f"{key} (in {mode})": value for key, value in seen.items()}
        return found

    weights = some_weights(rng)
    gradients = {name: rng.normal(*w.shape) for name, w in weights.items()}
    check(scenario, weights, gradients, int(rng.integers(1, 10**6, 1)))


def trained(model, optimizer, data, first, steps):
    """Steps of a training with dropout, a shuffled order and noise; the loss of each."""
    losses = []
    for step in range(first, first + steps):
        rows = torch.randperm(len(data))[:3]
        kept = torch.rand(3, data.shape[1], dtype=torch.float64) < 0.7
        weight = model.get_parameter("proj.weight")
        noise = random.gauss(0.0, 0.1) + float(numpy.random.randn()) / 10
        hidden = (data[rows] * kept.to(data.dtype)) @ weight.T + model.get_parameter("proj.bias")
        loss = (hidden.tanh() - noise - data[random.randrange(len(data))][0]).square().mean()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 0.2 / (1 + step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return losses


@pytest.mark.weight(3)
def test_ten_steps_are_four_and_six(check, rng):
    """10 steps = 4 steps, saving, loading in a new process, 6 steps, bit for bit."""

    def scenario(checkpoint, weights, data, seed):
        with own_generators(seed), a_folder() as folder:
            model = built(weights)
            optimizer = Momentum(model.parameters())
            losses = trained(model, optimizer, data, 0, 4)
            checkpoint.save_checkpoint(folder / "run.pt", model, optimizer, step=4)
            losses += trained(model, optimizer, data, 4, 6)
            straight = weights_of(model)
            seed_generators(seed + 7)
            other = built(blank(weights))
            its = Momentum(other.parameters(), lr=9.0)
            first = checkpoint.load_checkpoint(folder / "run.pt", other, its)
            again = trained(other, its, data, first, 6)
        resumed = weights_of(other)
        equal = [bool(a == b) for a, b in zip(losses[4:], again, strict=True)]
        return {
            "steps after loading with the same loss": equal,
            "weights that differ in the end": [
                n for n in resumed if not same(straight[n], resumed[n])
            ],
            "losses after loading": torch.stack(again),
            **resumed,
        }

    weights = {"proj.weight": rng.normal(4, 5), "proj.bias": rng.normal(4)}
    check(scenario, weights, rng.normal(11, 5), int(rng.integers(1, 10**6, 1)), without=WITHOUT)


@pytest.mark.weight(2)
def test_wrappers_do_not_matter(check, rng):
    """module. and _orig_mod. are removed from the front, in any combination, on both sides."""

    def scenario(checkpoint, weights):
        found = {}
        for saving, loading in (
            (["module"], []),
            (["_orig_mod"], []),
            ([], ["module"]),
            ([], ["_orig_mod"]),
            (["module", "_orig_mod"], ["module"]),
            (["_orig_mod", "module"], []),
            (["module"], ["_orig_mod", "module"]),
            ([], ["module", "_orig_mod", "module"]),
            (["_orig_mod", "module", "_orig_mod"], ["module", "_orig_mod"]),
        ):
            inner, other = built(weights), built(blank(weights))
            model, into = wrapped(inner, *saving), wrapped(other, *loading)
            name = f"{'.'.join(saving) or 'bare'} to {'.'.join(loading) or 'bare'}"
            ended = how(lambda one=model, other=into: saved_and_loaded(checkpoint, one, other))
            found[f"loading, {name}"] = ended
            before, after = weights_of(inner), weights_of(other)
            found[f"wrong, {name}"] = [key for key in before if not same(before[key], after[key])]
            found[f"norm.weight, {name}"] = after["norm.weight"]
        return found

    check(scenario, {"norm.weight": rng.normal(3), "blocks.0.proj.weight": rng.normal(4, 3)})


@pytest.mark.weight(2)
def test_prefixes_are_removed_from_the_front_only(check, rng):
    """In the middle of a name, module. and _orig_mod. are a part of it."""

    def scenario(checkpoint, weights):
        found = {}
        for wrappers in ((), ("module",), ("_orig_mod", "module")):
            inner, other = built(weights), built(blank(weights))
            saved_and_loaded(checkpoint, wrapped(inner, *wrappers), other)
            name = ".".join(wrappers) or "bare"
            found |= {f"{key}, from {name}": value for key, value in weights_of(other).items()}
        return found

    names = (
        *("norm.weight", "model.norm.weight", "model.module.weight", "model.weight"),
        *("blocks.0._orig_mod.weight", "blocks.0.weight", "module_list.weight", "list.weight"),
    )
    check(scenario, {name: rng.normal(3) for name in names})


def test_names_that_do_not_fit_are_refused(check, rng):
    """A name that is missing in the file, or that the model does not have, raises an error."""

    def scenario(checkpoint, weights, buffers, more):
        def loading(saved, its, names):
            model, other = built(*saved), built(*its)
            one, two = (Momentum([m.get_parameter(n) for n in names]) for m in (model, other))
            return lambda: saved_and_loaded(checkpoint, model, other, one, two)

        names = list(weights)
        small, large = (weights, buffers), (weights | more, buffers)
        renamed = {("other" if n == names[0] else n): w for n, w in weights.items()}
        other = built(blank(weights), blank(buffers))
        saved_and_loaded(checkpoint, built(*small), other)
        return weights_of(other) | {
            "a parameter that the file has not": how(loading(small, large, names)),
            "a parameter that the model has not": how(loading(large, small, names)),
            "a buffer that the file has not": how(loading((weights, {}), small, names)),
            "a buffer that the model has not": how(loading(small, (weights, {}), names)),
            "another name": how(loading(small, (renamed, buffers), names[1:])),
        }

    check(scenario, some_weights(rng), {"mean": rng.normal(2)}, {"more.weight": rng.normal(2, 2)})


class Payload:
    """What opens a file, if somebody unpickles it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_a_file_is_not_run(check, rng):
    """A file with anything but plain values and tensors is refused, and no code of it is run."""

    def scenario(checkpoint, weights):
        with a_folder() as folder:
            path, marker = folder / "x", folder / "it ran"
            model, other = built(weights), built(blank(weights))
            checkpoint.save_checkpoint(path, model, Momentum(model.parameters()), step=1)
            its = Momentum(other.parameters())
            checkpoint.load_checkpoint(path, other, its)
            loaded = weights_of(other)
            with contextlib.suppress(Exception):
                contents = torch.load(path, weights_only=True)
            if not isinstance(locals().get("contents"), dict):
                contents = {}
            torch.save({**contents, "payload": Payload(marker)}, path)
            ended = how(lambda: checkpoint.load_checkpoint(path, other, its))
            return {"loading": ended, "code of the file was run": marker.exists(), **loaded}

    check(scenario, some_weights(rng))


class Unpicklable:
    """A value that cannot be written into a file."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def broken(model, optimizer, where):
    """Make saving fail: when the state is asked for, or half-way through writing it."""

    def fail(*args, **kwargs):
        raise OSError("it cannot be saved")

    if where == "the model":
        model.state_dict = fail
    elif where == "the optimizer":
        optimizer.state_dict = fail
    else:
        first = next(iter(optimizer.param_groups))
        full = OSError("no space left on the device")
        first["note"] = Unpicklable(full if where == "writing" else TypeError("no pickle"))


def state_of(checkpoint, path, weights):
    """The step that a file has and one of its weights; words, if it cannot be loaded."""
    other = built(blank(weights))
    try:
        step = checkpoint.load_checkpoint(path, other, Momentum(other.parameters()))
    except NotImplementedError:
        raise
    except Exception:
        return "cannot be loaded", torch.zeros(())
    return step, other.get_parameter("embed.weight").detach().sum()


@pytest.mark.weight(2)
def test_a_failed_save_leaves_the_earlier_file(check, rng):
    """If saving fails, the error is raised, the earlier file is intact and nothing else is left."""

    def scenario(checkpoint, weights, later, step):
        found = {}
        for where in ("the model", "the optimizer", "writing", "pickling"):
            with own_generators(1), a_folder() as folder:
                path = folder / "run.pt"
                model = built(weights)
                optimizer = Momentum(model.parameters())
                checkpoint.save_checkpoint(path, model, optimizer, step=step)
                model = built(later)
                optimizer = Momentum(model.parameters())
                broken(model, optimizer, where)
                ended = how(
                    lambda m=model, o=optimizer, p=path: checkpoint.save_checkpoint(p, m, o, step=8)
                )
                files = sorted(os.listdir(folder))
                at, total = state_of(checkpoint, path, weights)
                found |= {
                    f"saving, if {where} fails": ended,
                    f"files, if {where} fails": files,
                    f"step in the file, if {where} fails": at,
                    f"sum of a weight, if {where} fails": total,
                }
        return found

    weights = some_weights(rng)
    later = {name: rng.normal(*w.shape) for name, w in weights.items()}
    check(scenario, weights, later, int(rng.integers(100, 999, 1)))


@contextlib.contextmanager
def watched(path, seen):
    """Note how a file comes to a place, where it is moved there."""
    place = os.path.abspath(path)

    def watching(move):
        def moving(source, target, *args, **kwargs):
            if isinstance(target, (str, os.PathLike)) and os.path.abspath(target) == place:
                if not os.path.abspath(source).startswith(os.path.dirname(place) + os.sep):
                    seen.append("it is moved there from another folder")
                if not os.path.exists(place):
                    seen.append("the earlier file is gone before")
            return move(source, target, *args, **kwargs)

        return moving

    with exchanged(os, {"replace": watching(os.replace), "rename": watching(os.rename)}):
        yield


@pytest.mark.weight(2)
def test_a_file_is_replaced_in_one_step(check, rng):
    """The new file takes the earlier one's place at once; whoever reads that sees it whole."""

    def scenario(checkpoint, weights, later):
        with own_generators(1), a_folder() as folder:
            path, seen = folder / "run.pt", []
            beside = folder / "run.pt.old"
            beside.write_text("another file")
            model = built(weights)
            checkpoint.save_checkpoint(path, model, Momentum(model.parameters()), step=3)
            before = path.read_bytes()
            model = built(later)
            # Windows does not let a file be replaced that is open.
            with (
                open(os.devnull if os.name == "nt" else path, "rb") as earlier,
                watched(path, seen),
            ):
                checkpoint.save_checkpoint(path, model, Momentum(model.parameters()), step=5)
                after = before if os.name == "nt" else earlier.read()
            if after != before:
                seen.append("the earlier file is written into")
            step, total = state_of(checkpoint, path, weights)
            files = sorted(os.listdir(folder))
            return {"how the file is replaced": seen, "files": files, "step": step, "sum": total}

    weights = some_weights(rng)
    check(scenario, weights, {name: rng.normal(*w.shape) for name, w in weights.items()})


@pytest.mark.weight(2)
def test_the_scaler_goes_on(check, rng):
    """The scaler has its scale and its count of steps again; none or a disabled one is fine."""

    def scenario(checkpoint, weights, scale, tracker):
        found = {}
        for name in ("a", "a disabled", "no"):
            model, other = built(weights), built(blank(weights))
            scaler, its = (scaler_with(name, 2.0), scaler_with(name, 64.0))
            if name == "a":
                scaler.load_state_dict(
                    {**scaler.state_dict(), "scale": scale, "_growth_tracker": tracker}
                )
            with own_generators(1), a_folder() as folder:
                optimizer = Momentum(model.parameters())
                given = {} if name == "no" else {"scaler": scaler}
                checkpoint.save_checkpoint(folder / "x", model, optimizer, step=2, **given)
                given = {} if name == "no" else {"scaler": its}
                optimizer = Momentum(other.parameters())
                step = checkpoint.load_checkpoint(folder / "x", other, optimizer, **given)
            found[f"step, with {name} scaler"] = step
            found[f"embed.weight, with {name} scaler"] = weights_of(other)["embed.weight"]
            if name == "a":
                found |= {f"the scaler's {key}": value for key, value in its.state_dict().items()}
        return found

    def scaler_with(name, scale):
        if name == "no":
            return None
        return torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=7, enabled=name == "a")

    scale = float(2.0 ** int(rng.integers(8, 15, 1)))
    check(scenario, some_weights(rng), scale, int(rng.integers(1, 6, 1)))


class Shuffled:
    """A sampler whose order is another one each time, and that counts how often it is asked."""

    def __init__(self, orders):
        self.orders = orders
        self.asked = 0

    def __iter__(self):
        self.asked += 1
        return iter(self.orders[(self.asked - 1) % len(self.orders)])

    def __len__(self):
        return len(self.orders[0])


@pytest.mark.weight(2)
def test_batches_are_skipped_in_every_epoch(check, rng):
    """The first batches are left out each time, the order is read anew, the short last one kept."""

    def scenario(checkpoint, orders):
        found = {}
        for size, skip in ((3, 0), (3, 2), (4, 1), (5, 4), (len(orders[0]), 0), (20, 0), (3, 1)):
            sampler = checkpoint.SkipBatchSampler(Shuffled(orders), size, skip)
            name = f"batches of {size}, {skip} skipped"
            for epoch in ("first", "second", "third"):
                batches = list(sampler)  # kept until the end: each must be a list of its own
                found[f"{name}, {epoch} epoch"] = [list(batch) for batch in batches]
        by_default = checkpoint.SkipBatchSampler(Shuffled(orders), 4)
        found["batches of 4, nothing said of skipping"] = [list(batch) for batch in by_default]
        cut_off = checkpoint.SkipBatchSampler(Shuffled(orders), 2, skip_batches=3)
        next(iter(cut_off))
        found["after an epoch that was cut off"] = [list(batch) for batch in cut_off]
        return found

    orders = [rng.integers(0, 1000, 11).tolist() for _ in range(3)]
    check(scenario, orders)


def test_the_length_is_the_number_of_batches(check, rng):
    """len gives the number of batches that an iteration gives, and 0 if all are skipped."""

    def scenario(checkpoint, order):
        found = {}
        for count in (0, 1, 6, 7, len(order)):
            for size, skip in ((3, 0), (3, 1), (3, 2), (3, 3), (2, 5), (7, 0), (7, 9)):
                sampler = checkpoint.SkipBatchSampler(order[:count], size, skip)
                found[f"{count} indices in batches of {size}, {skip} skipped"] = [
                    len(sampler),
                    [list(batch) for batch in sampler],
                ]
        return found

    check(scenario, rng.integers(0, 1000, int(rng.integers(8, 13, 1))).tolist())
