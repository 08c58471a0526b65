"""The allowed error follows from the reference's rounding: right spellings pass, others fail."""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from grader.judging.comparison import Finding, Margins, judge
from grader.judging.expectation import (
    Expectation,
    Precision,
    ReferenceFailed,
    ReferenceRun,
    Tolerance,
)
from grader.judging.inputs import RandomInputs
from grader.observation.observe import observe
from grader.observation.record import Request

FLOAT32, HALF = Precision(torch.float32), Precision(torch.bfloat16)


def answer(function: Callable[..., Any]) -> ModuleType:
    """A module that defines one function, `f`."""
    module = ModuleType("answer")
    module.__file__ = "answer.py"
    module.f = function  # type: ignore[attr-defined]
    return module


def request(*inputs: Any, grad: tuple[str, ...] = ()) -> Request:
    scenarios: list[Callable[..., Any]] = [
        lambda module: module.f(),
        lambda module, x: module.f(x),
        lambda module, x, w: module.f(x, w),
    ]
    names = ("x", "w")[: len(inputs)]
    named = dict(zip(names, inputs, strict=True))
    return Request(scenarios[len(inputs)], named, differentiate=grad)


def expected(
    reference: Callable[..., Any],
    asked: Request,
    precision: Precision = FLOAT32,
    **options: Any,
) -> tuple[Expectation, Request]:
    expecting = ReferenceRun(answer(reference), asked, RandomInputs(0, "cotangents").like)
    want = expecting.complete(precision, **options)
    return want, dataclasses.replace(asked, cotangents=expecting.cotangents)


def judged(
    tried: Callable[..., Any],
    reference: Callable[..., Any],
    asked: Request,
    precision: Precision = FLOAT32,
) -> tuple[Finding | None, float]:
    """What is wrong with a function and how much of the allowed error it uses."""
    want, asked = expected(reference, asked, precision)
    seen, _ = observe(answer(tried), asked, frozenset())
    margins = Margins()
    return judge(seen, want, margins=margins), margins.used


def tensor(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return RandomInputs(1, "inputs").normal(*shape).to(dtype)


def mean_square(x: Tensor) -> Tensor:
    return x.square().mean(-1)


class TestExactValues:
    def test_they_are_computed_in_float64_under_a_float64_default(self) -> None:
        def reference(x: Tensor) -> dict[str, Any]:
            return {"third": x / 3, "ones": torch.ones(2), "plain": 1 / 3}

        want, _ = expected(reference, request(tensor(4)))
        assert want.exact.outputs["third"].dtype == torch.float64  # type: ignore[union-attr]
        assert want.exact.outputs["ones"].dtype == torch.float64  # type: ignore[union-attr]
        assert want.form.outputs["third"].dtype == torch.float32  # type: ignore[union-attr]
        assert torch.get_default_dtype() == torch.float32

    def test_complex_inputs_are_widened_too(self) -> None:
        x = torch.complex(tensor(5), tensor(5))
        want, _ = expected(lambda x: x * 2, request(x))
        assert want.exact.outputs["result"].dtype == torch.complex128  # type: ignore[union-attr]

    def test_a_cotangent_is_drawn_for_every_floating_output_and_no_other(self) -> None:
        def reference(x: Tensor) -> dict[str, Any]:
            return {"a": x * 2, "index": x.argmax(), "rows": 3}

        _, asked = expected(reference, request(tensor(4), grad=("x",)))
        assert asked.cotangents is not None
        assert list(asked.cotangents) == ["a"]

    def test_a_reference_that_raises_is_not_the_learner_s_fault(self) -> None:
        with pytest.raises(ReferenceFailed, match="ZeroDivisionError"):
            expected(lambda x: 1 // 0, request(tensor(4)))

    def test_a_reference_whose_shape_depends_on_the_dtype_is_refused(self) -> None:
        def reference(x: Tensor) -> Tensor:
            return x if x.dtype == torch.float64 else x[:1]

        with pytest.raises(ReferenceFailed, match="shape depends on the dtype"):
            expected(reference, request(tensor(4)))


class TestFloat32:
    X = tensor(3, 2000)

    @pytest.mark.parametrize(
        "spelling",
        [
            lambda x: (x * x).flip(-1).mean(-1),
            lambda x: x.double().square().mean(-1).float(),
            lambda x: torch.linalg.vector_norm(x, dim=-1) ** 2 / x.shape[-1],
            lambda x: torch.stack([row @ row / len(row) for row in x]),
        ],
    )
    def test_right_spellings_use_a_third_at_most(self, spelling: Callable[..., Any]) -> None:
        finding, used = judged(spelling, mean_square, request(self.X, grad=("x",)))
        assert finding is None
        assert used < 1 / 3

    @pytest.mark.parametrize(
        "spelling",
        [
            lambda x: x.square().mean(-1) + 1e-5,
            lambda x: x.square().sum(-1) / (x.shape[-1] - 1),
            lambda x: x.bfloat16().square().mean(-1).float(),
            lambda x: x.square().mean(-1) * (1 + 1e-5),
        ],
    )
    def test_wrong_ones_exceed_it_tenfold(self, spelling: Callable[..., Any]) -> None:
        finding, used = judged(spelling, mean_square, request(self.X))
        assert finding is not None
        assert finding.kind == "value"
        assert used > 10

    def test_it_grows_with_what_rounding_the_inputs_changes(self) -> None:
        """A difference of near equals is as uncertain as its operands, not as its own size."""
        x = 1000 + tensor(50)
        finding, used = judged(
            lambda x: x.double().sub(1000).float(), lambda x: x - 1000, request(x)
        )
        assert finding is None
        want, _ = expected(lambda x: x - 1000, request(x))
        assert float(want.outputs["result"].element) > 1e-4  # 1000 half ulps, not one

    def test_an_allowance_of_the_contract_takes_the_derived_one_s_place(self) -> None:
        given = {"result": torch.tensor([0.5, 1.0])}
        want, _ = expected(lambda x: x, request(tensor(2)), given=given)
        assert isinstance(want.outputs["result"].element, Tensor)
        assert want.outputs["result"].element.tolist() == [0.5, 1.0]

    def test_one_that_is_given_for_one_output_leaves_the_others_derived(self) -> None:
        def reference(x: Tensor) -> dict[str, Tensor]:
            return {"table": x, "other": x}

        want, _ = expected(reference, request(tensor(2)), given={"table": 0.25})
        assert want.outputs["table"] == Tolerance(0.25)
        assert float(want.outputs["other"].element) < 1e-5

    def test_a_gradient_has_its_own(self) -> None:
        x = tensor(30) * 1000
        want, _ = expected(lambda x: x.square(), request(x, grad=("x",)))
        ratio = float(want.outputs["result"].element) / float(want.gradients["x"].element)
        assert 100 < ratio  # values of a million, gradients of thousands


class TestWholeNumbers:
    """A token or a mask is right or wrong, however large and in whichever precision."""

    @pytest.mark.parametrize("precision", [FLOAT32, HALF], ids=["float32", "bfloat16"])
    def test_one_off_is_wrong(self, precision: Precision) -> None:
        asked = request(torch.tensor([5, 30_000_000]))
        finding, _ = judged(lambda x: x + (x > 5).long(), lambda x: x, asked, precision)
        assert finding is not None
        assert finding.kind == "value"

    @pytest.mark.parametrize("precision", [FLOAT32, HALF], ids=["float32", "bfloat16"])
    def test_the_same_is_right(self, precision: Precision) -> None:
        finding, _ = judged(lambda x: x + 0, lambda x: x, request(torch.arange(7)), precision)
        assert finding is None

    def test_a_mask_is_compared_bit_by_bit(self) -> None:
        asked = request(torch.arange(7))
        finding, _ = judged(lambda x: x > 3, lambda x: x > 2, asked)
        assert finding is not None
        assert "1 of 7" in finding.lines[0]


class TestHalfPrecision:
    X = tensor(2, 4096, dtype=torch.bfloat16)

    @staticmethod
    def reference(x: Tensor) -> Tensor:
        return (x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True))).to(x.dtype)

    def test_widening_and_one_cast_back_is_right(self) -> None:
        def spelling(x: Tensor) -> Tensor:
            wide = x.double()
            return (wide / wide.square().mean(-1, keepdim=True).sqrt()).to(x.dtype)

        finding, used = judged(spelling, self.reference, request(self.X), HALF)
        assert finding is None
        assert used <= 1 / 2

    def test_a_missing_upcast_is_not(self) -> None:
        """In bfloat16 the factor of a row is off by up to an ulp, and with it all of the row."""

        def spelling(x: Tensor) -> Tensor:
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True))

        finding, _ = judged(spelling, self.reference, request(self.X.abs()), HALF)
        assert finding is not None

    def test_roundings_that_all_point_one_way_are_seen_in_the_mean(self) -> None:
        """Each element is within its allowance; only together do they give it away."""

        def towards_zero(x: Tensor) -> Tensor:
            exact = (x.double() * 1.047).to(torch.float32)
            bits = exact.view(torch.int32) & ~0xFFFF  # cut off, not rounded, to bfloat16
            return bits.view(torch.float32).to(torch.bfloat16)

        x = self.X.abs()
        finding, _ = judged(
            towards_zero, lambda x: (x.float() * 1.047).to(x.dtype), request(x), HALF
        )
        assert finding is not None
        assert "on average" in finding.lines[0]

    def test_few_elements_have_no_mean_to_speak_of(self) -> None:
        want, _ = expected(self.reference, request(self.X[:, :100]), HALF)
        assert want.outputs["result"].mean is None

    def test_products_in_the_input_s_dtype_are_right_only_where_said(self) -> None:
        # Products near 64, of which 64 is taken away: what rounding them costs is left bare.
        x = (0.5 + tensor(8, 256) / 8).to(torch.bfloat16)
        w = (0.5 + tensor(256, 8) / 8).to(torch.bfloat16)

        def reference(x: Tensor, w: Tensor) -> Tensor:
            return (x.float() @ w.float() - 64).to(x.dtype)

        def narrow(x: Tensor, w: Tensor) -> Tensor:
            return x @ w - 64

        strict, _ = judged(narrow, reference, request(x, w), HALF)
        lenient, _ = judged(
            narrow, reference, request(x, w), dataclasses.replace(HALF, matmul=True)
        )
        assert strict is not None
        assert lenient is None


def test_another_legal_evaluation_widens_the_allowance() -> None:
    """What an exercise declares legal is noise, though the reference itself has none of it."""
    legal = dataclasses.replace(FLOAT32, legal=(answer(lambda x: x * (1 + 1e-4)),))
    asked = request(tensor(9))
    tried = answer(lambda x: x * (1 + 2e-4))
    strict, _ = expected(lambda x: x, asked)
    lenient, _ = expected(lambda x: x, asked, legal)
    seen, _ = observe(tried, asked, frozenset())
    assert judge(seen, strict) is not None
    assert judge(seen, lenient) is None


def test_sums_run_in_another_order_are_part_of_the_noise() -> None:
    """What a float32 sum is off by depends on its order, and no order is the right one."""
    # No inputs, so that rounding them is no noise; a sum that is luckier forwards than backwards.
    draws = (RandomInputs(seed, "sums").normal(3000) for seed in range(100))
    terms = next(x for x in draws if off_by(x.flip(0)) > 3 * off_by(x))
    want, _ = expected(lambda: terms.sum(), request())
    assert float(want.outputs["result"].element) >= 7.9 * off_by(terms.flip(0))


def off_by(terms: Tensor) -> float:
    return abs(float(terms.sum().double() - terms.double().sum()))
