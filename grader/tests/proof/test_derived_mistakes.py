"""Each derived mistake does wrong what its name says, and everything else right."""

from pathlib import Path
from typing import Any

import pytest
import torch

from grader.observation.answer import Answer, Source
from grader.proof.derived_mistakes import (
    Acted,
    Derived,
    accepted_reasons,
    derived_mistakes,
    load_derived,
    must_act,
)

SOLUTION = Answer(
    "solutions",
    Source(
        "ex99_sample",
        "ex99_sample.py",
        """
import torch
from torch import nn


def scaled(x: torch.Tensor, by: float = 2.0) -> torch.Tensor:
    if x.dim() == 0:
        raise ValueError("x is a number")
    return x * by


def clip_(x: torch.Tensor) -> torch.Tensor:
    return x.clamp_(max=1)


def _helper(x: torch.Tensor) -> torch.Tensor:
    return x


class Layer(nn.Module):
    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 1.001))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight
""",
    ),
    (),
)
X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def loaded(target: str, change: str, argument: str = "") -> tuple[Any, Acted]:
    return load_derived(Derived(target, change, argument), SOLUTION)


def ids() -> set[str]:
    return {derived.id for derived in derived_mistakes(SOLUTION)}


def test_there_are_some_for_every_public_function_and_method() -> None:
    assert {derived.target for derived in derived_mistakes(SOLUTION)} == {
        *("scaled", "clip_", "Layer.__init__", "Layer.forward")
    }
    assert "scaled ignores by" in ids() and "Layer.__init__ has another default for bias" in ids()
    assert "Layer.forward raises in eval mode" in ids()
    assert "scaled raises in eval mode" not in ids()


def test_what_exists_to_change_an_argument_may_do_so() -> None:
    assert "scaled writes into x" in ids()
    assert "clip_ writes into x" not in ids()


@pytest.mark.parametrize("derived", derived_mistakes(SOLUTION), ids=lambda derived: derived.id)
def test_none_acts_before_anything_is_asked(derived: Derived) -> None:
    _, acted = load_derived(derived, SOLUTION)
    assert not acted.yes


def test_one_that_raises_without_a_graph() -> None:
    module, acted = loaded("scaled", "raises under torch.no_grad()")
    assert torch.equal(module.scaled(X), 2 * X) and not acted.yes
    with torch.inference_mode():
        assert torch.equal(module.scaled(X), 2 * X)
    with torch.no_grad(), pytest.raises(RuntimeError):
        module.scaled(X)
    assert acted.yes


@pytest.mark.parametrize(
    ("change", "x", "usual"),
    [
        ("gives something else under torch.inference_mode()", X, False),
        ("gives something else for views", X.T, False),
        ("detaches its result", X.clone().requires_grad_(), True),
        ("rounds its result to bfloat16", X * 1.001, False),
        ("returns a wider dtype", X, False),
    ],
)
def test_others_change_the_result(change: str, x: torch.Tensor, usual: bool) -> None:
    module, acted = loaded("scaled", change)
    with torch.inference_mode("inference" in change):
        result = module.scaled(x)
    assert acted.yes
    right = 2 * x
    same = torch.equal(result, right) and result.dtype == right.dtype
    assert same == usual
    assert result.requires_grad is False or not usual


def test_one_that_keeps_its_first_result() -> None:
    module, acted = loaded("scaled", "keeps its first result")
    assert torch.equal(module.scaled(X), 2 * X)
    assert torch.equal(module.scaled(X[:1]), 2 * X[:1]) and not acted.yes
    assert torch.equal(module.scaled(X + 1), 2 * X) and acted.yes


def test_one_that_returns_the_same_memory() -> None:
    module, acted = loaded("scaled", "returns the same memory every time")
    first = module.scaled(X)
    module.scaled(X + 1)
    assert torch.equal(first, 2 * X + 2) and acted.yes


def test_one_that_cannot_be_used_after_a_refusal() -> None:
    module, _ = loaded("scaled", "gives something else after it has refused an input")
    assert torch.equal(module.scaled(X), 2 * X)
    with pytest.raises(ValueError):
        module.scaled(torch.tensor(1.0))
    assert not torch.equal(module.scaled(X), 2 * X)


def test_one_that_refuses_nothing() -> None:
    module, acted = loaded("scaled", "accepts what it must refuse")
    module.scaled(torch.tensor(1.0))
    assert acted.yes


def test_one_that_writes_into_an_argument() -> None:
    module, _ = loaded("scaled", "writes into {argument}", "x")
    x = X.clone()
    assert torch.equal(module.scaled(x), 2 * X) and not torch.equal(x, X)


def test_one_that_leaves_an_argument_out_of_the_gradient() -> None:
    module, _ = loaded("scaled", "leaves {argument} out of the gradient", "x")
    assert not module.scaled(X.clone().requires_grad_()).requires_grad


def test_ones_about_a_keyword() -> None:
    ignoring, acted = loaded("scaled", "ignores {argument}", "by")
    assert torch.equal(ignoring.scaled(X), 2 * X) and not acted.yes
    assert torch.equal(ignoring.scaled(X, by=3.0), 2 * X) and acted.yes
    other, _ = loaded("scaled", "has another default for {argument}", "by")
    assert torch.equal(other.scaled(X, 3.0), 3 * X)
    assert not torch.equal(other.scaled(X), 2 * X)


def test_one_that_moves_the_generator() -> None:
    module, _ = loaded("scaled", "moves the random generator")
    before = torch.get_rng_state()
    module.scaled(X)
    assert not torch.equal(before, torch.get_rng_state())


def test_ones_about_layers() -> None:
    module, _ = loaded("Layer.forward", "gives something else in eval mode")
    layer = module.Layer(3)
    assert torch.equal(layer(X), X * 1.001) and not torch.equal(layer.eval()(X), X * 1.001)
    module, _ = loaded("Layer.forward", "rounds its parameters to bfloat16")
    layer = module.Layer(3)
    assert torch.equal(layer(X), X) and isinstance(layer.weight, torch.nn.Parameter)


def test_ones_about_copies_and_loading() -> None:
    import copy

    module, _ = loaded("Layer.forward", "gives something else in a deep copy")
    layer = module.Layer(3)
    assert torch.equal(layer(X), X * 1.001)
    assert not torch.equal(copy.deepcopy(layer)(X), X * 1.001)
    module, _ = loaded("Layer.forward", "gives something else after a state dict was loaded")
    layer = module.Layer(3)
    assert torch.equal(layer(X), X * 1.001)
    layer.load_state_dict(module.Layer(3).state_dict())
    assert not torch.equal(layer(X), X * 1.001)


def test_tests_must_come_to_what_a_keyword_does_and_need_not_take_gradients() -> None:
    assert must_act(Derived("scaled", "ignores {argument}", "by"))
    assert not must_act(Derived("scaled", "detaches its result"))


def test_reasons_are_read_by_id(tmp_path: Path) -> None:
    file = tmp_path / "ex99_sample.toml"
    assert accepted_reasons(file) == {}
    file.write_text('[[derived]]\nid = "scaled ignores by"\nreason = "only 2 is passed"\n')
    assert accepted_reasons(file) == {"scaled ignores by": "only 2 is passed"}


PLAIN = Answer(
    "solutions",
    Source(
        "ex99_plain",
        "ex99_plain.py",
        """
class Words:
    def __init__(self, known: list[str]) -> None:
        self.known = set(known)

    def split(self, texts: list[str]) -> list[str]:
        return [word for text in texts for word in text.split()]

    def stream(self, texts: list[str]):
        yield from texts

    def count(self, texts: list[str]) -> int:
        return len(texts)

    def forget(self) -> None:
        self.known = []
""",
    ),
    (),
)


def plain(target: str, change: str, argument: str = "") -> tuple[Any, Acted]:
    return load_derived(Derived(target, change, argument), PLAIN)


def test_lists_and_dicts_can_be_rearranged() -> None:
    names = {derived.id for derived in derived_mistakes(PLAIN)}
    assert {"Words.__init__ rearranges known", "Words.split rearranges texts"} <= names
    module, acted = plain("Words.__init__", "rearranges {argument}", "known")
    known = ["a", "b"]
    module.Words(known)
    assert acted.yes and known != ["a", "b"]


def test_lists_can_be_the_same_ones_every_time() -> None:
    module, acted = plain("Words.split", "returns the same list every time")
    words = module.Words([])
    first, second = words.split(["a b"]), words.split(["c"])
    assert acted.yes and first is second and first == ["c"]


def test_lists_that_were_returned_can_be_kept() -> None:
    module, acted = plain("Words.split", "keeps the list that it returned")
    words = module.Words([])
    words.split(["a b"]).append("?")
    assert words.split(["a b"]) == ["a", "b", "?"] and acted.yes


@pytest.mark.parametrize(
    "how", ["returns the same list every time", "keeps the list that it returned"]
)
def test_an_empty_list_is_nobodys_memory(how: str) -> None:
    """One of no blocks says nothing about a function that returns a list of tensors."""
    module, acted = plain("Words.split", how)
    words = module.Words([])
    words.split([]).append("?")
    assert words.split([]) == [] and not acted.yes


def test_plain_results_can_be_others() -> None:
    change = "gives something else under torch.no_grad()"
    module, acted = plain("Words.split", change)
    streaming, streamed = plain("Words.stream", change)
    counting, counted = plain("Words.count", change)
    with torch.no_grad():
        assert counting.Words([]).count([]) == 1 and counted.yes
        assert module.Words([]).split(["a b"]) == ["a?", "b?"] and acted.yes
        assert list(streaming.Words([]).stream(["a"])) == ["a?"] and streamed.yes


def test_where_nothing_is_returned_nothing_else_can_be() -> None:
    module, acted = plain("Words.forget", "gives something else under torch.no_grad()")
    with torch.no_grad():
        module.Words([]).forget()
    assert not acted.yes


RECORD = Answer(
    "solutions",
    Source(
        "ex99_record",
        "ex99_record.py",
        """
from dataclasses import dataclass
import torch


@dataclass(frozen=True)
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None
    count: int = 1


def forward(x: torch.Tensor) -> Output:
    return Output(2 * x)
""",
    ),
    (),
)


@pytest.mark.parametrize(
    "change",
    ["gives something else under torch.no_grad()", "rounds its result to bfloat16"],
)
def test_what_a_dataclass_holds_is_part_of_the_result(change: str) -> None:
    module, acted = load_derived(Derived("forward", change), RECORD)
    with torch.no_grad():
        output = module.forward(X * 1.001)
    assert acted.yes and output.loss is None and type(output) is module.Output
    assert output.logits.shape == X.shape and not torch.equal(output.logits, 2.002 * X)


def test_a_detached_output_in_a_dataclass_has_no_graph() -> None:
    module, acted = load_derived(Derived("forward", "detaches its result"), RECORD)
    assert not module.forward(X.clone().requires_grad_()).logits.requires_grad and acted.yes
