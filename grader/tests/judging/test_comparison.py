"""The first thing wrong is the finding, and right answers have none."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from grader.judging.comparison import Margins, errors, excess, judge, side_effects
from grader.judging.expectation import CostLimits, Expectation, Tolerance
from grader.observation.bans import BanHit
from grader.observation.calls import Call
from grader.observation.cost import Cost
from grader.observation.kind import Kind
from grader.observation.record import Interruption, Observation, Opaque

NAN, INF = math.nan, math.inf


def wanted(
    outputs: dict[str, Any],
    gradients: dict[str, Tensor | None] | None = None,
    *,
    allowed: float = 0.1,
    mean: float | None = None,
    limits: CostLimits | None = None,
) -> Expectation:
    """What is expected of outputs that are exact, with one allowance for all numbers."""
    form = Observation(outputs=outputs, gradients=gradients or {})
    numbers = {n: v for n, v in outputs.items() if isinstance(v, (Tensor, float))}
    return Expectation(
        exact=form,
        form=form,
        outputs={name: Tolerance(allowed, mean) for name in numbers},
        gradients={n: Tolerance(allowed) for n, v in (gradients or {}).items() if v is not None},
        limits=limits or CostLimits(),
    )


def told(seen: Observation, want: Expectation, **options: Any) -> tuple[str, str]:
    finding = judge(seen, want, **options)
    assert finding is not None
    return finding.kind, finding.lines[0]


def outputs(**values: Any) -> Observation:
    return Observation(outputs=values)


WANT = wanted(
    {"a": torch.tensor([1.0, 2.0])},
    {"x": torch.tensor([1.0, 1.0])},
    limits=CostLimits(peak_elements=10),
)
RIGHT = Observation(
    outputs={"a": torch.tensor([1.0, 2.05])},
    gradients={"x": torch.tensor([1.0, 1.0])},
    cost=Cost(10, 40, 10, 0),
)
# Each defect alone, in the order in which a learner can mend them.
DEFECTS: dict[str, dict[str, Any]] = {
    "exception": {"interruption": Interruption(Kind.EXCEPTION, "ValueError", "why")},
    "type": {"outputs": {"a": None}},
    "shape": {"outputs": {"a": torch.zeros(3)}},
    "dtype": {"outputs": {"a": torch.tensor([1.0, 2.0]).double()}},
    "not finite": {"outputs": {"a": torch.tensor([1.0, NAN])}},
    "value": {"outputs": {"a": torch.tensor([1.0, 3.0])}},
    "gradient": {"gradients": {"x": None}},
    "modified": {"modified": ("x",)},
    "disturbed": {"disturbed": ("the grad mode",)},
    "banned": {"banned": (BanHit(3, "torch.softmax", "torch.softmax"),)},
    "cost": {"cost": Cost(11, 44, 11, 0)},
}


class TestOrder:
    def test_a_right_answer_has_no_finding(self) -> None:
        assert judge(RIGHT, WANT) is None

    @pytest.mark.parametrize("kind", DEFECTS)
    def test_each_defect_is_found(self, kind: str) -> None:
        finding = judge(replace(RIGHT, **DEFECTS[kind]), WANT)
        assert finding is not None
        assert finding.kind == kind

    @pytest.mark.parametrize("place", range(len(DEFECTS) - 1))
    def test_of_two_the_first_to_mend_is_told(self, place: int) -> None:
        kinds = list(DEFECTS)
        for later in kinds[place + 1 :]:
            both = DEFECTS[later] | DEFECTS[kinds[place]]
            finding = judge(replace(RIGHT, **both), WANT)
            assert finding is not None
            assert finding.kind == kinds[place]

    @pytest.mark.parametrize("kind", ["exception", "modified", "disturbed", "banned"])
    def test_conduct_is_judged_where_a_test_looks_at_the_outputs_itself(self, kind: str) -> None:
        finding = side_effects(replace(RIGHT, **DEFECTS[kind]))
        assert finding is not None
        assert finding.kind == kind
        assert side_effects(RIGHT) is None


class TestForm:
    @pytest.mark.parametrize(
        ("got", "want", "kind", "line"),
        [
            (1, 1.0, "type", "x: got the int '1', want the float '1.0'"),
            (True, 1, "type", "x: got the bool 'True', want the int '1'"),
            (
                (1,),
                [1],
                "type",
                "x: got a tuple of 1 (the int '1'), want a list of 1 (the int '1')",
            ),
            (3, 4, "plain value", "x: got 3, want 4"),
            ("no error", "ValueError", "plain value", "x: got 'no error', want 'ValueError'"),
            (Opaque("a function"), 3, "type", "x: got a function, want the int '3'"),
            (None, 3, "type", "x: got None, want the int '3' (is a `return` missing?)"),
        ],
    )
    def test_plain_values(self, got: Any, want: Any, kind: str, line: str) -> None:
        assert told(outputs(x=got), wanted({"x": want})) == (kind, line)

    @pytest.mark.parametrize(
        ("got", "want", "line"),
        [
            (
                [(b"a", b"b")] * 30,
                [(b"a", b"b")] * 29 + [(b"b", b"c")],
                "a[29]: got (b'a', b'b'), want (b'b', b'c')",
            ),
            ([7] * 60, [7] * 61, "a: got 60 items, want 61; those that both have are the same"),
            (
                {n: b"%d" % n for n in range(40)},
                {n: b"%d" % n for n in range(41)},
                "a[40]: got no such entry, want b'40'",
            ),
            (
                {n: [b"%d" % n] for n in range(40)} | {7: b""},
                {n: [b"%d" % n] for n in range(40)},
                "a[7]: got b'', want [b'7']",
            ),
            (
                "x" * 90 + "y" + "z" * 90,
                "x" * 90 + "z" * 91,
                f"a[78:126]: got '{'x' * 12}y{'z' * 35}', want '{'x' * 12}{'z' * 36}'",
            ),
            ([["x" * 70], "b"], [["x" * 71], "b"], None),
        ],
    )
    def test_of_long_plain_values_the_part_that_differs(
        self, got: Any, want: Any, line: str | None
    ) -> None:
        kind, said = told(outputs(a=got), wanted({"a": want}))
        assert kind == "plain value" and (line is None or said == line) and len(said) < 300

    def test_a_list_that_was_changed_is_no_tensor(self) -> None:
        seen = replace(outputs(a=1), modified=("ids:list",))
        said = "ids: the list that was passed in is changed: leave it as it is, and change a copy"
        assert told(seen, wanted({"a": 1})) == ("modified", said)

    def test_an_output_that_is_not_there(self) -> None:
        assert told(outputs(), wanted({"x": 3}))[0] == "type"

    def test_shapes_that_would_broadcast_are_not_the_same(self) -> None:
        kind, line = told(outputs(x=torch.ones(1, 2)), wanted({"x": torch.ones(2)}))
        assert (kind, line) == ("shape", "x: got shape [1, 2], want [2]")

    def test_a_scenario_that_broke_names_what_it_was_given(self) -> None:
        seen = Observation(interruption=Interruption(Kind.UNUSABLE), calls=(Call("f", "None"),))
        want = wanted({})
        want = replace(want, form=replace(want.form, calls=(Call("f", "the int '3'"),)))
        assert told(seen, want)[1] == "f returned None, want the int '3' (is a `return` missing?)"

    ONE, PAIR = "a float32 tensor [2, 3]", "a tuple of 2 (a float32 tensor [3], None)"

    @pytest.mark.parametrize(
        ("seen", "kind"),
        [
            (outputs(x=torch.ones(1, 2)), "shape"),
            (Observation(interruption=Interruption(Kind.EXCEPTION, "IndexError")), "exception"),
            (Observation(interruption=Interruption(Kind.UNUSABLE, "ValueError")), "unusable"),
        ],
    )
    def test_one_where_two_were_wanted_is_what_went_wrong(
        self, seen: Observation, kind: str
    ) -> None:
        """A tensor of two rows comes apart into a pair; what follows only looks like the error."""
        want = wanted({"x": torch.ones(2)})
        want = replace(want, form=replace(want.form, calls=(Call("f", self.PAIR),)))
        right = replace(seen, calls=(Call("f", "a list of 2 (a float32 tensor [3], None)"),))
        named = replace(seen, calls=(Call("f", "a Pair"),))
        for same in (right, named):
            finding = judge(same, want)
            assert finding is not None and finding.kind == kind
        wrong = replace(seen, calls=(Call("f", self.ONE),))
        assert told(wrong, want) == ("type", f"f returned {self.ONE}, want {self.PAIR}")

    def test_what_gives_the_right_numbers_may_give_them_in_any_form(self) -> None:
        want = wanted({"x": torch.ones(2)})
        want = replace(want, form=replace(want.form, calls=(Call("f", self.PAIR),)))
        assert judge(replace(outputs(x=torch.ones(2)), calls=(Call("f", self.ONE),)), want) is None


class TestNumbers:
    @pytest.mark.parametrize(
        ("got", "want"),
        [([INF, -INF], [INF, -INF]), ([NAN, 1.0], [NAN, 1.0]), ([1.1, 0.0], [1.0, -0.0])],
    )
    def test_equal_ones(self, got: list[float], want: list[float]) -> None:
        expected = wanted({"x": torch.tensor(want)}, allowed=0.11)
        assert judge(outputs(x=torch.tensor(got)), expected) is None

    @pytest.mark.parametrize(
        ("got", "want", "kind"),
        [
            ([INF], [-INF], "value"),
            ([1.0], [INF], "value"),
            ([1.0], [NAN], "value"),
            ([NAN], [1.0], "not finite"),
            ([NAN], [INF], "value"),
            ([-INF], [1.0], "not finite"),
            ([1.2], [1.0], "value"),
        ],
    )
    def test_others(self, got: list[float], want: list[float], kind: str) -> None:
        assert told(outputs(x=torch.tensor(got)), wanted({"x": torch.tensor(want)}))[0] == kind

    def test_complex_numbers_are_two_each(self) -> None:
        want = wanted({"x": torch.tensor([1 + 2j])})
        assert judge(outputs(x=torch.tensor([1 + 2.05j])), want) is None
        kind, line = told(outputs(x=torch.tensor([1 + 3j])), want)
        assert kind == "value"
        assert line.startswith("x[0, 1]: got 3, want 2   (1 of 2 elements differ; largest error 1")

    def test_a_plain_float_is_one_too(self) -> None:
        assert judge(outputs(x=2.05), wanted({"x": 2.0})) is None
        assert told(outputs(x=3.0), wanted({"x": 2.0}))[1] == (
            "x: got 3, want 2   (largest error 1, allowed 1e-01)"
        )

    def test_what_is_exact_is_not_wrong_by_so_much(self) -> None:
        want = wanted({"x": torch.tensor([1, 2, 3])}, allowed=0.0)
        line = told(outputs(x=torch.tensor([1, 2, 4])), want)[1]
        assert line == "x[2]: got 4, want 3   (1 of 3 elements differ)"
        want = wanted({"x": torch.tensor(7)}, allowed=0.0)
        assert told(outputs(x=torch.tensor(9)), want)[1] == "x: got 9, want 7"

    def test_as_many_digits_are_shown_as_it_takes_to_see_the_difference(self) -> None:
        want = wanted({"x": torch.tensor(1.00001)}, allowed=1e-9)
        line = told(outputs(x=torch.tensor(1.00002)), want)[1]
        assert line.startswith("x: got 1.00002, want 1.00001 ")

    def test_the_first_that_is_beyond_the_allowance_is_shown(self) -> None:
        got, want = torch.tensor([1.05, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0])
        line = told(outputs(x=got), wanted({"x": want}))[1]
        assert line.startswith("x[2]: got 4, want 3   (1 of 3 elements differ")

    def test_an_allowance_may_differ_from_row_to_row(self) -> None:
        rows = torch.tensor([[0.01], [1.0]], dtype=torch.float64)
        want = wanted({"x": torch.zeros(2, 2)})
        want = replace(want, outputs={"x": Tolerance(rows)})
        assert judge(outputs(x=torch.tensor([[0.0, 0.0], [0.9, 0.9]])), want) is None
        line = told(outputs(x=torch.tensor([[0.0, 0.5], [0.9, 0.9]])), want)[1]
        assert line.startswith("x[0, 1]: got 0.5, want 0 ")
        assert "allowed 1e-02" in line

    def test_a_bias_within_every_element_s_allowance_is_found(self) -> None:
        want = wanted({"x": torch.zeros(100)}, allowed=0.1, mean=0.01)
        assert judge(outputs(x=torch.tensor([0.05, -0.05] * 50)), want) is None
        kind, line = told(outputs(x=torch.full((100,), 0.05)), want)
        assert kind == "value"
        assert line.startswith("x: off by 0.05 on average, allowed 1e-02")

    def test_an_empty_tensor_is_right(self) -> None:
        assert judge(outputs(x=torch.ones(0, 3)), wanted({"x": torch.ones(0, 3)})) is None

    def test_the_precision_is_told(self) -> None:
        seen, want = outputs(x=torch.ones(2)), wanted({"x": torch.zeros(2)})
        assert told(seen, want, label="in bfloat16")[1].endswith("   (in bfloat16)")


class TestGradients:
    ONES = torch.ones(2)

    def gradient(self, got: Tensor | None, want: Tensor | None) -> tuple[str, str] | None:
        seen = Observation(gradients={"x": got})
        finding = judge(seen, wanted({}, {"x": want}))
        return finding and (finding.kind, finding.lines[0])

    @pytest.mark.parametrize(
        ("got", "want"),
        [(None, None), (None, torch.zeros(2)), (torch.zeros(2), None), (ONES, ONES + 0.05)],
    )
    def test_none_and_zero_say_the_same(self, got: Tensor | None, want: Tensor | None) -> None:
        assert self.gradient(got, want) is None

    @pytest.mark.parametrize(
        ("got", "want", "words"),
        [
            (None, ONES, "no gradient reaches x"),
            (ONES, None, "x receives a gradient but should not"),
            (ONES.double(), ONES, "gradient of x: got dtype float64, want float32"),
            (ONES * NAN, ONES, "gradient of x[0]: got nan, want 1"),
            (ONES * 2, ONES, "gradient of x[0]: got 2, want 1"),
        ],
    )
    def test_others(self, got: Tensor | None, want: Tensor | None, words: str) -> None:
        found = self.gradient(got, want)
        assert found is not None
        assert found[0] in ("gradient", "not finite")
        assert found[1].startswith(words)


class TestTraces:
    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (("x",), "the argument x was modified: "),
            (("q", "k"), "the arguments q and k were modified: "),
            (("q", "k", "v"), "the arguments q, k and v were modified: "),
        ],
    )
    def test_modified_arguments_are_named(self, names: tuple[str, ...], words: str) -> None:
        assert told(Observation(modified=names), wanted({}))[1].startswith(words)

    def test_disturbed_state_is_named(self) -> None:
        seen = Observation(disturbed=("the grad mode", "autocast"))
        assert told(seen, wanted({}))[1] == (
            "the grad mode and autocast were changed: leave them alone, or put them back"
        )

    @pytest.mark.parametrize("name", ["peak_elements", "largest_elements", "flops"])
    def test_a_cost_at_its_limit_is_right_and_one_above_is_not(self, name: str) -> None:
        want = wanted({}, limits=CostLimits(**{name: 5}))
        free = {"peak_elements": 0, "peak_bytes": 0, "largest_elements": 0, "flops": 0}
        assert judge(Observation(cost=Cost(**(free | {name: 5}))), want) is None
        kind, line = told(Observation(cost=Cost(**(free | {name: 6}))), want)
        assert kind == "cost"
        assert "6" in line and "at most 5" in line


class TestMargins:
    def test_the_largest_share_of_the_allowance_is_noted_for_each_number(self) -> None:
        margins = Margins()
        want = wanted({"a": torch.zeros(2), "b": 1.0}, {"x": torch.ones(1)}, allowed=0.1)
        seen = Observation(
            outputs={"a": torch.tensor([0.01, -0.05]), "b": 1.02},
            gradients={"x": torch.ones(1)},
        )
        assert judge(seen, want, margins=margins) is None
        assert margins.by_name == pytest.approx({"a": 0.5, "b": 0.2, "gradient of x": 0.0})
        assert (margins.where, margins.used) == ("a", pytest.approx(0.5))

    def test_numbers_are_measured_to_the_end_though_the_first_is_wrong(self) -> None:
        margins = Margins()
        want = wanted({"a": torch.zeros(1), "b": torch.zeros(1)}, allowed=0.1)
        seen = outputs(a=torch.tensor([1.0]), b=torch.tensor([5.0]))
        assert told(seen, want, margins=margins)[1].startswith("a[0]")
        assert margins.by_name == pytest.approx({"a": 10.0, "b": 50.0})

    def test_gradients_are_measured_though_the_values_are_wrong(self) -> None:
        margins = Margins()
        want = wanted({"a": torch.zeros(1)}, {"x": torch.zeros(1)}, allowed=0.1)
        seen = Observation({"a": torch.tensor([1.0])}, {"x": torch.tensor([2.0])})
        assert told(seen, want, margins=margins)[0] == "value"
        assert margins.by_name == pytest.approx({"a": 10.0, "gradient of x": 20.0})

    def test_errors_and_their_excess(self) -> None:
        error = errors(torch.tensor([1.0, INF, NAN, 0.0]), torch.tensor([1.5, INF, NAN, 0.0]))
        assert error.tolist() == [0.5, 0.0, 0.0, 0.0]
        assert excess(error, 0.25) == 2.0
        assert excess(error, 0.0) == INF
        assert excess(torch.zeros(2), 0.0) == 0.0
        assert excess(torch.ones(0), 0.1) == 0.0
