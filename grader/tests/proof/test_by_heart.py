"""Points that can be earned without computing anything are counted."""

from dataclasses import replace

import pytest
import torch

from grader.judging.diagnosis import Evidence
from grader.observation.record import Observation, Request
from grader.proof.by_heart import by_heart_problems, constant_tests, digests
from grader.proof.jobs import Fact, Job, TestFact


def evidence(test: str, **outputs: object) -> Evidence:
    """A run whose test looks at the outputs itself."""
    return Evidence(test, Request(lambda module: None, {}), Observation(outputs), None, None)


class TestDigests:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])),
            (torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [2.0]])),
            (torch.tensor([1.0]), torch.tensor([1])),
            ({"a": [1, 2]}, {"a": [1, 3]}),
            ("ValueError", "TypeError"),
        ],
    )
    def test_what_differs_is_told_apart(self, one: object, other: object) -> None:
        assert digests([evidence("t", x=one)]) == digests([evidence("t", x=one)])
        assert digests([evidence("t", x=one)]) != digests([evidence("t", x=other)])

    def test_every_run_of_a_test_counts(self) -> None:
        first, second = evidence("t", x=1), evidence("t", x=2)
        assert digests([first, second]) != digests([first, first])

    def test_inputs_alone_make_no_difference(self) -> None:
        run = evidence("t", x=True)
        asked = replace(run, request=replace(run.request, inputs={"x": torch.ones(3)}))
        assert digests([asked]) == digests([run])


def facts(*seeds: dict[str, str], weights: tuple[int, ...]) -> list[Fact]:
    """Runs of tests whose expectations are given, for each seed."""
    tests = tuple(
        TestFact(name, True, "", "", {}, weight)
        for name, weight in zip(seeds[0], weights, strict=True)
    )
    job = Job("ex02_rope", "expected")
    return [Fact(job, n, 1, False, 1.0, tests, expected=seed) for n, seed in enumerate(seeds)]


class TestConstantTests:
    def test_those_that_are_the_same_under_every_seed(self) -> None:
        found = facts(
            {"t": "a", "u": "a"}, {"t": "a", "u": "a"}, {"t": "a", "u": "b"}, weights=(1, 1)
        )
        assert [test.test for test in constant_tests(found)] == ["t"]

    def test_one_that_asks_nothing_is_constant(self) -> None:
        found = facts({"t": "a"}, {"t": "b"}, weights=(1,))
        silent = [replace(fact, expected={}) for fact in found]
        assert [test.test for test in constant_tests(silent)] == ["t"]

    def test_one_seed_tells_nothing(self) -> None:
        assert constant_tests(facts({"t": "a"}, weights=(1,))) == []

    @pytest.mark.parametrize(("weights", "problems"), [((1, 9), 0), ((2, 9), 1)])
    def test_they_may_carry_a_tenth_of_the_points(
        self, weights: tuple[int, int], problems: int
    ) -> None:
        found = list(
            by_heart_problems(facts({"t": "a", "u": "a"}, {"t": "a", "u": "b"}, weights=weights))
        )
        assert len(found) == problems
        assert all(problem.endswith("learnt by heart: t") and "18%" in problem for problem in found)
