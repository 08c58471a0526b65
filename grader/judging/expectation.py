"""What a right answer gives, and how far a right answer may be from it.

The expected value is the reference in float64. The allowed error is a multiple of the noise: the
largest error of a declared set of legal evaluations of the reference in the dtype under test, plus
what half an ulp of the inputs changes. It is one number per output tensor, for correct code
exceeds an element's own error many times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from grader.observation.conditions import map_tensors
from grader.observation.observe import CotangentsFor, observe
from grader.observation.record import Observation, Opaque, Request

FACTOR = {torch.float64: 8.0, torch.float32: 8.0, torch.float16: 2.0, torch.bfloat16: 2.0}
"""Allowed error over noise. In half precision a legal double rounding and a missing upcast lie
close together, so the allowance is narrow there."""

_PERTURBATIONS = 2
_BIAS_FROM = 256
"""From so many elements on, the mean error of a half-precision output is judged as well."""


class ReferenceFailed(Exception):
    """The reference itself raised: the scenario or the reference is wrong, not the learner."""


@dataclass(frozen=True)
class Tolerance:
    """How far one output may be from the expected value: each element, and their mean."""

    element: float | Tensor
    mean: float | None = None


@dataclass(frozen=True)
class CostLimits:
    """What a run may cost: peak live new elements, elements in one tensor, FLOPs (2 a product)."""

    peak_elements: int | None = None
    largest_elements: int | None = None
    flops: int | None = None


NO_LIMITS = CostLimits()


@dataclass(frozen=True)
class Expectation:
    """The judge's knowledge about one request: exact values, form and allowances.

    `exact` has the values in float64, `form` is the reference in the dtype under test, which
    decides types, shapes and dtypes.
    """

    exact: Observation
    form: Observation
    outputs: Mapping[str, Tolerance]
    gradients: Mapping[str, Tolerance]
    limits: CostLimits = NO_LIMITS


@dataclass(frozen=True)
class Precision:
    """How a check is evaluated: the dtype under test and what counts as legal in it.

    `matmul` says that matrix products may run in the input's dtype. `legal` are further
    definitions that may replace the reference's own.
    """

    dtype: torch.dtype
    matmul: bool = False
    legal: Sequence[ModuleType] = ()

    @property
    def is_half(self) -> bool:
        return self.dtype in (torch.float16, torch.bfloat16)


class ReferenceRun:
    """What the reference says to a request, in two steps: exact values first, allowances later.

    `random_like` draws the cotangents, one for every floating output.
    """

    def __init__(
        self, reference: ModuleType, request: Request, random_like: Callable[[Tensor], Tensor]
    ) -> None:
        self._reference = reference
        self._request = dataclasses.replace(request, bans=(), meter=False)
        self._completed: Expectation | None = None
        self.cotangents: Mapping[str, Tensor] | None = None

        def cotangents_for(outputs: Mapping[str, Any]) -> Mapping[str, Tensor]:
            floating = {n: value for n, value in outputs.items() if _is_floating(value)}
            self.cotangents = {n: random_like(value.detach()) for n, value in floating.items()}
            return self.cotangents

        if request.differentiate:
            self._request = dataclasses.replace(self._request, cotangents={})
        self._exact = _run(reference, in_double(self._request), cotangents_for)
        for name, value in self._exact.outputs.items():
            if isinstance(value, Opaque):  # only its description could be compared
                raise ReferenceFailed(f"{name} is {value.description}: return tensors and numbers")
        self._request = dataclasses.replace(self._request, cotangents=self.cotangents)

    def complete(
        self,
        precision: Precision,
        given: Mapping[str, float | Tensor] | None = None,
        limits: CostLimits = NO_LIMITS,
    ) -> Expectation:
        """With allowances; `given` replaces the derived ones of the outputs it names."""
        if self._completed is None:
            self._completed = self._complete(precision, given or {}, limits)
        return self._completed

    def _complete(
        self, precision: Precision, given: Mapping[str, float | Tensor], limits: CostLimits
    ) -> Expectation:
        double = in_double(self._request)
        exact = self._exact
        if any(map(_is_numeric, exact.outputs.values())):
            evaluations = list(_legal_evaluations(self._reference, self._request, precision))
            moved = list(_perturbed(self._reference, double, precision))
        else:  # what is no number has no rounding
            evaluations, moved = [_run(self._reference, self._request)], []

        def output(name: str, value: Tensor | float) -> Tolerance:
            legal, shifted = ([run.outputs.get(name) for run in r] for r in (evaluations, moved))
            return _allowance(value, legal, shifted, precision)

        def gradient(name: str, value: Tensor) -> Tolerance:
            legal, shifted = ([run.gradients.get(name) for run in r] for r in (evaluations, moved))
            return _allowance(value, legal, shifted, precision)

        return Expectation(
            exact=exact,
            form=evaluations[0],
            outputs={
                name: _given(given[name]) if name in given else output(name, value)
                for name, value in exact.outputs.items()
                if isinstance(value, (Tensor, float))
            },
            gradients={
                name: gradient(name, value)
                for name, value in exact.gradients.items()
                if value is not None
            },
            limits=limits,
        )


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (Tensor, float))


def _given(allowed: float | Tensor) -> Tolerance:
    return Tolerance(allowed if isinstance(allowed, float) else allowed.double())


def _run(
    module: ModuleType, request: Request, cotangents_for: CotangentsFor | None = None
) -> Observation:
    observation, error = observe(
        module, request, frozenset(), is_reference=True, cotangents_for=cotangents_for
    )
    if error is not None:
        raise ReferenceFailed(f"{type(error).__name__}: {error}") from error
    return observation


def _legal_evaluations(
    reference: ModuleType, request: Request, precision: Precision
) -> Iterator[Observation]:
    """The reference as it is written first, then other orders, dtypes and spellings."""
    yield _run(reference, request)
    with _OtherOrder():
        yield _run(reference, request)
    if precision.is_half and precision.matmul:
        with _MatmulIn(precision.dtype):
            yield _run(reference, request)
    for module in precision.legal:
        yield _run(module, request)


def _perturbed(
    reference: ModuleType, double: Request, precision: Precision
) -> Iterator[Observation]:
    """The exact reference with every input moved by up to half an ulp.

    The ulp is that of the dtype in which the contract wants the computation: at least float32,
    unless products in the input's dtype are legal, which round the inputs' multiples. Where no
    input can be moved there is nothing to run.
    """
    if not _hold_floats(double.inputs):
        return
    dtype = precision.dtype
    if not (precision.is_half and precision.matmul):
        dtype = torch.promote_types(dtype, torch.float32)
    half_ulp = torch.finfo(dtype).eps / 2
    for seed in range(_PERTURBATIONS):
        generator = torch.Generator().manual_seed(seed)
        move = _mover(half_ulp, generator)
        inputs = {name: map_tensors(move, value, name) for name, value in double.inputs.items()}
        yield _run(reference, dataclasses.replace(double, inputs=inputs))


def _hold_floats(inputs: Mapping[str, Any]) -> bool:
    found = False

    def look_at(_: str, value: Tensor) -> Tensor:
        nonlocal found
        found = found or _is_floating(value)
        return value

    map_tensors(look_at, dict(inputs), "")
    return found


def _mover(by: float, generator: torch.Generator) -> Callable[[str, Tensor], Tensor]:
    def move(name: str, value: Tensor) -> Tensor:
        if not _is_floating(value):
            return value
        signs = torch.randint(0, 2, value.shape, generator=generator).to(value.device) * 2 - 1
        return value * (1 + by * signs)

    return move


def in_double(request: Request) -> Request:
    """The request in float64, on the CPU: not every accelerator has float64."""
    cotangents = request.cotangents
    return dataclasses.replace(
        request,
        inputs={n: map_tensors(_double, v, n) for n, v in request.inputs.items()},
        cotangents=cotangents and {n: _double(n, value) for n, value in cotangents.items()},
        default_dtype=torch.float64,
        device="cpu",
    )


def _double(name: str, value: Tensor) -> Tensor:
    if value.is_complex():
        return value.to(torch.complex128)
    return value.double() if value.is_floating_point() else value


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _allowance(
    want: Tensor | float, legal: Sequence[Any], moved: Sequence[Any], precision: Precision
) -> Tolerance:
    """What `want` may be off by, from what it is in legal evaluations and for moved inputs."""
    if isinstance(want, Tensor) and not _is_floating(want):
        return Tolerance(0.0)  # a token or a mask is right or wrong
    exact = as_exact(want)
    evaluated = [_difference(as_exact(value), exact) for value in legal if value is not None]
    shifted = [_difference(as_exact(value), exact) for value in moved if value is not None]
    finite = exact[torch.isfinite(exact)].abs()
    largest = float(finite.max()) if finite.numel() else 0.0
    half_ulp = torch.finfo(precision.dtype).eps / 2
    factor = FACTOR[precision.dtype]
    noise = max(half_ulp * largest, _largest(evaluated)) + _largest(shifted)
    mean = None
    if precision.is_half and finite.numel() >= _BIAS_FROM:
        # Independent roundings of half an ulp leave a mean of about this, three deviations wide.
        spread = half_ulp * float(finite.square().mean().sqrt()) * 3 / finite.numel() ** 0.5
        mean = factor * max([spread, *(abs(float(d.mean())) for d in (*evaluated, *shifted))])
    return Tolerance(factor * noise, mean)


def _largest(differences: Sequence[Tensor]) -> float:
    return max((float(d.abs().max()) for d in differences if d.numel()), default=0.0)


def _difference(seen: Tensor, want: Tensor) -> Tensor:
    if seen.shape != want.shape:
        raise ReferenceFailed(
            f"its shape depends on the dtype: {list(seen.shape)}, {list(want.shape)}"
        )
    finite = torch.isfinite(want) & torch.isfinite(seen)
    return (seen - want)[finite]


def as_exact(value: Any) -> Tensor:
    """A number or tensor as float64, complex numbers as pairs."""
    if not isinstance(value, Tensor):
        return torch.tensor(value, dtype=torch.float64)
    if value.is_complex():
        return torch.view_as_real(value.to(torch.complex128))
    return value.double()


class _OtherOrder(TorchFunctionMode):
    """Sums in another order: products and reductions run over their axes from the end."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MATMULS and _are_tensors(args[:2]):
            left, right, *rest = args
            inner = -1 if func in _LINEARS or right.dim() == 1 else -2
            args = (left.flip(-1), right.flip(inner), *rest)
        elif func in _REDUCTIONS and _are_tensors(args[:1]):
            summed, *rest = args
            axes = rest[0] if rest else kwargs.get("dim")
            axes = list(range(summed.dim())) if axes is None else axes
            args = (summed.flip(axes), *rest)
        return func(*args, **kwargs)


_LINEARS = {torch.nn.functional.linear}
_MATMULS = {
    torch.matmul,
    torch.bmm,
    torch.mm,
    Tensor.matmul,
    Tensor.__matmul__,
    Tensor.bmm,
    Tensor.mm,
    *_LINEARS,
}
_REDUCTIONS = {torch.sum, Tensor.sum, torch.mean, Tensor.mean}


def _are_tensors(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, Tensor) for value in values)


class _MatmulIn(TorchFunctionMode):
    """Matrix products in a given dtype, their results as the reference would have had them."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _MATMULS:
            return func(*args, **kwargs)
        wide = next(a for a in args if isinstance(a, Tensor)).dtype
        args = [a.to(self._dtype) if _is_floating(a) else a for a in args]
        return func(*args, **kwargs).to(wide)
