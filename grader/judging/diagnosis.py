"""Name the known mistake that explains everything seen of an answer, or say nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import linecache
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from grader.course.variants import Variant
from grader.judging import changes
from grader.judging.comparison import (
    Finding,
    errors,
    excess,
    gradients_agree,
    judge,
    overspent,
    side_effects,
)
from grader.judging.expectation import Expectation, Tolerance, as_exact
from grader.messages.sanitize import without_chance
from grader.observation.codec import pack_observation
from grader.observation.kind import Kind
from grader.observation.observe import observe
from grader.observation.record import Interruption, Observation, Request

_SLACK = 4.0
"""Two spellings of one mistake may differ by this many times what right answers may."""
_RELATIVE = 1e-5
"""... or by this fraction of the values, for a mistake that makes them large; that is in float32,
in float64 it is as many ulps."""
_NAMED_TOGETHER = 2
_NO_MISTAKE = Variant("", "", "")
"""The solution as it is."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Evidence:
    """One request, what the learner's answer did with it and what was found wrong in that.

    `want` is None where a test looks at the outputs itself. `key` is the same for the same request
    in every run of one seed.
    """

    test: str
    request: Request
    seen: Observation
    want: Expectation | None
    finding: Finding | None
    half: bool = False
    key: tuple[Any, ...] = ()

    @property
    def asked(self) -> frozenset[str]:
        """The functions and classes of the answer that the scenario calls."""
        calls = (*self.seen.calls, *(self.want.form.calls if self.want else ()))
        return frozenset(call.name.partition(".")[0] for call in calls)

    @property
    def relative(self) -> float:
        """The fraction of the values by which two spellings of one mistake may differ."""
        if self.half:
            return 16.0 * math.sqrt(_RELATIVE)
        eps = torch.finfo(self.request.default_dtype).eps
        return _RELATIVE * eps / torch.finfo(torch.float32).eps


class _Relation(Enum):
    """How a mistake's run of a request stands to the learner's."""

    SAME = "the mistake does what the learner's answer did"
    APART = "the mistake does it right where the learner's answer did not"
    OTHER = "the mistake does something else"


class Diagnosis:
    """The mistakes that the evidence so far speaks for.

    Nothing is computed before something is wrong, so that a right answer costs nothing: the known
    mistakes are not even `read`. `kept` holds what mistakes did, between the runs of one seed.
    `unwritten` are the functions of the answer that are still stubs.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Variant]],
        load: Callable[[Variant], ModuleType],
        kept: dict[Any, Any] | None = None,
        unwritten: frozenset[str] = frozenset(),
    ) -> None:
        self._kept = {} if kept is None else kept
        self._read = read
        self._unwritten = unwritten
        self._load = load
        self._modules: dict[str, ModuleType] = {}
        self._evidence: list[Evidence] = []
        self._unclear: set[str] = set()
        self._last: dict[str, Evidence] = {}
        self._relations: dict[tuple[bytes, int], _Relation] = {}
        self._seconds: dict[int, float] = {}

    @cached_property
    def _mistakes(self) -> list[Variant]:
        return list(self._read())

    def add(self, evidence: Evidence) -> None:
        """Note a run, right or wrong."""
        self._last[evidence.test] = evidence
        interruption = evidence.seen.interruption
        if interruption and (interruption.at_load or interruption.kind.fits_any_mistake):
            self._unclear.add(evidence.test)
        else:
            self._evidence.append(evidence)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Every run that says something about the answer, in the order of the runs."""
        return tuple(self._evidence)

    def last(self, test: str) -> Evidence | None:
        """The newest run of a test: where the test failed, the run that ended it."""
        return self._last.get(test)

    def candidates(self) -> list[Variant]:
        """The mistakes that explain every observation; all of them before anything failed."""
        return self._alone(self._plain())

    def explaining(self, test: str) -> list[Variant]:
        """The mistakes that explain a failed test and contradict nothing else that was seen.

        Those that explain everything by themselves, if there are any. Else those that together
        explain everything: each of them does what the learner's answer did, or does it right
        where another of them does what the answer did. Else the same of what was seen of the
        functions that this test asks for: the bank may make a mistake in two functions that the
        learner made in one, and what is wrong with a third may be in no bank. Not where NaN is all
        that failed there: NaN comes of too much to tell one cause from another.
        """
        mine = [index for index, item in enumerate(self._evidence) if item.test == test]
        if test in self._unclear or not mine:
            return []
        if any(self._is_repeated(index) for index in mine):
            # The condition is named. Which mistake it is, plain runs of the same functions say, if
            # any of them failed: to run every mistake under the condition would take too long.
            within = tuple(i for i in self._asked_alike(mine) if not self._is_repeated(i))
            return [] if all(map(self._passed, within)) else self._alone(within)
        everything = self._plain()
        for within in (everything, self._asked_alike(mine)):
            if within != everything and self._shows_only_nan(within):
                return []
            able = self._alone(within) or self._together(within)
            explaining = [v for v in able if all(self._is_same(v, index) for index in mine)]
            if explaining:
                break
        # Of those that contradict what was seen elsewhere, the ones that do so least.
        agreeing = [sum(self._is_same(v, index) for index in everything) for v in explaining]
        return [v for v, n in zip(explaining, agreeing, strict=True) if n == max(agreeing)]

    def named(self, test: str) -> list[Variant]:
        """The mistakes to name for a failed test; none where too little was seen to tell one.

        Where there are two, either explains it: the smaller change comes first, and one in a
        function that is not written yet is left out.
        """
        mistakes = self.explaining(test)
        if len(mistakes) > 1:
            mistakes = [v for v in mistakes if not self._is_in_stub(v)] or mistakes
        if len(mistakes) > _NAMED_TOGETHER:
            return []
        if len(mistakes) > 1:
            mistakes.sort(key=lambda v: changes.size(v.definitions, self._solution))
        return mistakes

    def definite(self, test: str) -> Variant | None:
        """The mistake that a failed test comes of, where it can be no other."""
        mistakes = self.named(test)
        return mistakes[0] if len(mistakes) == 1 else None

    def explanations(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """For each mistake and test, the mistakes that nothing in the test tells from it.

        Every test must have been gone through to its end.
        """
        names = [variant.id for variant in self._mistakes]
        told: dict[str, dict[str, set[str]]] = {name: {} for name in names}
        stopped: set[tuple[str, str]] = set()
        for item in self._evidence:
            groups: dict[bytes, list[str]] = {}
            seen: dict[bytes, Observation] = {}
            for variant in self._mistakes:
                observation, digest = self._run(variant, item)
                groups.setdefault(digest, []).append(variant.id)
                seen[digest] = observation
            for digest, members in groups.items():
                finding = judge(seen[digest], item.want) if item.want else None
                mine = dataclasses.replace(item, seen=seen[digest], finding=finding)
                same = (others for d, others in groups.items() if consistent(seen[d], mine))
                alike = {other for others in same for other in others}
                for name in members:
                    if (name, item.test) in stopped:
                        continue  # a test ends at its first failure: a learner sees no further
                    told[name][item.test] = told[name].get(item.test, set(names)) & alike
                    if finding:
                        stopped.add((name, item.test))
        return {
            name: {test: tuple(sorted(alike)) for test, alike in tests.items()}
            for name, tests in told.items()
        }

    def _asked_alike(self, mine: Sequence[int]) -> tuple[int, ...]:
        """The evidence about any function that some evidence is about."""
        asked = frozenset().union(*(self._evidence[index].asked for index in mine))
        alike = (i for i in self._plain() if self._evidence[i].asked & asked)
        return tuple(sorted({*mine, *alike}))

    def _alone(self, within: tuple[int, ...]) -> list[Variant]:
        """The mistakes that explain all of some evidence, each by itself."""
        left = self._mistakes
        # What failed tells more than what passed, and what is soon done leaves less for the rest.
        for index in sorted(within, key=self._expense):
            left = [v for v in left if self._is_same(v, index)]
        return left

    def _expense(self, index: int) -> tuple[bool, float]:
        """Whether a run passed, and about how many seconds a mistake takes for a failed one."""
        if self._passed(index) or not self._mistakes:
            return True, 0.0
        if index not in self._seconds:
            began = time.perf_counter()
            self._run(self._mistakes[0], self._evidence[index])
            self._seconds[index] = time.perf_counter() - began
        return False, self._seconds[index]

    def _together(self, within: tuple[int, ...]) -> list[Variant]:
        """Mistakes which explain, between them, some evidence; none if any failure is left over."""
        failed = [index for index in within if not self._passed(index)]
        able = self._mistakes
        for index in failed:
            able = [v for v in able if self._relation(v, index) is not _Relation.OTHER]
            if all(self._relation(v, index) is _Relation.APART for v in able):
                return []  # this one is no known mistake's work, so nothing is certain
        explained = {v.id: {i for i in failed if self._is_same(v, i)} for v in able}
        able = [
            variant
            for variant in able
            if explained[variant.id] and self._agrees_where_passed(variant, within)
        ]
        if set().union(*(explained[v.id] for v in able)) != set(failed):
            return []
        return [v for v in able if not any(explained[v.id] < explained[o.id] for o in able)]

    def _shows_only_nan(self, within: tuple[int, ...]) -> bool:
        """Whether some evidence failed by numbers that are not finite and by nothing else."""
        findings = [self._evidence[index].finding for index in within]
        return all(finding is None or finding.kind is Kind.NOT_FINITE for finding in findings)

    def _agrees_where_passed(self, variant: Variant, within: Sequence[int]) -> bool:
        return all(self._is_same(variant, index) for index in within if self._passed(index))

    def _plain(self) -> tuple[int, ...]:
        """The evidence of plain runs: what conditions show is named by the condition alone."""
        return tuple(i for i in range(len(self._evidence)) if not self._is_repeated(i))

    def _is_repeated(self, index: int) -> bool:
        """Whether some evidence comes of asking once more, under conditions."""
        return bool(self._evidence[index].request.conditions)

    def _passed(self, index: int) -> bool:
        return self._evidence[index].finding is None

    def _is_same(self, variant: Variant, index: int) -> bool:
        return self._relation(variant, index) is _Relation.SAME

    def _relation(self, variant: Variant, index: int) -> _Relation:
        evidence = self._evidence[index]
        seen, digest = self._run(variant, evidence)
        key = digest, index
        if key not in self._relations:
            self._relations[key] = self._related(seen, digest, evidence)
        return self._relations[key]

    def _related(self, seen: Observation, digest: bytes, evidence: Evidence) -> _Relation:
        if consistent(seen, evidence):
            return _Relation.SAME
        if evidence.finding is not None and self._is_right(seen, digest, evidence):
            return _Relation.APART
        return _Relation.OTHER

    def _is_right(self, seen: Observation, digest: bytes, evidence: Evidence) -> bool:
        key = ("right", digest, evidence.key)
        if key not in self._kept or not evidence.key:
            want = evidence.want
            self._kept[key] = (side_effects(seen) if want is None else judge(seen, want)) is None
        return bool(self._kept[key])

    def _module(self, variant: Variant) -> ModuleType:
        """The solution with a mistake in it."""
        if variant.id not in self._modules:
            self._modules[variant.id] = self._load(variant)
        return self._modules[variant.id]

    @cached_property
    def _solution(self) -> str:
        """The text that mistakes change."""
        return "".join(linecache.getlines(str(self._module(_NO_MISTAKE).__file__)))

    def _is_in_stub(self, variant: Variant) -> bool:
        stubs = self._unwritten
        return bool(stubs) and changes.is_in_stub(variant.definitions, self._solution, stubs)

    def _run(self, variant: Variant, evidence: Evidence) -> tuple[Observation, bytes]:
        """What a mistake does with a request, and that in bytes."""
        if not self._acts(variant, evidence):
            variant = _NO_MISTAKE
        key = ("mistake", variant.id, evidence.key)
        if key not in self._kept or not evidence.key:
            module = self._module(variant)
            files = frozenset({str(module.__file__)})
            seen, _ = observe(module, evidence.request, files, quiet=True)
            self._kept[key] = seen, _digest(seen)
        known: tuple[Observation, bytes] = self._kept[key]
        return known

    def _acts(self, variant: Variant, evidence: Evidence) -> bool:
        """Whether a request may come to what a mistake changes."""
        if evidence.want is None and evidence.seen.interruption is not None:
            return True  # nobody knows what the scenario would have asked for
        return changes.reaches(evidence.asked, variant.definitions, self._solution)


def _digest(seen: Observation) -> bytes:
    """What a run showed, in bytes; most mistakes do most things as a right answer does."""
    if seen.interruption is not None:
        seen = dataclasses.replace(
            seen, interruption=dataclasses.replace(seen.interruption, frames=(), context="")
        )
    return hashlib.sha256(pack_observation(seen)).digest()


def consistent(mistake: Observation, evidence: Evidence) -> bool:
    """Whether a mistake's run looks like the learner's."""
    learner = evidence.seen
    if (mistake.interruption is None) != (learner.interruption is None):
        return False
    if mistake.interruption and learner.interruption:
        same_return = mistake.calls[-1:] == learner.calls[-1:]
        if learner.interruption.kind is Kind.UNUSABLE and not same_return:
            return False
        return _same_interruption(mistake.interruption, learner.interruption)
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


def _same_interruption(mistake: Interruption, learner: Interruption) -> bool:
    """Whether two runs broke in the same way: the same error in the same words about the same
    sizes, which another spelling of the mistake may have in another order."""
    return _told(mistake) == _told(learner)


def _told(interruption: Interruption) -> tuple[str, str, str, list[str]]:
    message = without_chance(interruption.message)
    words, sizes = _NUMBER.sub("#", message), sorted(_NUMBER.findall(message))
    return interruption.kind, interruption.type_name, words, sizes


def _same_outputs(mistake: Observation, evidence: Evidence) -> bool:
    allowances: Mapping[str, Tolerance] = evidence.want.outputs if evidence.want else {}
    return all(
        _same(value, evidence.seen.outputs[name], allowances.get(name), evidence.relative)
        for name, value in mistake.outputs.items()
    )


def _same_gradients(mistake: Observation, evidence: Evidence) -> bool:
    allowances: Mapping[str, Tolerance] = evidence.want.gradients if evidence.want else {}
    for name in mistake.gradients:
        if not gradients_agree(mistake.gradients, evidence.seen.gradients, name):
            return False
        left, right = mistake.gradients[name], evidence.seen.gradients[name]
        if left is not None and right is not None:
            if not _same(left, right, allowances.get(name), evidence.relative):
                return False
    return True


def _same(left: Any, right: Any, allowance: Tolerance | None, relative: float) -> bool:
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
    allowed: float | Tensor = relative * largest
    if allowance is not None:
        element = torch.as_tensor(allowance.element, dtype=torch.float64)
        allowed = torch.clamp(_SLACK * element, min=allowed)
    used = excess(errors(other, exact), allowed)
    return math.isfinite(used) and used <= 1.0
