"""Each condition finds the answer that forgets it, is named, and refuses no right answer."""

import dataclasses
import textwrap
from types import ModuleType

import pytest
import torch

from grader.judging.comparison import judge
from grader.judging.conditions import chosen, described, expected_under, same_under, singly
from grader.judging.expectation import Expectation, Precision, ReferenceRun
from grader.judging.inputs import RandomInputs
from grader.observation.conditions import Condition, as_view
from grader.observation.observe import observe
from grader.observation.record import Request

RIGHT = """
class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        if x.shape[-1] != len(self.weight):
            raise ValueError("x has another width")
        return x * self.weight


class Store:
    def __init__(self, size):
        self.rows = torch.zeros(size)

    def put(self, x):
        self.rows[: len(x)] = x[:, 0]
        return self.rows[: len(x)]
"""


def changed(old: str, new: str) -> str:
    assert old in RIGHT
    return RIGHT.replace(old, new)


WRONG = {
    Condition.EVAL: changed("x * self.weight", "x * self.weight * (1 + (not self.training))"),
    Condition.NO_GRAD: changed(
        "        return x *",
        "        torch.is_grad_enabled() or torch.is_inference_mode_enabled() or 1 / 0\n"
        "        return x *",
    ),
    Condition.INFERENCE: changed(
        "        return x *",
        "        torch.is_inference_mode_enabled() and 1 / 0\n        return x *",
    ),
    Condition.VIEWS: changed("return x *", "return x.view(-1).view(x.shape) *"),
    Condition.AGAIN: changed(
        "        return x * self.weight",
        "        if not hasattr(self, 'first'):\n"
        "            self.first = x * self.weight\n"
        "        return self.first",
    ),
    Condition.ANOTHER: changed(
        "        self.rows = torch.zeros(size)", "        self.rows = vars(Store).get('memory')"
    )
    + "    memory = torch.zeros(9)\n",
    Condition.REFUSED: changed(
        "        if x.shape",
        "        self.calls = getattr(self, 'calls', 0) + 1\n        if x.shape",
    ).replace("return x *", "self.calls -= 1\n        return (1 + self.calls) * x *"),
    Condition.COPIED: changed(
        "        super().__init__()",
        "        super().__init__()\n        self.scale = lambda: self.weight",
    ).replace("x * self.weight", "x * self.scale()"),
    Condition.LOADED: changed(
        "nn.Parameter(torch.ones(width))",
        "nn.Parameter(torch.ones(width))\n        self.extra = torch.rand(width)",
    ).replace("x * self.weight", "x * self.weight * self.extra / self.extra"),
}


def module(text: str) -> ModuleType:
    made = ModuleType("answer")
    made.__file__ = "answer.py"
    exec(f"import torch\nfrom torch import nn\n{textwrap.dedent(text)}", vars(made))
    return made


def with_layer(answer, x, weight):
    layer = answer.Layer(len(weight))
    layer.weight.data = weight.detach().clone()
    return {"y": layer(x)}


def with_store(answer, x, weight):
    store = answer.Store(9)
    return {"kept": store.put(x)}


def asked(condition: Condition | None = None) -> tuple[Request, Expectation]:
    inputs = RandomInputs(3, "conditions")
    scenario = with_store if condition is Condition.ANOTHER else with_layer
    given = {"x": inputs.normal(5, 4), "weight": inputs.normal(4)}
    request = Request(scenario, given, draws=True, differentiate=("x",))
    expecting = ReferenceRun(module(RIGHT), request, inputs.like)
    want = expecting.complete(Precision(torch.float32))
    return Request(scenario, given, expecting.cotangents, ("x",), draws=True), want


def finding(answer: ModuleType, condition: Condition):
    request, want = asked(condition)
    possible = expected_under(module(RIGHT), request, want, frozenset({condition}))
    assert possible is not None
    seen, _ = observe(answer, possible[0], frozenset({"answer.py"}))
    return judge(seen, possible[1])


@pytest.mark.parametrize("condition", Condition)
def test_a_right_answer_stands_it(condition: Condition) -> None:
    assert finding(module(RIGHT), condition) is None


@pytest.mark.parametrize("condition", [c for c in WRONG if c is not Condition.LOADED])
def test_it_finds_the_answer_that_forgets_it(condition: Condition) -> None:
    """And a plain run does not: that is why it is there."""
    answer = module(WRONG[condition])
    request, want = asked(condition)
    seen, _ = observe(answer, request, frozenset({"answer.py"}))
    assert judge(seen, want) is None
    assert finding(answer, condition) is not None


def test_a_layer_that_does_not_load_what_it_saves_is_found() -> None:
    """A new layer of its kind draws the same numbers, so that only what is lost can differ."""
    text = RIGHT.replace("torch.ones(width)", "torch.rand(width)")
    lossy = text.replace(
        "        return x *",
        "        x = x + getattr(self, 'moved', 0)\n        return x *",
    ).replace(
        "    def forward",
        "    def load_state_dict(self, state):\n        self.moved = 1\n\n    def forward",
    )
    assert finding(module(text), Condition.LOADED) is None
    assert finding(module(lossy), Condition.LOADED) is not None


def test_what_the_reference_refuses_is_not_asked() -> None:
    """Gradients that a scenario takes by itself cannot be taken without a graph."""

    def by_itself(answer, x):
        x = x.detach().requires_grad_()
        answer.Layer(4)(x).sum().backward()
        return {"gradient": x.grad}

    inputs = RandomInputs(3, "conditions")
    request = Request(by_itself, {"x": inputs.normal(5, 4)}, draws=True)
    want = ReferenceRun(module(RIGHT), request, inputs.like).complete(Precision(torch.float32))
    conditions = frozenset({Condition.NO_GRAD, Condition.EVAL})
    possible = expected_under(module(RIGHT), request, want, conditions)
    assert possible is not None and possible[0].conditions == {Condition.EVAL}
    assert expected_under(module(RIGHT), request, want, frozenset({Condition.NO_GRAD})) is None


def test_what_the_reference_does_otherwise_an_answer_may_do_otherwise() -> None:
    silent = RIGHT.replace("x * self.weight", "x * self.weight * self.training")
    request, want = asked()
    possible = expected_under(module(silent), request, want, frozenset({Condition.EVAL}))
    assert possible is not None
    for text, right in ((silent, True), (RIGHT, False)):
        seen, _ = observe(module(text), possible[0], frozenset({"answer.py"}))
        assert (judge(seen, possible[1]) is None) == right


@pytest.mark.parametrize("condition", Condition)
def test_what_a_property_is_about_must_not_change_either(condition: Condition) -> None:
    request = dataclasses.replace(asked(condition)[0], cotangents=None)
    seen, _ = observe(module(RIGHT), request, frozenset())
    again, expected = same_under(request, seen, frozenset({condition}))
    for text, right in ((RIGHT, True), (WRONG[condition], condition is Condition.LOADED)):
        repeated, _ = observe(module(text), again, frozenset({"answer.py"}))
        assert (judge(repeated, expected) is None) == right


class TestChoice:
    @pytest.mark.parametrize("start", range(27))
    def test_three_tests_on_end_meet_every_condition(self, start: int) -> None:
        """So does each function that three tests ask for, with every seed."""
        for turn in range(3):
            assert {c for n in range(3) for c in chosen(start, turn + n, {})} == set(Condition)

    def test_they_come_in_all_company(self) -> None:
        assert len({chosen(start, 0, {}) for start in range(27)}) == 27

    def test_one_that_is_ruled_out_is_left_out(self) -> None:
        assert Condition.EVAL in chosen(0, 0, {})
        assert Condition.EVAL not in chosen(0, 0, {"eval": "the loss is 0 there"})

    def test_a_name_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="evil"):
            chosen(0, 0, {"evil": "a slip"})

    def test_they_are_tried_singly_before_they_are_named_together(self) -> None:
        both = frozenset({Condition.EVAL, Condition.NO_GRAD})
        assert [described(tried) for tried in singly(both)] == [
            "in eval mode",
            "under torch.no_grad()",
            "in eval mode and under torch.no_grad()",
        ]


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (2, 3, 4), (2, 3, 4, 6), (0, 3), (3, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.int64])
def test_a_view_holds_the_same_numbers_and_begins_elsewhere(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    value = torch.ones(shape, dtype=dtype) * 3
    view = as_view(value)
    assert torch.equal(view, value) and view.dtype == dtype
    assert view.storage_offset() > 0
    if dtype.is_floating_point and value.numel() > 1 and len(shape) and shape != (1,):
        assert not view.is_contiguous()


def test_a_tolerance_for_each_row_is_one_for_each_element() -> None:
    """Or no condition would be asked of what has a tolerance that the contract gives."""
    inputs = RandomInputs(3, "conditions")
    request = Request(lambda answer, x: answer.Layer(4)(x), {"x": inputs.normal(5, 4)}, draws=True)
    rows = torch.full((5, 1), 1e-3)
    expecting = ReferenceRun(module(RIGHT), request, inputs.like)
    want = expecting.complete(Precision(torch.float32), {"result": rows})
    assert expected_under(module(RIGHT), request, want, frozenset({Condition.NO_GRAD})) is not None
