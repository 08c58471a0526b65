"""Name the known mistake that explains everything seen of an answer, or say nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from grader.comparing import Finding, errors, excess, gradients_agree, judge, overspent
from grader.observing import Observation, Request, observe
from grader.tolerance import Allowance, Expectation, as_exact
from grader.variants import Variant

_SLACK = 4.0
"""Two spellings of one mistake may differ by this many times what right answers may."""
_RELATIVE = 1e-5
"""... or by this fraction of the values, for a mistake that makes them large."""
_UNINFORMATIVE = {"not implemented", "timed out", "crashed", "exited", "protocol", "unusable"}


@dataclass(frozen=True)
class Evidence:
    """One request, what the learner's answer did with it and what was found wrong in that.

    `want` is None where a test looks at the outputs itself; then `allowed` says how exactly a
    mistake must reproduce them.
    """

    test: str
    request: Request
    seen: Observation
    want: Expectation | None
    finding: Finding | None
    half: bool = False


class Diagnosis:
    """The mistakes that are consistent with all evidence so far.

    Nothing is computed before something is wrong, so that a right answer costs nothing.
    """

    def __init__(self, mistakes: Sequence[Variant], load: Callable[[Variant], ModuleType]) -> None:
        self._left = list(mistakes)
        self._load = load
        self._modules: dict[str, ModuleType] = {}
        self._evidence: list[Evidence] = []
        self._weighed = 0

    def add(self, evidence: Evidence) -> None:
        """Note a run, right or wrong."""
        trouble = evidence.seen.trouble
        if trouble is None or trouble.kind not in _UNINFORMATIVE:
            self._evidence.append(evidence)

    @property
    def evidence(self) -> Sequence[Evidence]:
        """Everything noted so far."""
        return self._evidence

    def candidates(self) -> list[Variant]:
        """The mistakes that explain every observation; all of them before anything failed."""
        while self._weighed < len(self._evidence) and self._left:
            # What failed tells more than what passed: weigh it first.
            rest = self._evidence[self._weighed :]
            rest.sort(key=lambda evidence: evidence.finding is None)
            self._evidence[self._weighed :] = rest
            evidence = rest[0]
            self._left = [variant for variant in self._left if self._explains(variant, evidence)]
            self._weighed += 1
        return list(self._left)

    def _explains(self, variant: Variant, evidence: Evidence) -> bool:
        module = self._modules.get(variant.id)
        if module is None:
            module = self._modules[variant.id] = self._load(variant)
        seen, _ = observe(module, evidence.request, frozenset({str(module.__file__)}))
        return consistent(seen, evidence)


def consistent(mistake: Observation, evidence: Evidence) -> bool:
    """Whether a mistake's run looks like the learner's."""
    learner = evidence.seen
    if (mistake.trouble is None) != (learner.trouble is None):
        return False
    if mistake.trouble and learner.trouble:
        return (mistake.trouble.kind, mistake.trouble.type_name) == (
            learner.trouble.kind,
            learner.trouble.type_name,
        )
    if (mistake.modified, mistake.disturbed) != (learner.modified, learner.disturbed):
        return False
    if bool(mistake.banned) != bool(learner.banned):
        return False
    if evidence.want is not None:
        costs = overspent(mistake, evidence.want), overspent(learner, evidence.want)
        if (costs[0] is None) != (costs[1] is None):
            return False
    if mistake.outputs.keys() != learner.outputs.keys():
        return False
    if evidence.half and evidence.want is not None:
        finding = judge(mistake, evidence.want)
        if (finding is None) != (evidence.finding is None):
            return False
    return _same_outputs(mistake, evidence) and _same_gradients(mistake, evidence)


def _same_outputs(mistake: Observation, evidence: Evidence) -> bool:
    allowances: Mapping[str, Allowance] = evidence.want.outputs if evidence.want else {}
    return all(
        _same(value, evidence.seen.outputs[name], allowances.get(name), evidence.half)
        for name, value in mistake.outputs.items()
    )


def _same_gradients(mistake: Observation, evidence: Evidence) -> bool:
    allowances: Mapping[str, Allowance] = evidence.want.gradients if evidence.want else {}
    for name in mistake.gradients:
        if not gradients_agree(mistake.gradients, evidence.seen.gradients, name):
            return False
        left, right = mistake.gradients[name], evidence.seen.gradients[name]
        if left is not None and right is not None:
            if not _same(left, right, allowances.get(name), evidence.half):
                return False
    return True


def _same(left: Any, right: Any, allowance: Allowance | None, half: bool) -> bool:
    if not isinstance(left, (Tensor, float)) or not isinstance(right, (Tensor, float)):
        return type(left) is type(right) and bool(left == right)
    if isinstance(left, Tensor) != isinstance(right, Tensor):
        return False
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        if left.shape != right.shape or left.dtype != right.dtype:
            return False
        if not (left.is_floating_point() or left.is_complex()):
            return torch.equal(left, right)
    exact, other = as_exact(left), as_exact(right)
    size = exact.abs()[torch.isfinite(exact)]
    largest = float(size.max()) if size.numel() else 0.0
    relative = 16 * _RELATIVE**0.5 if half else _RELATIVE
    allowed: float | Tensor = relative * largest
    if allowance is not None:
        element = torch.as_tensor(allowance.element, dtype=torch.float64)
        allowed = torch.clamp(_SLACK * element, min=allowed)
    used = excess(errors(other, exact), allowed)
    return math.isfinite(used) and used <= 1.0


def explanations(
    modules: Mapping[str, ModuleType], evidence: Sequence[Evidence]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """For each mistake and test, the mistakes that nothing in the test tells from it.

    `evidence` comes from a run in which every test was gone through to its end.
    """
    told: dict[str, dict[str, set[str]]] = {name: {} for name in modules}
    stopped: set[tuple[str, str]] = set()
    for item in evidence:
        seen = {
            name: observe(module, item.request, frozenset({str(module.__file__)}))[0]
            for name, module in modules.items()
        }
        for name, observation in seen.items():
            if (name, item.test) in stopped:
                continue  # a test ends at its first failure, so a learner sees no further
            finding = judge(observation, item.want) if item.want else None
            mine = dataclasses.replace(item, seen=observation, finding=finding)
            alike = {other for other in modules if consistent(seen[other], mine)}
            told[name][item.test] = told[name].get(item.test, set(modules)) & alike
            if finding:
                stopped.add((name, item.test))
    return {
        name: {test: tuple(sorted(alike)) for test, alike in tests.items()}
        for name, tests in told.items()
    }
