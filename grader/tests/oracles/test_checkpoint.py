"""Independent oracles for ex18: torch's optimizers, loaders and wrappers, and a killed process."""

import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

import minimind_ref.checkpoint as reference
from grader.course.syllabus import ROOT
from solutions import ex16_optimizer
from solutions import ex18_checkpoint as solution

BOTH = pytest.mark.parametrize("checkpoint", [reference, solution], ids=["reference", "solution"])
SEEDS = range(3)
OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True),
    "ours": lambda p: ex16_optimizer.AdamW(
        p, lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1
    ),
}


@pytest.fixture(autouse=True)
def generators():
    kept = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    yield
    torch.set_rng_state(kept[0])
    random.setstate(kept[1])
    numpy.random.set_state(kept[2])


def seed_all(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)


class Small(torch.nn.Module):
    """Embedding, norm with running statistics, dropout, and a head that is tied."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(13, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.drop = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(8, 13, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.drop(self.norm(self.embed(ids))))


def train(model, optimizer, steps):
    losses = []
    for _ in range(steps):
        ids = torch.randint(13, (6,))
        target = torch.tensor([random.randrange(13) for _ in range(6)])
        loss = torch.nn.functional.cross_entropy(model(ids), target) * (1 + numpy.random.rand())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_are_four_and_six(checkpoint, seed, name, tmp_path):
    seed_all(seed)
    model = Small()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer, 4)
    checkpoint.save_checkpoint(tmp_path / "x.pt", model, optimizer, step=4)
    want = train(model, optimizer, 6)
    seed_all(seed + 100)
    other = Small()
    its = OPTIMIZERS[name](other.parameters())
    train(other, its, seed)  # it need not be fresh
    assert checkpoint.load_checkpoint(str(tmp_path / "x.pt"), other, its) == 4
    assert train(other, its, 6) == want
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    assert other.head.weight is other.embed.weight
    assert os.listdir(tmp_path) == ["x.pt"]


def named_as_compiled(model):
    """A model with the names that torch.compile gives; here nothing is compiled."""
    outer = torch.nn.Module()
    outer.add_module("_orig_mod", model)
    return outer


@BOTH
def test_torch_s_own_wrappers(checkpoint, tmp_path):
    plain, other = Small(), Small()
    compiled = named_as_compiled(plain)
    made = OPTIMIZERS["SGD"]
    checkpoint.save_checkpoint(tmp_path / "x", compiled, made(compiled.parameters()), step=1)
    into = torch.nn.DataParallel(named_as_compiled(other))
    assert next(iter(into.state_dict())).startswith("module._orig_mod.")
    checkpoint.load_checkpoint(tmp_path / "x", into, made(into.parameters()))
    for key, value in plain.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_batches_are_those_of_torch(checkpoint, seed):
    for count, size, skip in ((11, 3, 0), (11, 3, 2), (12, 3, 3), (5, 7, 0), (5, 7, 1), (0, 2, 0)):
        data = list(range(count))

        def sampler(data=data):
            drawn = torch.Generator().manual_seed(seed)
            return RandomSampler(data, generator=drawn) if data else []

        every = BatchSampler(sampler(), size, drop_last=False)
        ours = checkpoint.SkipBatchSampler(sampler(), size, skip)
        for _ in range(3):
            assert list(ours) == list(every)[skip:]
        assert len(ours) == max(0, len(every) - skip)
        loader = DataLoader(data, batch_sampler=checkpoint.SkipBatchSampler(sampler(), size, skip))
        loaded = [batch.tolist() for batch in loader]
        assert loaded == list(BatchSampler(sampler(), size, drop_last=False))[skip:]


@BOTH
def test_resuming_in_the_middle_of_an_epoch(checkpoint, tmp_path):
    """Dropout and the order of the data go on, though the loader is another one."""
    data = torch.arange(23)

    def epochs(model, optimizer, first, count):
        losses = []
        for step in range(first, first + count):
            epoch, batch = divmod(step, 5)
            if batch == 0 or step == first:
                order = torch.randperm(23, generator=torch.Generator().manual_seed(epoch)).tolist()
                skip = checkpoint.SkipBatchSampler(order, 5, batch)
                batches = iter(DataLoader(data, batch_sampler=skip, generator=torch.Generator()))
            ids = next(batches) % 13
            loss = model(ids).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    seed_all(5)
    model = Small()
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    epochs(model, optimizer, 0, 7)
    checkpoint.save_checkpoint(tmp_path / "x", model, optimizer, step=7)
    want = epochs(model, optimizer, 7, 9)
    seed_all(6)
    other = Small()
    its = OPTIMIZERS["AdamW"](other.parameters())
    step = checkpoint.load_checkpoint(tmp_path / "x", other, its)
    assert epochs(other, its, step, 9) == want


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
import torch
import {module} as checkpoint


class Killing:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Optimizer:
    note = None

    def state_dict(self):
        return {{"big": torch.ones(50_000), "note": self.note}}


def killing(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


model, optimizer = torch.nn.Linear(300, 300), Optimizer()
torch.nn.init.constant_(model.weight, 1.0)
checkpoint.save_checkpoint({path!r}, model, optimizer, step=1)
torch.nn.init.constant_(model.weight, 2.0)
if {moment!r} == "while it is written":
    optimizer.note = Killing()
elif {moment!r} == "before it is put in place":
    os.replace = os.rename = killing
checkpoint.save_checkpoint({path!r}, model, optimizer, step=2)
killing()
"""


@BOTH
@pytest.mark.parametrize(
    "moment", ["while it is written", "before it is put in place", "after the save"]
)
def test_a_process_that_is_killed_leaves_a_checkpoint(checkpoint, moment, tmp_path):
    """Killed at any moment: the earlier file is there, or the new one."""
    path = str(tmp_path / "run.pt")
    given = {"root": str(ROOT), "module": checkpoint.__name__, "path": path, "moment": moment}
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED).format(**given)])
    assert ended.returncode == -signal.SIGKILL

    class Nothing:
        def load_state_dict(self, saved):
            assert saved["big"].sum() == 50_000

    model = torch.nn.Linear(300, 300)
    step = checkpoint.load_checkpoint(path, model, Nothing())
    assert step == (2 if moment == "after the save" else 1)
    assert (model.weight == step).all()
    # What the kill left behind does not stand in the way of the next save.
    saved = torch.optim.SGD(model.parameters(), lr=1.0)
    checkpoint.save_checkpoint(path, model, saved, step=9)
    assert checkpoint.load_checkpoint(path, model, saved) == 9


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@BOTH
def test_code_in_a_checkpoint_is_refused(checkpoint, tmp_path):
    model = Small()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    checkpoint.save_checkpoint(tmp_path / "x", model, optimizer, step=1)
    contents = torch.load(tmp_path / "x", weights_only=True)
    torch.save({**contents, "more": Payload(str(tmp_path / "ran"))}, tmp_path / "x")
    with pytest.raises(Exception, match="[Ww]eights only|Unsupported"):
        checkpoint.load_checkpoint(tmp_path / "x", model, optimizer)
    assert not (tmp_path / "ran").exists()
