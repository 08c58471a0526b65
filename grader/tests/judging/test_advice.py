"""Everyday errors of Python and torch, as they really happen, and the line that helps with each."""

import textwrap
from typing import Any

import pytest
import torch
from torch.func import functional_call

from grader.judging.comparison import Finding
from grader.judging.failure_text import TestFailure, told
from grader.observation.answer import Answer, Source
from grader.observation.codec import pack_observation, unpack_observation
from grader.observation.context import SHAPES, facts
from grader.observation.kind import Kind
from grader.observation.observe import load, observe
from grader.observation.record import Interruption, Observation, Request

FILE = "/course/exercises/ex99_answer.py"
HEAD = "import numpy as np\nimport torch\nfrom torch import nn\n\n"


def words_for(interruption: Interruption) -> str:
    """What a learner reads of an interruption, below the title."""
    failure = TestFailure(
        "ex99_answer", "t", "It holds", Finding(interruption.kind, (), interruption)
    )
    return "\n".join(told(failure)[1:])


def interruption_of(text: str, scenario: Any, **inputs: Any) -> Interruption:
    """The interruption of a scenario, as it comes out of another process."""
    answer = Answer("answers", Source("ex99_answer", FILE, HEAD + textwrap.dedent(text)))
    module, at_load, _ = load(answer)
    interruption = at_load
    if module is not None:
        interruption = observe(module, Request(scenario, inputs), frozenset({FILE}))[0].interruption
    assert interruption is not None
    sent = unpack_observation(pack_observation(Observation(interruption=interruption)))
    assert sent.interruption == interruption
    return interruption


def words_in(body: str) -> str:
    """The words for a function of two tensors, the first of which requires gradients."""
    text = "def f(x, y):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    inputs = {"x": torch.rand(3, 4), "y": torch.rand(3, 5)}
    return words_for(interruption_of(text, lambda m, x, y: m.f(x.requires_grad_(), y), **inputs))


EVERYDAY = {
    "np.asarray(x)": "stay in torch: numpy has no gradients",
    "x.numpy()": "stay in torch: numpy has no gradients",
    "np.exp(x)": "stay in torch: numpy has no gradients",
    "y.bfloat16().numpy()": "numpy has no bfloat16",
    "x += 1": "do not change a parameter in place",
    "x[0] = 1.0": "do not change a parameter in place",
    "a, b = (x * 1).chunk(2, -1)\na *= 2": "what chunk, split and unbind return",
    "a = x.exp()\na *= 2\na.sum().backward()": "still needs the value that was changed in place",
    "y.sum().backward()": "no gradient leads back from this result",
    "x.sum().backward(retain_graph=False)\nz = x.exp().sum()\nz.backward()\nz.backward()": (
        "backward() frees the graph"
    ),
    "(x * 1).backward()": "backward() starts from one number",
    "torch.autograd.grad(x.sum(), [torch.ones(1, requires_grad=True)])": "does not depend on this",
    "x @ torch.rand(4, 2).bfloat16()": "both sides need the same dtype",
    "nn.Linear(4, 2)(x.double())": "both sides need the same dtype",
    "torch.einsum('ij,jk->ik', x, torch.rand(4, 2).double())": "both sides need the same dtype",
    "torch.zeros(3).index_add_(0, torch.tensor([0]), torch.ones(1).double())": "same dtype",
    "y.to('meta') + y": "need the same device",
    "x + y": "shapes here: x [3, 4], y [3, 5]",
    "x.expand(5, 4)": "sizes are compared from the last axis",
    "x @ y": "shapes here: x [3, 4], y [3, 5]",
    "torch.bmm(x[None], y[None])": "the last size of a must be the second-to-last of b",
    "x.view(5, 5)": "keep the number of elements",
    "x.T.view(12)": "use reshape, or contiguous()",
    "torch.zeros(x.shape[-1] / 2)": "use //, since / gives a float",
    "x.view(3, 2, 4 / 2)": "use //, since / gives a float",
    "range(x.shape[-1] / 2)": "use //, since / gives a float",
    "if y > 0:\n    pass": "neither true nor false",
    "y[torch.rand(3)]": "indices must be whole numbers",
    "a = torch.arange(3)\na /= 2": "cannot take fractions in place",
    "y.masked_fill(y, 0.0)": "a mask must be bool",
    "torch.where(y, y, y)": "a mask must be bool",
    "x.shap": "did you mean shape?",
    "torch.rqsrt(x)": "did you mean rsqrt?",
    "length = 3\nreturn lenght": "did you mean length?",
    "{'weight': x}['wieght']": "KeyError: 'wieght'",
    "sizes = {'weight': x}\nsizes['wieght']": "did you mean weight?",
    "None.shape": "something is None here",
    "torch.relu(None)": "something is None here",
    "a, b = None": "something is None here",
    "torch.relu(np.ones(3))": "stay in torch",
    "import math\nmath.sqrt(y)": "torch.sqrt, torch.exp",
    "x.size[0]": "a method lacks its parentheses",
    "x.numel / 2": "a method lacks its parentheses",
    "torch.cat(x, y)": "as one tuple or list",
}


@pytest.mark.parametrize("body", EVERYDAY)
def test_an_everyday_error_gets_the_line_that_helps(body: str) -> None:
    words = words_in(body)
    assert EVERYDAY[body] in words
    assert len(words.splitlines()) <= 5


def test_torchs_long_words_are_cut() -> None:
    words = words_in("a = x.exp()\na *= 2\na.sum().backward()")
    assert "anomaly" not in words and "version" not in words
    assert "detach().numpy()" not in words_in("x.numpy()")


def test_shapes_come_with_dtypes_where_these_differ() -> None:
    words = words_in("w = y.T.double()\nreturn x @ w")
    assert "shapes here: x float32 [3, 4], w float64 [5, 3]" in words


def test_an_error_that_the_answer_raises_is_left_alone() -> None:
    assert "both sides" not in words_in("raise ValueError('x and y must have the same dtype')")


def test_where_a_tensor_was_changed_in_place_is_looked_up() -> None:
    text = "def f(x):\n    a = x.exp()\n    count = 0\n    count += 1\n    a *= 2\n    return a\n"
    answer = Answer("answers", Source("ex99_answer", FILE, HEAD + text))
    module, _, _ = load(answer)
    assert module is not None
    request = Request(lambda m, x: m.f(x), {"x": torch.ones(3)}, {"result": torch.ones(3)}, ("x",))
    interruption = observe(module, request, frozenset({FILE}))[0].interruption
    assert interruption is not None
    assert words_for(interruption).splitlines()[-1] == f"    {FILE}:9: a *= 2"


def test_another_signature_than_the_stubs_is_named() -> None:
    interruption = interruption_of("def f(x): return x", lambda m, x: m.f(x, 2), x=torch.ones(1))
    assert "keep the stub's signature" in words_for(interruption)
    called_wrongly = interruption_of("def g(x): ...\ndef f(): return g()", lambda m: m.f())
    assert "signature" not in words_for(called_wrongly)


class TestAttributes:
    LAYER = """
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
        def forward(self, x):
            return x * self.{name}
    """

    @pytest.mark.parametrize(
        "name, words", [("wieght", "did you mean weight?"), ("scale", "known names: weight")]
    )
    def test_of_a_layer(self, name: str, words: str) -> None:
        text = textwrap.dedent(self.LAYER).format(name=name)
        interruption = interruption_of(text, lambda m, x: m.Layer()(x), x=torch.ones(3))
        assert words in words_for(interruption)

    def test_a_property_of_the_learners_is_not_run(self) -> None:
        text = """
        class Layer:
            @property
            def wider(self):
                raise SystemExit
            def f(self, x):
                return x + torch.ones(7) * self.wide
        """
        interruption = interruption_of(text, lambda m, x: m.Layer().f(x), x=torch.ones(3))
        assert "did you mean wider?" in words_for(interruption)

    def test_a_function_with_another_name_than_the_stubs(self) -> None:
        interruption = interruption_of("def rotate_halv(x): ...", lambda m: m.rotate_half)
        assert "rotate_halv exists: is it a misspelling?" in words_for(interruption)


def layer(init: str) -> str:
    return f"""
class Layer(nn.Module):
    def __init__(self):
{textwrap.indent(textwrap.dedent(init).strip(), "        ")}

    def forward(self, x):
        return x
"""


WEIGHTS = {"weight": torch.ones(3), "out.weight": torch.ones(2, 3)}
RIGHT = "super().__init__()\nself.weight = nn.Parameter(torch.ones(3))\n"
OUT = "self.out = nn.Linear(3, 2, bias=False)\n"
LAYERS = {
    RIGHT.replace("nn.Parameter(torch.ones(3))", "torch.ones(3)") + OUT: (
        "Layer.weight is a plain tensor, which torch does not train: "
        "write self.weight = nn.Parameter(...)"
    ),
    "super().__init__()\n" + OUT: (
        "Layer has no parameter weight [3]: write self.weight = nn.Parameter(...) in __init__"
    ),
    RIGHT + "self.out = [nn.Linear(3, 2, bias=False)]": (
        "Layer.out is a Python list or dict, where torch finds no parameters: use nn.ModuleList"
    ),
    RIGHT: "Layer has no parameter out.weight [2, 3]: __init__ must set self.out to a layer",
    RIGHT + "self.out = nn.Linear(3, 2)": (
        "Layer has a parameter out.bias, which the exercise does not have: "
        "nn.Linear(..., bias=False)"
    ),
    RIGHT + OUT + "self.more = nn.Parameter(torch.ones(1))": (
        "Layer has a parameter more, which the exercise does not have: remove it"
    ),
    RIGHT + OUT + "self.register_buffer('table', torch.ones(1))": (
        "Layer has a buffer table in its state dict: register_buffer(..., persistent=False)"
    ),
    RIGHT.replace("self.weight", "self.scale") + OUT: (
        "Layer has a parameter scale; the exercise calls it weight"
    ),
    RIGHT.replace("super().__init__()\n", "") + OUT: "write super().__init__() as the first line",
    "self.eps = 1e-5": "write super().__init__() as the first line",
}


@pytest.mark.parametrize("load_weights", ["functional_call", "load_state_dict"])
@pytest.mark.parametrize("init", LAYERS)
def test_weights_that_torch_refuses(init: str, load_weights: str) -> None:
    def called(module: Any, weights: Any) -> Any:
        return functional_call(module.Layer(), weights, (weights["weight"],), strict=True)

    def loaded(module: Any, weights: Any) -> Any:
        return module.Layer().load_state_dict(weights)

    scenario = called if load_weights == "functional_call" else loaded
    words = words_for(interruption_of(layer(init), scenario, weights=WEIGHTS))
    assert LAYERS[init] in words
    assert "key(s)" not in words and "Error(s)" not in words


def test_weights_that_the_answer_itself_loads_are_told_in_torch_s_words() -> None:
    """The names in its own checkpoint may be the wrong ones, not those of the layer."""
    text = layer(RIGHT + OUT) + "\n\ndef loaded():\n    Layer().load_state_dict({})\n"
    words = words_for(interruption_of(text, lambda module: module.loaded()))
    assert "remove it" not in words and "Missing key(s)" in words


def test_two_names_for_one_parameter_are_told_without_torch_s_advice() -> None:
    init = RIGHT + "self.out = nn.Linear(3, 3, bias=False)\nself.up = self.out\n"
    weights = {"weight": torch.ones(3), "out.weight": torch.ones(3, 3)}
    weights["up.weight"] = 2 * weights["out.weight"]
    interruption = interruption_of(
        layer(init),
        lambda m, w: functional_call(m.Layer(), w, (w["weight"],), strict=True),
        w=weights,
    )
    words = words_for(interruption)
    assert "out.weight, up.weight are one and the same parameter" in words
    assert "tie_weights" not in words


def test_a_weight_of_another_shape_is_told_with_both() -> None:
    init = RIGHT + OUT.replace("(3, 2", "(3, 4")
    interruption = interruption_of(
        layer(init), lambda m, weights: m.Layer().load_state_dict(weights), weights=WEIGHTS
    )
    assert (
        words_for(interruption).strip() == "Layer.out.weight has shape [4, 3]; it should be [2, 3]"
    )


def test_many_wrong_names_take_three_lines() -> None:
    weights = {f"w{n}": torch.ones(n) for n in range(9)}
    interruption = interruption_of(
        layer("super().__init__()"), lambda m, w: m.Layer().load_state_dict(w), w=weights
    )
    assert [line.strip()[:25] for line in words_for(interruption).splitlines()] == [
        "Layer has no parameter w0",
        "Layer has no parameter w1",
        "and 7 more",
    ]


class TestWhileTheFileIsImported:
    STUB = "def f(x):\n    raise NotImplementedError\n\n\n"

    def test_a_call_of_a_stub_is_told_with_its_line(self) -> None:
        interruption = interruption_of(self.STUB + "print(f(3))\n", lambda m: m)
        assert interruption.kind == "cannot load"
        assert words_for(interruption).splitlines() == [
            f"  {FILE}:9 calls f while the file is imported, and f is not written yet: "
            'take the line away, or move it under if __name__ == "__main__":',
            f"    {FILE}:9: print(f(3))",
        ]

    def test_a_stub_below_other_calls_is_told_by_its_name(self) -> None:
        interruption = interruption_of(self.STUB + "def g(): return f(1)\ng()\n", lambda m: m)
        assert f"{FILE}:10 calls f while the file is imported, and f is not" in words_for(
            interruption
        )

    def test_another_error_is_told_with_the_line_at_the_top_level(self) -> None:
        text = "def f(x):\n    return g(x)\n\ndef g(x):\n    return x.nothing\n\nprint(f(3))\n"
        words = words_for(interruption_of(text, lambda m: m))
        assert words.startswith(f"  {FILE}:11 calls f while the file is imported: take the line")
        assert "AttributeError: 'int' object has no attribute 'nothing'" in words

    def test_a_line_that_fails_by_itself_is_told_alone(self) -> None:
        words = words_for(interruption_of("x = torch.ones(3).view(2)\n", lambda m: m))
        assert "while the file is imported" not in words
        assert f"{FILE}:5: x = torch.ones(3).view(2)" in words

    def test_what_a_class_is_made_with_belongs_there(self) -> None:
        text = "def f():\n    return 1 / 0\n\nclass A:\n    x = f()\n"
        assert "take the line away" not in words_for(interruption_of(text, lambda m: m))


def test_facts_that_a_process_makes_up_are_shown_in_one_short_line_each() -> None:
    context = "shapes: " + "x" * 300 + "\x1b[2J\n" + "shapes: y\n" * 100_000
    assert len(facts(context, SHAPES)) < 100
    interruption = Interruption(Kind.EXCEPTION, "RuntimeError", "no", context=context)
    assert len(words_for(interruption).splitlines()) < 5
    assert all(
        len(line) < 300 and "\x1b" not in line for line in words_for(interruption).splitlines()
    )
