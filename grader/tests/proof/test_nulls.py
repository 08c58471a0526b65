"""Null answers have the form of a solution's outputs and nothing else of it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from grader.observation.answer import Answer, Source
from grader.proof.nulls import NULLS, load_null

SOLUTION = Answer(
    "solutions",
    Source(
        "ex99_sample",
        "/course/solutions/ex99_sample.py",
        """
import torch


def scaled(x):
    if x is None:
        raise ValueError("x is None")
    return 2.0 * x


def counted(x):
    return {"count": len(x), "both": (x, [x.long()])}


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x):
        return scaled(x) * self.weight
""",
    ),
)

X = torch.tensor([0.5, 3.0])


def null(kind: str) -> Any:
    return load_null(kind, SOLUTION)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("zeros", [0, 0]), ("ones", [1, 1]), ("half", [0.5, 0.5]), ("input", [0.5, 3.0])],
)
def test_outputs_have_the_form_and_nothing_else(kind: str, values: list[float]) -> None:
    out = null(kind).scaled(X)
    assert out.tolist() == values
    assert out.dtype == torch.float32


def test_random_ones_are_random() -> None:
    first, second = (null("random").scaled(X) for _ in range(2))
    assert first.shape == (2,)
    assert not torch.equal(first, second)


def test_nothing_is_none() -> None:
    assert null("nothing").scaled(X) is None


@pytest.mark.parametrize("kind", [kind for kind in NULLS if kind != "nothing"])
def test_nested_outputs_keep_their_form(kind: str) -> None:
    out = null(kind).counted(X)
    whole, (longs,) = out["both"]
    assert out["count"] == 2
    assert (whole.shape, longs.shape) == ((2,), (2,))
    assert (whole.dtype, longs.dtype) == (torch.float32, torch.int64)


def test_a_layer_s_forward_does_no_work() -> None:
    layer = null("ones").Layer()
    assert layer(X).tolist() == [1.0, 1.0]
    assert isinstance(layer.weight, Tensor)


def test_what_the_solution_refuses_is_accepted() -> None:
    assert null("zeros").scaled(None) is None


def test_arguments_are_left_alone() -> None:
    x = X.clone()
    null("zeros").scaled(x)
    assert torch.equal(x, X)


PLAIN = Answer(
    "solutions",
    Source(
        "ex99_plain",
        "/course/solutions/ex99_plain.py",
        """
def counted(text):
    return {7: text, "all": [(len(text), text.encode())]}


def streamed(text):
    yield from text
""",
    ),
)


@pytest.mark.parametrize("kind", NULLS)
def test_plain_values_are_emptied_too(kind: str) -> None:
    module = load_null(kind, PLAIN)
    number = int(kind == "ones")
    wanted = {"input": "ab", "nothing": None}
    assert module.counted("ab") == wanted.get(kind, {7: "", "all": [(number, b"")]})
    if kind not in wanted:
        assert list(module.streamed("ab")) == ["", ""]
