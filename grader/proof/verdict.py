"""What the facts of a course check prove, and what they do not. Pure: facts in, conclusions out."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.course.course import Course
from grader.course.stubs import check_stubs
from grader.course.syllabus import Exercise
from grader.course.variants import read_variants
from grader.observation.kind import Kind
from grader.proof.jobs import (
    FEWEST_ALTERNATIVES,
    FIRST_SEEDS,
    FLOAT32_EXCEEDED,
    FLOAT32_USED,
    HALF_EXCEEDED,
    HALF_USED,
    NULL_SHARE,
    SPARE_SHARE,
    USED_BEYOND,
    Fact,
    Job,
    TestFact,
    countable,
)
from grader.results.record import share

_NUMERIC = (Kind.VALUE, Kind.GRADIENT)
_HALVES = ("bfloat16", "float16")
_FEWEST_MISTAKES = {"": 8} | dict.fromkeys(
    (
        "attention",
        "kv_cache",
        "flash_attention",
        "moe_gate",
        "moe",
        "model",
        "tokenizer",
        "loss",
        "train_step",
        "checkpoint",
        "sampling",
        "generate",
    ),
    12,
)


@dataclass(frozen=True)
class Margin:
    """One check's margin: error over allowance, for right answers or for one mistake."""

    test: str
    who: str
    precision: str
    used: float


@dataclass(frozen=True)
class Conclusion:
    """What is proved of one exercise: counts, problems in words, margins, spare tests."""

    exercise: str
    tests: int
    mistakes: int
    named: int
    alternatives: int
    rejected: int
    runs: int
    largest_null_share: float
    spare: tuple[str, ...]
    right_margins: tuple[Margin, ...]
    mistake_margins: tuple[Margin, ...]
    undetectable: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def conclude(
    exercise: Exercise, course: Course, results: Sequence[tuple[Job, list[Fact] | str]]
) -> Conclusion:
    """Draw the conclusions for one exercise from the results of its jobs."""
    broken = [
        f"{_of(job)} could not be tried: {said}" for job, said in results if isinstance(said, str)
    ]
    facts = [fact for _, found in results if not isinstance(found, str) for fact in found]
    by_kind = {kind: [f for f in facts if f.job.kind == kind] for kind in _KINDS}
    right = by_kind["right"] + by_kind["alternative"]
    mistakes = {v.id for v in countable(exercise, course)}
    misnamed = sorted({f.job.name for f in by_kind["mistake"] if f.named != (f.job.name,)})
    spare = _spare(by_kind)
    tests = len(right[0].tests) if right else 0
    return Conclusion(
        exercise=exercise.id,
        tests=tests,
        mistakes=len(mistakes),
        named=len(mistakes) - len(misnamed),
        alternatives=len(read_variants(course.paths(exercise).alternatives)),
        rejected=len({f.job.name for f in by_kind["alternative"] if f.failed}),
        runs=len(facts),
        largest_null_share=max((f.share for f in by_kind["null"]), default=0.0),
        spare=spare,
        right_margins=tuple(_right_margins(right)),
        mistake_margins=tuple(_mistake_margins(by_kind["mistake"])),
        undetectable=tuple(
            (v.id, v.undetectable)
            for v in read_variants(course.paths(exercise).mistakes)
            if v.undetectable
        ),
        problems=(
            *broken,
            *_stub_problems(by_kind["stub"]),
            *_right_problems(right),
            *_mistake_problems(by_kind["mistake"]),
            *_null_problems(by_kind["null"]),
            *_mode_problems(facts),
            *_spare_problems(spare, tests),
            *_bank_problems(exercise, course),
            *_file_problems(exercise, course),
        ),
    )


_KINDS = ("stub", "right", "alternative", "mistake", "null", "naming")


def course_problems(course: Course) -> list[str]:
    """What is out of step between the syllabus and the folders."""
    drifts = check_stubs(course)
    problems = [f"{drift.path.relative_to(course.root)}: {drift.message}" for drift in drifts]
    known = {exercise.answer_file for exercise in course.exercises}
    for folder in ("solutions", "tests/mistakes", "tests/alternatives"):
        for path in sorted((course.root / folder).glob("ex*.py")):
            if path.name not in known:
                problems.append(f"{folder}/{path.name} belongs to no exercise of the syllabus")
    test_files = {course.paths(exercise).test_file for exercise in course.exercises}
    for path in sorted((course.root / "tests").glob("test_*.py")):
        if path not in test_files:
            problems.append(f"tests/{path.name} belongs to no exercise of the syllabus")
    return problems


def _of(job: Job) -> str:
    return f"{job.exercise} {job.kind} {job.name}".rstrip()


def _run_name(fact: Fact) -> str:
    how = "isolated" if fact.isolated else "in process"
    return f"{_of(fact.job)} (seed {fact.seed}, {fact.threads} threads, {how})"


def _stub_problems(facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        for test in fact.tests:
            if test.passed:
                yield f"the stub passes {test.test}"
            elif test.kind != Kind.NOT_IMPLEMENTED:
                yield f"the stub fails {test.test} by {test.kind}, not by being a stub: {test.line}"


def _right_problems(facts: Iterable[Fact]) -> Iterator[str]:
    worst: dict[tuple[str, str, bool], tuple[float, str]] = {}
    for fact in facts:
        for test in fact.failed:
            yield f"{_run_name(fact)} fails {test.test}: {test.line}"
        for measured, used in _most_used(fact).items():
            key = (*measured, fact.seed >= FIRST_SEEDS)
            if used > worst.get(key, (0.0, ""))[0]:
                worst[key] = used, _run_name(fact)
    for (test_name, precision, beyond), (used, run) in worst.items():
        limit = HALF_USED if precision in _HALVES else FLOAT32_USED
        limit *= USED_BEYOND if beyond else 1
        if round(used, 2) > round(limit, 2):  # one rounding to half precision is half by definition
            yield (
                f"{run} uses {used:.0%} of the allowed error of {test_name} in {precision}; "
                f"right answers may use {limit:.0%}"
            )


def _most_used(fact: Fact) -> dict[tuple[str, str], float]:
    most: dict[tuple[str, str], float] = {}
    for test in fact.tests:
        for (precision, _), used in test.used.items():
            key = (test.test, precision)
            most[key] = max(most.get(key, 0.0), used)
    return most


def _right_margins(facts: Iterable[Fact]) -> Iterator[Margin]:
    most: dict[tuple[str, str], tuple[float, str]] = {}
    for fact in facts:
        for key, used in _most_used(fact).items():
            if used >= most.get(key, (-1.0, ""))[0]:
                most[key] = used, fact.job.name
    for (test, precision), (used, who) in sorted(most.items()):
        yield Margin(test, who, precision, used)


def _mistake_margins(facts: Iterable[Fact]) -> Iterator[Margin]:
    """By how much each mistake exceeds the allowance where it does so most, in its worst run."""
    least: dict[str, Margin] = {}
    for fact in facts:
        best = _best_margin(fact)
        if best and best.used <= least.get(fact.job.name, best).used:
            least[fact.job.name] = best
    yield from least.values()


def _best_margin(fact: Fact) -> Margin | None:
    margins = [margin for test in fact.failed for margin in _exceeded(fact.job.name, test)]
    return max(margins, key=_times_the_limit, default=None)


def _times_the_limit(margin: Margin) -> float:
    return margin.used / (HALF_EXCEEDED if margin.precision in _HALVES else FLOAT32_EXCEEDED)


def _exceeded(who: str, test: TestFact) -> Iterator[Margin]:
    if test.kind not in _NUMERIC:
        yield Margin(test.test, who, test.kind, math.inf)
        return
    for (precision, _), used in test.used.items():
        yield Margin(test.test, who, precision, used)


def _mistake_problems(facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        if not fact.failed:
            yield f"{_run_name(fact)} passes every test"
        elif fact.named != (fact.job.name,):
            yield f"{_run_name(fact)} is diagnosed as {', '.join(fact.named) or 'nothing'}"
        else:
            best = _best_margin(fact)
            if best and _times_the_limit(best) < 1:
                yield (
                    f"{_run_name(fact)} exceeds the allowed error {best.used:.1f} times at most, "
                    f"in {best.test} ({best.precision}): too close to right"
                )


def _null_problems(facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        if fact.share > NULL_SHARE:
            passed = ", ".join(test.test for test in fact.tests if test.passed)
            yield f"the null answer {fact.job.name!r} wins {fact.share:.0%} of the points: {passed}"


def _mode_problems(facts: Iterable[Fact]) -> Iterator[str]:
    """Both modes must say the same of the same answer, down to the message."""
    seen: dict[tuple[str, str, int], list[tuple[str, str, str]]] = {}
    for fact in facts:
        if fact.job.kind in ("stub", "mistake", "alternative"):
            told = [(test.test, test.kind, test.line) for test in fact.tests]
            key = (fact.job.kind, fact.job.name, fact.seed)
            if seen.setdefault(key, told) != told:
                yield f"{_run_name(fact)} is judged otherwise than in the other mode"


def _spare(by_kind: Mapping[str, Sequence[Fact]]) -> tuple[str, ...]:
    """The tests that could go: without them all, every mistake is still caught and named."""
    needs = [needed for needed in _needs(by_kind) if needed]
    tests = [test.test for fact in by_kind["right"][:1] for test in fact.tests]
    spare: set[str] = set()
    for test in sorted(tests, key=lambda test: sum(test in needed for needed in needs)):
        if all(needed - spare - {test} for needed in needs) and _nulls_lose(
            by_kind["null"], spare | {test}
        ):
            spare.add(test)
    return tuple(test for test in tests if test in spare)


def _needs(by_kind: Mapping[str, Sequence[Fact]]) -> Iterator[set[str]]:
    """Sets of tests, one of which must stay for a mistake to be caught or told from another."""
    for fact in by_kind["mistake"]:
        yield {test.test for test in fact.failed}
    for fact in by_kind["naming"]:
        others = set(fact.explained)
        for name, tests in fact.explained.items():
            for other in others - {name}:
                yield {test for test, alike in tests.items() if other not in alike}


def _nulls_lose(facts: Iterable[Fact], without: set[str]) -> bool:
    """Whether null answers still earn next to nothing where some tests are left out."""
    for fact in facts:
        left = [test for test in fact.tests if test.test not in without]
        if share((test.weight, test.passed) for test in left) > NULL_SHARE:
            return False
    return True


def _spare_problems(spare: Sequence[str], tests: int) -> Iterator[str]:
    if tests and len(spare) > SPARE_SHARE * tests:
        yield (
            f"{len(spare)} of {tests} tests are needed by no mistake and no null answer, "
            f"at most {SPARE_SHARE:.0%} may be: {', '.join(spare)}"
        )


def _bank_problems(exercise: Exercise, course: Course) -> Iterator[str]:
    fewest = _FEWEST_MISTAKES.get(exercise.name, _FEWEST_MISTAKES[""])
    mistakes = len(countable(exercise, course))
    if mistakes < fewest:
        yield f"{exercise.id} has {mistakes} mistakes, at least {fewest} are wanted"
    alternatives = len(read_variants(course.paths(exercise).alternatives))
    if alternatives < FEWEST_ALTERNATIVES:
        wanted = f"at least {FEWEST_ALTERNATIVES} are wanted"
        yield f"{exercise.id} has {alternatives} alternatives, {wanted}"


def _file_problems(exercise: Exercise, course: Course) -> Iterator[str]:
    paths = course.paths(exercise)
    for path in (paths.reference, paths.test_file, paths.lesson):
        if not path.exists():
            yield f"{path.relative_to(course.root)} is missing"
    if paths.test_file.exists():
        yield from _undocumented(paths.test_file)


def _undocumented(test_file: Path) -> Iterator[str]:
    for node in ast.parse(test_file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            sentence = ast.get_docstring(node)
            if not sentence:
                yield f"{test_file.name}::{node.name} has no docstring: the learner reads it"
            elif not sentence.endswith("."):
                yield f"{test_file.name}::{node.name}: its docstring needs a full stop"
