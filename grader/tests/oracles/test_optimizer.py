"""ex16 against torch: its AdamW, its clipping, its scan for bans."""

from __future__ import annotations

import copy
import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from grader.course.answers import solution_of
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.observation.answer import load_answer
from grader.observation.bans import scan_source
from minimind_ref import optimizer as reference

EXERCISE = load(ROOT).find("ex16_optimizer")
STEPS = 200


@pytest.fixture(params=["reference", "solution"])
def answer(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "reference":
        return reference
    return load_answer(solution_of(EXERCISE, Course.load(ROOT)))


def start(seed: int = 0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (3, 4), (5,), (), (2, 3, 2)
    made = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    return [torch.nn.Parameter(value) for value in made]


def groups(parameters: list[torch.nn.Parameter]) -> list[dict[str, object]]:
    own = {"lr": 0.02, "betas": (0.7, 0.99), "eps": 1e-3, "weight_decay": 0.3}
    return [{"params": parameters[:2]}, {"params": parameters[2:], **own}]


def steps(optimizer: torch.optim.Optimizer, numbers: range) -> None:
    """Steps with changing learning rates; every parameter but the first sits some out."""
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 + math.sin(number))
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for index, p in enumerate(parameters):
            gradient = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            p.grad = None if index and number % (index + 2) == 1 else gradient * 10.0 ** (-index)
        optimizer.step()


def assert_equal(ours: list[torch.nn.Parameter], theirs: list[torch.nn.Parameter]) -> None:
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-13)


def test_it_walks_with_torchs_adamw(answer: ModuleType) -> None:
    """200 steps in float64, with groups, schedules and missing gradients."""
    ours, theirs = start(), start()
    steps(answer.AdamW(groups(ours), weight_decay=0.1), range(STEPS))
    steps(torch.optim.AdamW(groups(theirs), weight_decay=0.1), range(STEPS))
    assert_equal(ours, theirs)


@pytest.mark.parametrize("ours_first", [True, False])
def test_state_dicts_move_to_and_from_torchs_adamw(answer: ModuleType, ours_first: bool) -> None:
    """Half the steps by one of them, the state dict handed over, the rest by the other."""
    makers = [answer.AdamW, torch.optim.AdamW][:: 1 if ours_first else -1]
    moved, straight = start(), start()
    steps(torch.optim.AdamW(groups(straight), weight_decay=0.1), range(STEPS))
    first = makers[0](groups(moved), weight_decay=0.1)
    steps(first, range(STEPS // 2))
    second = makers[1](groups(moved), weight_decay=0.1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(second, range(STEPS // 2, STEPS))
    assert_equal(moved, straight)


def test_defaults_are_torchs(answer: ModuleType) -> None:
    p = start()
    torchs = torch.optim.AdamW(p).defaults
    for name, value in answer.AdamW(p).defaults.items():
        assert torchs[name] == value


@pytest.mark.parametrize("max_norm", [0.3, 4.0, 1e9])
def test_it_clips_as_torch_does(answer: ModuleType, max_norm: float) -> None:
    ours, theirs = start(), start()
    for left, right in zip(ours[:-1], theirs[:-1], strict=True):
        left.grad, right.grad = 3 * left.detach(), 3 * right.detach()
    norm: Tensor = answer.clip_grad_norm_(iter(ours), max_norm)
    squares = [float(x) ** 2 for p in theirs[:-1] for x in 3 * p.detach().flatten()]
    brute = math.sqrt(sum(squares))
    wanted = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    assert norm.shape == () and float(norm) == pytest.approx(brute, rel=1e-14)
    torch.testing.assert_close(norm, wanted, rtol=1e-13, atol=0)
    for left, right in zip(ours[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-13, atol=0)


def test_the_schedule_is_torchs_cosine(answer: ModuleType) -> None:
    """Cosine annealing to a tenth, step by step."""
    plain = torch.optim.SGD(start(), lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(plain, 30, eta_min=0.04)
    for step in range(31):
        assert answer.get_lr(step, 30, 0.4) == pytest.approx(plain.param_groups[0]["lr"], rel=1e-12)
        plain.step()
        schedule.step()


def test_groups_hold_what_trains_once(answer: ModuleType) -> None:
    """On a model with norms, biases, tied and frozen weights."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16)
    embedding, head = torch.nn.Embedding(11, 8), torch.nn.Linear(8, 11)
    head.weight = embedding.weight
    model = torch.nn.ModuleList([embedding, layer, head])
    layer.linear1.requires_grad_(False)
    found = {g["weight_decay"]: g["params"] for g in answer.decay_groups(model, 0.2)}
    trained = [p for p in model.parameters() if p.requires_grad]
    assert {id(p) for p in found[0.2]} == {id(p) for p in trained if p.dim() > 1}
    assert {id(p) for p in found[0.0]} == {id(p) for p in trained if p.dim() < 2}
    assert sum(map(len, found.values())) == len(trained)


@pytest.mark.parametrize(
    ("source", "banned"),
    [
        ("class AdamW(torch.optim.Optimizer):\n    pass", False),
        ("from torch.optim import Optimizer\nclass AdamW(Optimizer):\n    pass", False),
        ("AdamW = torch.optim.AdamW", True),
        ("from torch.optim import AdamW as X\nclass AdamW(X):\n    pass", True),
        ("from torch.optim import _functional as f\nstep = f.adamw", True),
        ("from torch.optim.adamw import adamw as step\nstep()", True),
        ("torch.optim.adamw.adamw([], [], [], [], [], [])", True),
        ("torch.ops.aten._fused_adamw_([], [], [], [], [], [])", True),
        ("clip = torch.nn.utils.clip_grad_norm_", True),
        ("from torch.nn.utils.clip_grad import clip_grad_norm_", True),
        ("torch.nn.utils.clip_grad_value_([], 1.0)", False),
        ("def clip_grad_norm_(parameters, max_norm):\n    return parameters", False),
    ],
)
def test_bans_cover_torchs_optimizers_and_not_the_base_class(source: str, banned: bool) -> None:
    assert bool(scan_source(f"import torch\n{source}", EXERCISE.bans)) == banned
