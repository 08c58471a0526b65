"""ex17 against loops written out in full, on a real little model, with torch's own tools."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from grader.course.answers import solution_of
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.observation.answer import load_answer
from minimind_ref import train_step as reference

Batch = tuple[Tensor, Tensor]


@pytest.fixture(params=["reference", "solution"])
def answer(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "reference":
        return reference
    course = Course.load(ROOT)
    return load_answer(solution_of(course.syllabus.find("ex17_train_step"), course))


class Model(torch.nn.Module):
    """A recurrent model with dropout, a norm and a penalty for large activations."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed = torch.nn.Embedding(13, 6)
        self.core = torch.nn.GRU(6, 8, batch_first=True)
        self.norm = torch.nn.LayerNorm(8)
        self.head = torch.nn.Linear(8, 13)
        self.double()

    def forward(self, input_ids: Tensor, *, labels: Tensor) -> Any:
        hidden = self.norm(self.core(self.embed(input_ids))[0])
        loss = F.cross_entropy(self.head(hidden).flatten(0, 1), labels.flatten())
        return SimpleNamespace(loss=loss, aux_loss=0.1 * hidden.abs().mean())


def batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(1 + i % 3, 2 + i % 4) for i in range(count)]
    draw = [torch.randint(0, 13, (2, *shape), generator=generator) for shape in shapes]
    return [(pair[0], pair[1]) for pair in draw]


def by_hand(model: Model, optimizer: Any, window: list[Batch], lr: float, clip: float) -> Any:
    """One update from one graph of all micro-batches, clipped entry by entry in Python."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    outputs = [model(input_ids, labels=labels) for input_ids, labels in window]
    mean = torch.stack([o.loss + o.aux_loss for o in outputs]).mean()
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(mean, parameters)
    norm = math.sqrt(sum(float(x) ** 2 for g in gradients for x in g.flatten()))
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient * min(1.0, clip / (norm + 1e-6))
    optimizer.step()
    optimizer.zero_grad()
    return mean.item(), norm


def epoch_by_hand(
    model: Model, optimizer: Any, every: list[Batch], size: int, start: int
) -> Iterator[Any]:
    for i, first in enumerate(range(0, len(every), size), start=1):
        wave = 1 + math.cos(math.pi * (start + i) / 9)
        lr = 0.05 * (0.1 + 0.45 * wave)
        yield by_hand(model, optimizer, every[first : first + size], lr, 0.7)


def groups(model: Model) -> list[dict[str, Any]]:
    every = list(model.parameters())
    return [{"params": every[:3], "lr": 3.0}, {"params": every[3:], "weight_decay": 0.0}]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_an_epoch_is_the_loop_written_out(answer: ModuleType, kind: Any, scaled: bool) -> None:
    """8 micro-batches in windows of 3, after 4 earlier updates, in float64."""
    ours, theirs = Model(), Model()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=2) if scaled else None
    epoch = answer.train_epoch(
        ours,
        iter(batches(8)),
        kind(groups(ours), lr=1.0),
        lr=0.05,
        total_steps=9,
        start_step=4,
        accumulation_steps=3,
        grad_clip=0.7,
        scaler=scaler,
    )
    wanted = epoch_by_hand(theirs, kind(groups(theirs), lr=1.0), batches(8), 3, 4)
    for result, (loss, norm) in zip(epoch, wanted, strict=True):
        assert (result.loss, result.grad_norm) == pytest.approx((loss, norm), rel=1e-9)
        assert result.skipped is False
        for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-10)


def test_a_scaler_that_overflows_withholds_until_it_fits(answer: ModuleType) -> None:
    """From a scale beyond float32 downwards: skipped, nothing moves, and at last it steps."""
    model = Model().float()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-20)
    before = [p.detach().clone() for p in model.parameters()]
    while (
        result := answer.train_step(model, batches(2), optimizer, lr=0.1, scaler=scaler)
    ).skipped:
        assert scaler.get_scale() < 2.0**127
        assert all(p.grad is None for p in model.parameters())
        assert all(map(torch.equal, before, model.parameters()))
    assert scaler.get_scale() < 2.0**127
    assert math.isfinite(result.grad_norm)
    assert not any(map(torch.equal, before, model.parameters()))
