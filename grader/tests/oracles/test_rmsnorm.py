"""ex01's two answers against plain loops, torch's own RMSNorm, autograd and transformers."""

import importlib
import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

DIM = 6


@pytest.fixture(params=["minimind_ref.rmsnorm", "solutions.ex01_rmsnorm"])
def rms(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(10)


def normal(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)


def layer(rms: ModuleType, weight: Tensor, eps: float) -> torch.nn.Module:
    norm: torch.nn.Module = rms.RMSNorm(len(weight), eps).to(weight.dtype)
    norm.load_state_dict({"weight": weight})
    return norm


def root(vector: list[float], eps: float) -> float:
    return math.sqrt(math.fsum(value * value for value in vector) / len(vector) + eps)


def normed_in_loops(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    result = torch.empty(x.shape, dtype=torch.float64)
    rows = zip(x.reshape(-1, len(weight)), result.view(-1, len(weight)), strict=True)
    for row, place in rows:
        below = root(row.tolist(), eps)
        for i, (value, factor) in enumerate(zip(row.tolist(), weight.tolist(), strict=True)):
            place[i] = factor * value / below
    return result


def assert_exact(got: Tensor, expected: Tensor) -> None:
    """Equal but for what float64 rounds."""
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(DIM,), (4, DIM), (2, 3, DIM), (2, 3, 5, DIM), (1, 1, DIM)])
@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_layer_is_the_formula(
    rms: ModuleType, random: torch.Generator, shape: tuple[int, ...], eps: float
) -> None:
    x, weight = normal(random, *shape) + 0.5, normal(random, DIM)
    got = layer(rms, weight, eps)(x)
    assert_exact(got, normed_in_loops(x, weight, eps))
    assert_exact(got, torch.nn.functional.rms_norm(x, (DIM,), weight, eps))


@pytest.mark.parametrize("shape", [(DIM,), (4, DIM), (2, 3, 5, DIM)])
def test_gradients_by_hand_are_finite_differences(
    rms: ModuleType, random: torch.Generator, shape: tuple[int, ...]
) -> None:
    x, weight, grad = normal(random, *shape), normal(random, DIM), normal(random, *shape)

    def loss(x: Tensor, weight: Tensor) -> float:
        return float((normed_in_loops(x, weight, 0.1) * grad).sum())

    for got, at in zip(rms.rms_norm_backward(grad, x, weight, 0.1), (x, weight), strict=True):
        assert got.shape == at.shape
        for index in range(at.numel()):
            step = torch.zeros(at.numel(), dtype=torch.float64)
            step[index] = 1e-6
            step = step.reshape(at.shape)
            ahead = loss(x + step, weight) if at is x else loss(x, weight + step)
            behind = loss(x - step, weight) if at is x else loss(x, weight - step)
            slope = (ahead - behind) / 2e-6
            assert got.flatten()[index].item() == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_gradients_by_hand_are_autograds(rms: ModuleType, random: torch.Generator) -> None:
    x, weight, grad = normal(random, 2, 3, DIM), normal(random, DIM), normal(random, 2, 3, DIM)
    x[0, 1] = 0.0
    norm, leaf = layer(rms, weight, 1e-3), x.clone().requires_grad_()
    expected = torch.autograd.grad(norm(leaf), (leaf, *norm.parameters()), grad)
    for got, want in zip(rms.rms_norm_backward(grad, x, weight, 1e-3), expected, strict=True):
        assert_exact(got, want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(
    rms: ModuleType, random: torch.Generator, dtype: torch.dtype
) -> None:
    """Within half a unit in the last place, also where squares are no float16."""
    weight = normal(random, 40).float()
    for scale in (1e-3, 1.0, 300.0):
        x = (normal(random, 5, 40) * scale).to(dtype)
        got = layer(rms, weight, 1e-8)(x)
        assert got.dtype == dtype
        expected = normed_in_loops(x.double(), weight.double(), 1e-8)
        error = (got.double() - expected).abs()
        assert (error <= 0.5001 * torch.finfo(dtype).eps * expected.abs() + 1e-7).all()


def test_the_layer_is_that_of_qwen3(rms: ModuleType, random: torch.Generator) -> None:
    qwen3 = pytest.importorskip("transformers.models.qwen3.modeling_qwen3")
    weight, x = normal(random, DIM).float(), normal(random, 2, 3, DIM).float()
    theirs = qwen3.Qwen3RMSNorm(DIM, eps=1e-2)
    theirs.load_state_dict({"weight": weight})
    torch.testing.assert_close(layer(rms, weight, 1e-2)(x), theirs(x), rtol=1e-6, atol=1e-6)
