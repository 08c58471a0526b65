"""The one record: what it comes to, and that it comes back from its JSON as it was."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from grader.observation.kind import Kind
from grader.results.record import ExerciseResult, NamedMistake, TestResult, share
from grader.tests.schemas import validator

TURNED = NamedMistake("turned_back", "the sign is wrong; use sin(-x)")
SCALED = NamedMistake("scaled", "q is scaled; it should not be")
RESULT = ExerciseResult(
    exercise="ex02_rope",
    points=100,
    seed=7,
    profile="light",
    when=1.75e9 + 0.5,
    seconds=0.25,
    file_hash="ab" * 32,
    tests=(
        TestResult("test_02_rope.py::test_one", "One · holds", 2, Kind.PASSED),
        TestResult(
            "test_02_rope.py::test_two", "Two holds", 1, Kind.VALUE, ("  got 1, want 2",), (TURNED,)
        ),
        TestResult("test_02_rope.py::test_three", "Three", 3, Kind.SHAPE, (), (TURNED, SCALED)),
    ),
    flags=("calls torch.roll in line 3",),
    lines=("ex02_rope · Two holds", "  got 1, want 2"),
    details=("    q = float32 [2, 3]",),
    failing=("rotate_half",),
)


class TestWhatItComesTo:
    def test_points_follow_the_weights(self) -> None:
        assert RESULT.share == Fraction(1, 3)
        assert RESULT.earned == Fraction(100, 3)
        assert RESULT.passed == 1
        assert replace(RESULT, tests=()).share == 0
        assert RESULT.share_of(Kind.PASSED, Kind.VALUE) == Fraction(1, 2)

    def test_tests_without_weight_are_worth_nothing(self) -> None:
        assert share([(0, True)]) == 0

    def test_a_mistake_is_made_for_certain_where_no_other_explains_a_test(self) -> None:
        assert RESULT.mistakes == ("turned_back",)
        only_unsure = replace(RESULT, tests=RESULT.tests[2:])
        assert only_unsure.mistakes == ()
        twice = replace(RESULT, tests=RESULT.tests[1:2] * 2)
        assert twice.mistakes == ("turned_back",)

    @pytest.mark.parametrize("kind", Kind)
    def test_what_chance_may_have_made_is_known_by_the_kind(self, kind: Kind) -> None:
        result = replace(RESULT, tests=(*RESULT.tests, TestResult("t", "s", 1, kind)))
        assert result.may_differ_next_time is kind.by_chance
        assert result.is_graded is (kind is not Kind.NOT_GRADED)


class TestJson:
    @pytest.mark.parametrize("verdict", Kind)
    def test_it_comes_back_as_it_was_and_keeps_to_the_schema(self, verdict: Kind) -> None:
        tests = (*RESULT.tests, TestResult("t", "It holds", 1, verdict, ("x",)))
        result = replace(RESULT, tests=tests)
        content = json.loads(json.dumps(result.as_json()))
        back = ExerciseResult.from_json(content)
        assert back == result
        assert back.tests[-1].verdict is verdict  # and no text that is only equal to it
        validator("result")(content)

    def test_it_says_what_follows_from_the_verdicts(self) -> None:
        content: Any = RESULT.as_json()
        assert (content["points"], content["earned"], content["graded"]) == (100, "100/3", True)
        assert [test["passed"] for test in content["tests"]] == [True, False, False]
        assert [test["public"] for test in content["tests"]] == ["passed", "failed", "failed"]
        assert content["tests"][1]["mistakes"] == [
            {"id": "turned_back", "sentence": "the sign is wrong; use sin(-x)"}
        ]

    def test_every_field_is_needed_and_no_other_is_taken(self) -> None:
        """In the record, in a test and in a mistake; by the schema too."""
        validate = validator("result")
        for place in ((), ("tests", 1), ("tests", 1, "mistakes", 0)):
            for name in [*_at(RESULT.as_json(), place), "more"]:
                broken = json.loads(json.dumps(RESULT.as_json()))
                table = _at(broken, place)
                table.pop(name) if name in table else table.update(more=1)
                with pytest.raises(ValueError, match="fields|missing"):
                    ExerciseResult.from_json(broken)
                with pytest.raises(Exception, match="more|required"):
                    validate(broken)

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            *((("when",), value) for value in ("now", float("inf"), float("nan"), -1, True, None)),
            *((("seconds",), value) for value in (None, 1e300)),
            *((("seed",), value) for value in ("0", 1.0, None)),
            *((("points",), value) for value in ("100", -1, True)),
            *((("file_hash",), value) for value in (3, None)),
            *((("lines",), value) for value in ("text", [1], None, {})),
            *((("tests",), value) for value in ("text", [1], None, {}, [[]])),
            *((("tests", 1, "weight"), value) for value in ("2", -1, True, 1.0)),
            *((("tests", 1, "verdict"), value) for value in (None, "all right", ["value"])),
            *((("tests", 1, "message"), value) for value in ("text", [None])),
            *((("tests", 1, "mistakes"), value) for value in (None, ["id"], [{"id": "x"}])),
            ((), []),
            ((), None),
        ],
    )
    def test_what_is_no_record_is_refused(self, place: tuple[Any, ...], value: Any) -> None:
        content: Any = json.loads(json.dumps(RESULT.as_json()))
        if place:
            _at(content, place[:-1])[place[-1]] = value
        else:
            content = value
        with pytest.raises(ValueError):
            ExerciseResult.from_json(content)


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def test_a_record_is_read_without_torch_and_pytest() -> None:
    program = (
        "import sys, grader.results.record, grader.learner.result_cache, grader.learner.history;"
        "print({'torch', 'pytest', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
