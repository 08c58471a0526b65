"""A scenario captures nothing but plain values and functions, however it is wrapped."""

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from grader.judging.inputs import RandomInputs
from grader.judging.scenario import ScenarioError, check_scenario
from minimind_ref.config import MiniMindConfig

TABLE = torch.ones(3)
GENERATOR = torch.Generator()
SIZES = (2, 3)
CONFIG = MiniMindConfig.tiny()


def helper(x: Any) -> Any:
    return math.sqrt(x) + SIZES[0]


def careless(x: Any) -> Any:
    return x + TABLE


def scenarios() -> dict[str, Callable[..., Any]]:
    """Scenarios that must be refused, by what they would bring along."""
    tensor, rng, generator = torch.ones(2), RandomInputs(0, "t"), torch.Generator()
    draw, layer = rng.normal, torch.nn.Linear(2, 2)

    @functools.cache
    def cached() -> Any:
        return tensor

    def default(module: Any, x: Any = tensor) -> Any:
        return x

    def keyword_default(module: Any, *, x: Any = tensor) -> Any:
        return x

    return {
        "a tensor": lambda m: m.f(tensor),
        "a generator": lambda m: m.f(torch.rand(2, generator=generator)),
        "the rng fixture": lambda m: m.f(rng.normal(2)),
        "a method of it": lambda m: m.f(draw(2)),
        "a method of a tensor": functools.partial(lambda add, m: m.f(add(1)), tensor.add),
        "a module with weights": lambda m: m.f(layer),
        "a tensor in a list": (lambda many: lambda m: m.f(many))([1, tensor]),
        "a tensor in a dict": (lambda many: lambda m: m.f(many))({"x": tensor}),
        "a global tensor": lambda m: m.f(TABLE),
        "a global generator, in a nested function": lambda m: [g() for g in [lambda: GENERATOR]],
        "a helper's global": lambda m: careless(m.f()),
        "a helper in a tuple": (lambda many: lambda m: many[0](m))((careless,)),
        "a partial": functools.partial(lambda x, m: m.f(x), tensor),
        "a partial of a helper": functools.partial(careless),
        "a cached helper": lambda m: cached(),
        "a default": default,
        "a keyword's default": keyword_default,
        "a bound method": rng.normal,
    }


@pytest.mark.parametrize("what", scenarios())
def test_what_would_ship_inputs_or_seeds_is_refused(what: str) -> None:
    scenario = scenarios()[what]
    with pytest.raises(ScenarioError, match="the scenario captures"):
        check_scenario(scenario, inputs_for(scenario), ())


def inputs_for(scenario: Callable[..., Any]) -> list[Any]:
    try:
        check_scenario(scenario, (), ())
    except ScenarioError as error:
        if "it was given 0" in str(error):
            return [1]
    return []


def recursive(depth: int) -> int:
    return 0 if depth == 0 else recursive(depth - 1)


def test_plain_values_functions_and_configs_may_be_captured() -> None:
    first, names, dtype = 7, {"q": (1, 2.5)}, torch.bfloat16

    def inner(x: Any) -> Any:
        return inner(x - 1) if x else helper(x)

    def scenario(module: Any, x: Any, *, steps: int = 3) -> Any:
        y = torch.cos(module.f(x, first, **names)).to(dtype)
        y = functools.reduce(lambda a, b: a + b, [y, inner(2), recursive(3)])
        return y, SIZES, CONFIG.hidden_size, math.pi, torch.nn.Linear, len(names), steps

    assert check_scenario(scenario, [torch.ones(1)], ("x",)) == ["x"]


def test_a_refusal_names_what_was_captured_and_what_to_do() -> None:
    table = torch.ones(2)
    with pytest.raises(ScenarioError, match="captures table, a Tensor: pass it as an input"):
        check_scenario(lambda m: m.f(table), [], ())


class TestInputs:
    def test_their_names_are_the_scenario_s(self) -> None:
        assert check_scenario(lambda m, q, k: None, [1, 2], ("k",)) == ["q", "k"]

    @pytest.mark.parametrize("inputs", [[], [1], [1, 2, 3]])
    def test_their_number_must_be_right(self, inputs: list[int]) -> None:
        with pytest.raises(
            ScenarioError, match=rf"takes 2 inputs .*\(q, k\).* given {len(inputs)}"
        ):
            check_scenario(lambda m, q, k: None, inputs, ())

    def test_half_must_name_one_of_them(self) -> None:
        with pytest.raises(ScenarioError, match="has no input 'v'"):
            check_scenario(lambda m, q, k: None, [1, 2], ("q", "v"))
