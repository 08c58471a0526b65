"""What the facts of a course check prove and what they do not. Pure functions of the facts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.course.course import Course
from grader.course.stubs import check_stubs
from grader.course.syllabus import Exercise
from grader.course.variants import read_variants
from grader.messages.sanitize import without_chance
from grader.observation.kind import Kind
from grader.proof.by_heart import by_heart_problems, constant_tests
from grader.proof.derived_mistakes import accepted_reasons
from grader.proof.jobs import FIRST_SEEDS, Fact, Job, detectable
from grader.proof.margins import (
    Margin,
    best_margin,
    highest_use,
    mistake_margins,
    right_margins,
    times_the_limit,
    use_allowed,
)
from grader.results.record import share

NULL_SHARE = 0.1
"""The most of the points that a null answer may win."""
REDUNDANT_SHARE = 0.2
"""The most of the tests that no mistake and no null answer may need."""
FEWEST_ALTERNATIVES = 3


@dataclass(frozen=True)
class ProofResult:
    """What is proved of one exercise; the proof holds if there are no `problems`.

    `redundant` are tests that no mistake needs, `constant` those that are the same under every
    seed.
    """

    exercise: str
    tests: int
    mistakes: int
    named: int
    alternatives: int
    rejected: int
    runs: int
    largest_null_share: float
    redundant: tuple[str, ...]
    constant: tuple[str, ...]
    right_margins: tuple[Margin, ...]
    mistake_margins: tuple[Margin, ...]
    undetectable: tuple[tuple[str, str], ...]
    derived: int
    derived_passing: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def conclude(
    exercise: Exercise, course: Course, results: Sequence[tuple[Job, list[Fact] | str]]
) -> ProofResult:
    """Draw the conclusions for one exercise from the results of its jobs."""
    broken = [
        f"{_of(job)} could not be tried: {said}" for job, said in results if isinstance(said, str)
    ]
    facts = [fact for _, found in results if not isinstance(found, str) for fact in found]
    by_kind = {kind: [f for f in facts if f.job.kind == kind] for kind in _KINDS}
    right = by_kind["right"] + by_kind["alternative"]
    misnamed = sorted({f.job.name for f in by_kind["mistake"] if f.named != (f.job.name,)})
    everything = all(fact.job.sample is None for fact in facts)
    tried = {fact.job.name for fact in by_kind["mistake"]}
    mistakes = {v.id for v in detectable(exercise, course)} if everything else tried
    redundant = _redundant(by_kind) if everything else ()
    reasons = accepted_reasons(course.paths(exercise).equivalent)
    passing = {f.job.name for f in by_kind["derived"] if f.share == 1 and f.was_asked}
    constant = constant_tests(by_kind["expected"])
    tests = len(right[0].tests) if right else 0
    return ProofResult(
        exercise=exercise.id,
        tests=tests,
        mistakes=len(mistakes),
        named=len(mistakes) - len(misnamed),
        alternatives=len(read_variants(course.paths(exercise).alternatives)),
        rejected=len({f.job.name for f in by_kind["alternative"] if f.failed}),
        runs=len(facts),
        largest_null_share=max((f.share for f in by_kind["null"]), default=0.0),
        redundant=redundant,
        constant=tuple(test.test for test in constant),
        right_margins=tuple(right_margins(right)),
        mistake_margins=tuple(mistake_margins(by_kind["mistake"])),
        undetectable=tuple(
            (v.id, v.undetectable)
            for v in read_variants(course.paths(exercise).mistakes)
            if v.undetectable
        ),
        derived=len(by_kind["derived"]),
        derived_passing=tuple((n, reason) for n, reason in reasons.items() if n in passing),
        problems=(
            *broken,
            *_stub_problems(by_kind["stub"]),
            *_right_problems(right),
            *_mistake_problems(by_kind["mistake"]),
            *_null_problems(by_kind["null"]),
            *_mode_problems(facts),
            *_redundant_problems(redundant, tests),
            *_derived_problems(by_kind["derived"], reasons),
            *by_heart_problems(by_kind["expected"]),
            *_bank_problems(exercise, course),
            *_file_problems(exercise, course),
        ),
    )


_KINDS = ("stub", "right", "alternative", "mistake", "null", "naming", "derived", "expected")


def course_problems(course: Course) -> list[str]:
    """What is out of step between the syllabus and the folders."""
    drifts = check_stubs(course)
    problems = [f"{drift.path.relative_to(course.root)}: {drift.message}" for drift in drifts]
    known = {exercise.answer_file for exercise in course.exercises}
    for folder in ("solutions", "tests/mistakes", "tests/alternatives"):
        for path in sorted((course.root / folder).glob("ex*.py")):
            if path.name not in known:
                problems.append(f"{folder}/{path.name} belongs to no exercise of the syllabus")
    lists = {course.paths(exercise).equivalent for exercise in course.exercises}
    for path in sorted((course.root / "tests" / "equivalent").glob("*.toml")):
        if path not in lists:
            problems.append(f"tests/equivalent/{path.name} belongs to no exercise of the syllabus")
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
        for measured, used in highest_use(fact).items():
            key = (*measured, fact.seed >= FIRST_SEEDS)
            if used > worst.get(key, (0.0, ""))[0]:
                worst[key] = used, _run_name(fact)
    for (test_name, precision, is_later), (used, run) in worst.items():
        limit = use_allowed(precision, is_later)
        if round(used, 2) > round(limit, 2):  # one rounding to half precision is half by definition
            yield (
                f"{run} uses {used:.0%} of the allowed error of {test_name} in {precision}; "
                f"right answers may use {limit:.0%}"
            )


def _mistake_problems(facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        if not fact.failed:
            yield f"{_run_name(fact)} passes every test"
        elif fact.named != (fact.job.name,):
            yield f"{_run_name(fact)} is diagnosed as {', '.join(fact.named) or 'nothing'}"
        else:
            best = best_margin(fact)
            if best and times_the_limit(best) < 1:
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
            told = [(test.test, test.kind, without_chance(test.line)) for test in fact.tests]
            key = (fact.job.kind, fact.job.name, fact.seed)
            if seen.setdefault(key, told) != told:
                yield f"{_run_name(fact)} is judged otherwise than in the other mode"


def _redundant(by_kind: Mapping[str, Sequence[Fact]]) -> tuple[str, ...]:
    """The tests that could go: without them all, every mistake is still caught and named."""
    needs = [needed for needed in _needs(by_kind) if needed]
    tests = [test.test for fact in by_kind["right"][:1] for test in fact.tests]
    redundant: set[str] = set()
    for test in sorted(tests, key=lambda test: sum(test in needed for needed in needs)):
        if all(needed - redundant - {test} for needed in needs) and _nulls_lose(
            by_kind["null"], redundant | {test}
        ):
            redundant.add(test)
    return tuple(test for test in tests if test in redundant)


def _needs(by_kind: Mapping[str, Sequence[Fact]]) -> Iterator[set[str]]:
    """Sets of tests, one of which must stay for a mistake to be caught or told from another."""
    for fact in by_kind["mistake"]:
        # A listed mistake is what a test was written for; conditions find it by the way.
        plainly = {test.test for test in fact.failed if not test.condition}
        yield plainly or {test.test for test in fact.failed}
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


def _redundant_problems(redundant: Sequence[str], tests: int) -> Iterator[str]:
    if tests and len(redundant) > REDUNDANT_SHARE * tests:
        yield (
            f"{len(redundant)} of {tests} tests are needed by no mistake and no null answer, "
            f"at most {REDUNDANT_SHARE:.0%} may be: {', '.join(redundant)}"
        )


def _derived_problems(facts: Sequence[Fact], reasons: Mapping[str, str]) -> Iterator[str]:
    """The derived mistakes that pass, unless a reason is listed, and reasons for others."""
    passing = set()
    for fact in facts:
        if fact.share < 1:
            continue
        passing.add(fact.job.name)
        if fact.job.name not in reasons and not fact.was_asked:
            yield f"no test asks an answer of which {fact.job.name} would be wrong"
        elif fact.job.name not in reasons:
            yield f"a derived mistake passes: {fact.job.name}"
    if facts and all(fact.job.sample is None for fact in facts):
        for name in reasons:
            if name not in passing:
                yield f"tests/equivalent lists a derived mistake that does not pass: {name}"


def _bank_problems(exercise: Exercise, course: Course) -> Iterator[str]:
    fewest = exercise.fewest_mistakes
    mistakes = len(detectable(exercise, course))
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
