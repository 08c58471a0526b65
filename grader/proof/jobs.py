"""The course check: proves that the tests accept every right answer and name every wrong one.

`jobs_of` lists what must be tried for an exercise, and `run_job` tries one of these things in a
process of a pool and returns plain facts. What the facts prove is for `verdict` to say.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.course.variants import Variant, read_variants
from grader.observation.kind import Kind

if TYPE_CHECKING:  # what imports torch waits until the pool is warm
    from grader.judging.options import RunOptions
    from grader.proof.derived_mistakes import Derived

_Item = TypeVar("_Item")

COMPARED_SEEDS = (0, 1, 2)
"""The seeds under which what is expected of a right answer is compared."""
MUTANT_SECONDS = 8.0
"""What a changed solution may take at most: it is as fast as the solution, or never ends."""
FIRST_SEEDS = 20
"""What margins are set by; right answers are run in all modes with them."""
_SEEDS_PER_JOB = 1
_SEEDS_PER_WRONG_SEED = 20
_SHARES = 2
"""The jobs that an exercise's derived mistakes are divided into."""
_MOST_SEEDS, _SEEDS_OF_LISTED = 9, 3
"""The seeds that a derived mistake is tried with: some are seen under certain conditions alone.

One that is listed as impossible to see passes them all, so it gets few.
"""


@dataclass(frozen=True)
class Job:
    """One thing to try.

    `kind` is stub, right, alternative, mistake, null, naming, expected or mutant.
    A job of kind "all right" or "all wrong" stands for every right or every wrong answer there is,
    seed by seed: what the reference and the mistakes say to a seed is worked out once. One of kind
    "all derived" tries a share of an exercise's derived mistakes. With a `sample`, only so many of
    the known and of the derived mistakes are tried; `drawn_by` decides which.
    """

    exercise: str
    kind: str
    name: str = ""
    seeds: tuple[int, ...] = (0,)
    sample: int | None = None
    drawn_by: str = ""


@dataclass(frozen=True)
class TestFact:
    """What one test did in one run; `used` maps (precision, number) to error over allowance."""

    __test__ = False

    test: str
    passed: bool
    kind: str
    line: str
    used: dict[tuple[str, str], float]
    weight: int = 1
    condition: str = ""


@dataclass(frozen=True)
class Fact:
    """What one run of an exercise's tests showed.

    `was_asked` is whether the tests came to what a derived mistake does wrong. `expected` has, for
    each test, a digest of what a right answer must give.
    """

    job: Job
    seed: int
    threads: int
    isolated: bool
    share: float
    tests: tuple[TestFact, ...]
    named: tuple[str, ...] = ()
    explained: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    was_asked: bool = True
    expected: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[TestFact, ...]:
        return tuple(test for test in self.tests if not test.passed)


def jobs_of(
    exercise: Exercise, seeds: int, sample: int | None = None, drawn_by: str = ""
) -> Iterator[Job]:
    """Everything to try for one exercise; right answers with every seed, wrong ones with a few."""
    for seed in range(max(1, seeds // _SEEDS_PER_WRONG_SEED)):
        yield Job(exercise.id, "all wrong", "", (seed,), sample, drawn_by)
    yield Job(exercise.id, "stub")
    for share in range(_SHARES):
        yield Job(exercise.id, "all derived", str(share), (0,), sample, drawn_by)
    yield Job(exercise.id, "expected", seeds=COMPARED_SEEDS)
    for first in range(0, seeds, _SEEDS_PER_JOB):
        chunk = tuple(range(first, min(first + _SEEDS_PER_JOB, seeds)))
        yield Job(exercise.id, "all right", "", chunk, sample, drawn_by)


def detectable(exercise: Exercise, course: Course) -> list[Variant]:
    """The mistakes that some input on a CPU can tell from a right answer."""
    return [v for v in read_variants(course.paths(exercise).mistakes) if not v.undetectable]


def run_all(
    exercises: Sequence[Exercise],
    root: Path,
    seeds: int,
    processes: int | None = None,
    sample: int | None = None,
    drawn_by: str = "",
) -> Iterator[tuple[Job, list[Fact] | str]]:
    """Try everything of a course check, or only a sample of the mistakes; see `run_jobs`."""
    jobs = [job for exercise in exercises for job in jobs_of(exercise, seeds, sample, drawn_by)]
    return run_jobs(jobs, root, processes)


def run_jobs(
    jobs: Sequence[Job], root: Path, processes: int | None = None
) -> Iterator[tuple[Job, list[Fact] | str]]:
    """Try things in parallel; yields each job with its facts, or with what broke it."""
    # More threads than cores, each waiting busily for the others, take ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes or os.cpu_count() or 1, context, initializer=_warm, initargs=(str(root),)
    ) as pool:
        yield from zip(jobs, pool.map(_run_safely, jobs), strict=True)


class JobFailed(Exception):
    """A run broke, and no answer is to blame; the message says which run."""


class _Pool:
    """What a process of the pool keeps between jobs."""

    course: Course
    zygote: Any
    caches: dict[tuple[str, int], dict[Any, Any]]


def _warm(root: str) -> None:
    """Import torch, once per process; everything later takes milliseconds."""
    import atexit
    import gc

    from grader.isolation.launch import start_zygote

    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Pool.course = Course.load(Path(root))
    _Pool.zygote = start_zygote(_Pool.course.root)
    import grader.judging.torch_first  # noqa: F401  # while the zygote imports torch too

    gc.set_threshold(100_000)  # what piles up here is kept on purpose
    _Pool.caches = {}
    if _Pool.zygote:
        atexit.register(_Pool.zygote.close)


def _end_with_parent() -> None:
    """A pool's process waits for jobs forever, also when who gives them out has been killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_safely(job: Job) -> list[Fact] | str:
    try:
        return list(run_job(job))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def run_job(job: Job) -> Iterator[Fact]:
    """Run the tests for one job, once per seed and, for right answers, per mode and threads."""
    exercise = _Pool.course.syllabus.find(job.exercise)
    if job.kind == "all derived":
        yield from _all_derived(job, exercise)
        return
    for seed in job.seeds:
        for one in _single_jobs(job, exercise, seed):
            try:
                yield from _run_one(one, exercise, seed)
            except Exception as error:
                raise JobFailed(f"{one.kind} {one.name}, seed {seed}: {error}") from error


def _run_one(job: Job, exercise: Exercise, seed: int) -> Iterator[Fact]:
    if job.kind == "naming":
        yield _explain_all(job, exercise)
        return
    if job.kind == "expected":
        yield _expect(job, exercise, seed)
        return
    if job.kind == "mutant":
        yield _try_mutant(job, exercise, seed)
        return
    for threads, isolated in _modes(job, seed):
        yield _run_once(job, exercise, seed, threads, isolated)


def _single_jobs(job: Job, exercise: Exercise, seed: int) -> Iterator[Job]:
    """The jobs that one job stands for, each about a single answer."""
    if job.kind == "all right":
        yield from _all_right(exercise, seed, job)
    elif job.kind == "all wrong":
        yield from _all_wrong(exercise, seed, job)
    else:
        yield job


def _all_right(exercise: Exercise, seed: int, job: Job) -> Iterator[Job]:
    """The solution, the reference and every alternative."""
    for name in ("solutions", "minimind_ref"):
        yield Job(exercise.id, "right", name, (seed,), job.sample)
    for variant in read_variants(_Pool.course.paths(exercise).alternatives):
        yield Job(exercise.id, "alternative", variant.id, (seed,), job.sample, job.drawn_by)


def _all_wrong(exercise: Exercise, seed: int, job: Job) -> Iterator[Job]:
    """Every mistake and every null answer; before the first seed's, what naming rests on.

    That takes all mistakes, so it is left out where only a sample is tried.
    """
    from grader.proof.nulls import NULLS

    if seed == 0 and job.sample is None:
        yield Job(exercise.id, "naming")
    for variant in _drawn(detectable(exercise, _Pool.course), job):
        yield Job(exercise.id, "mistake", variant.id, (seed,), job.sample)
    for null in NULLS:
        yield Job(exercise.id, "null", null, (seed,))


def _modes(job: Job, seed: int) -> list[tuple[int, bool]]:
    """(threads, isolated): right answers in all four ways, with later seeds in two of them in turn.

    Others are run in one process, and with the first seed isolated as well.
    Where only a sample of the mistakes is tried, they are run in process alone, and right answers
    in the two ways that differ most; whether an alternative is isolated is drawn as well.
    """
    if job.kind == "right" and job.sample is not None:
        return [(1, False), (2, True)]
    if job.kind == "alternative" and job.sample is not None:
        return [(1, random.Random(f"{job.exercise} {job.name} {job.drawn_by}").random() < 0.5)]
    if job.kind == "right" and seed < FIRST_SEEDS:
        turns = [(1, False), (2, True)], [(2, False), (1, True)]
        return [*turns[0], *turns[1]] if seed == 0 else turns[seed % 2]
    in_both = job.kind in ("stub", "alternative") or (job.kind == "mistake" and job.sample is None)
    if in_both and seed == 0:
        return [(1, False), (1, True)]
    return [(1, False)]


def _run_once(job: Job, exercise: Exercise, seed: int, threads: int, isolated: bool) -> Fact:
    from grader.judging.run import run_tests

    options = replace(
        _options(job),
        seed=seed,
        isolate=isolated,
        threads=threads,
        zygote=_Pool.zygote,
        cache=_cache(exercise, seed),
    )
    (outcome,) = run_tests([exercise], options)
    named: tuple[str, ...] = ()
    if not outcome.passed and job.kind == "mistake":
        named = tuple(variant.id for variant in outcome.trial.diagnosis.candidates())
    return Fact(job, seed, threads, isolated, float(outcome.share), _facts(outcome.runs), named)


def _options(job: Job) -> RunOptions:
    """Whose answer a job is about."""
    from grader.judging.options import RunOptions

    options = RunOptions(impl="solutions", course=_Pool.course)
    match job.kind:
        case "stub":
            return replace(options, impl=str(_Pool.course.root / "grader" / "pristine"))
        case "right":
            return replace(options, impl=job.name)
        case "mistake" | "alternative":
            return replace(options, variant=job.name)
        case "null":
            return replace(options, module_for=lambda asked: _null_module(job.name, asked))
        case _:
            return options


def _cache(exercise: Exercise, seed: int) -> dict[Any, Any]:
    """What the reference computed for this seed; only the last few seeds are remembered."""
    while len(_Pool.caches) > 8:
        del _Pool.caches[next(iter(_Pool.caches))]
    return _Pool.caches.setdefault((exercise.id, seed), {})


def _null_module(kind: str, exercise: Exercise) -> Any:
    from grader.course.answers import solution_of
    from grader.proof.nulls import load_null

    return load_null(kind, solution_of(exercise, _Pool.course))


def _facts(runs: Iterable[Any]) -> tuple[TestFact, ...]:
    facts = []
    for run in runs:
        used: dict[tuple[str, str], float] = {}
        for dtype, margins in run.margins:
            for name, value in margins.by_name.items():
                key = (str(dtype).removeprefix("torch."), name)
                used[key] = max(used.get(key, 0.0), value)
        finding = run.finding
        line = finding.lines[0] if finding and finding.lines else ""
        interruption = finding.interruption if finding else None
        if interruption and not line:
            line = f"{interruption.type_name}: {interruption.message}"
        kind = finding.kind if finding else ""
        condition = finding.condition if finding else ""
        facts.append(TestFact(run.test, run.passed, kind, line, used, run.weight, condition))
    return tuple(facts)


def _all_derived(job: Job, exercise: Exercise) -> Iterator[Fact]:
    """A share of the derived mistakes, each with as many seeds as it takes to be caught."""
    from grader.course.answers import solution_of
    from grader.proof.derived_mistakes import accepted_reasons, derived_mistakes

    found = derived_mistakes(solution_of(exercise, _Pool.course))
    listed = accepted_reasons(_Pool.course.paths(exercise).equivalent)
    for derived in _drawn(found, job)[int(job.name) :: _SHARES]:
        seeds = _SEEDS_OF_LISTED if derived.id in listed else _MOST_SEEDS
        yield _try_derived(derived, exercise, seeds, job.sample)


def _drawn(found: Sequence[_Item], job: Job) -> Sequence[_Item]:
    """All, or as many as the job's sample has."""
    if job.sample is None:
        return found
    drawn = random.Random(f"{job.exercise} {job.drawn_by}")
    return drawn.sample(found, min(job.sample, len(found)))


def _try_derived(derived: Derived, exercise: Exercise, seeds: int, sample: int | None) -> Fact:
    from grader.course.answers import solution_of
    from grader.judging.options import RunOptions
    from grader.judging.run import run_tests
    from grader.proof.derived_mistakes import load_derived, must_act

    solution = solution_of(exercise, _Pool.course)
    usual = RunOptions(impl="solutions", course=_Pool.course)
    was_asked = False
    for seed in range(seeds):
        module, acted = load_derived(derived, solution)
        options = replace(
            usual,
            seed=seed,
            cache=_cache(exercise, seed),
            module_for=lambda _, module=module: module,  # type: ignore[misc]
        )
        (outcome,) = run_tests([exercise], options, to_first_failure=True)
        was_asked = was_asked or acted.yes
        if not outcome.passed or not (was_asked or must_act(derived)):
            break
    job = Job(exercise.id, "derived", derived.id, sample=sample)
    # What never acts and need not is about something that the function does not have.
    passes = outcome.passed and (was_asked or must_act(derived))
    return Fact(job, seed, 1, False, float(passes), (), was_asked=was_asked)


def _explain_all(job: Job, exercise: Exercise) -> Fact:
    """For every mistake and test, which mistakes do the same there: what naming rests on."""
    from grader.judging.run import run_tests

    (outcome,) = run_tests([exercise], replace(_options(job), cache=_cache(exercise, 0)))
    explained = outcome.trial.diagnosis.explanations()
    return Fact(job, 0, 1, False, float(outcome.share), (), explained=explained)


def _expect(job: Job, exercise: Exercise, seed: int) -> Fact:
    """What is expected of a right answer under a seed."""
    from grader.judging.run import run_tests
    from grader.proof.by_heart import digests

    options = replace(_options(job), seed=seed, cache=_cache(exercise, seed))
    (outcome,) = run_tests([exercise], options)
    expected = digests(outcome.trial.diagnosis.evidence)
    return Fact(job, seed, 1, False, float(outcome.share), _facts(outcome.runs), expected=expected)


def _try_mutant(job: Job, exercise: Exercise, seed: int) -> Fact:
    """The tests of an exercise on a changed solution, up to the first that fails."""
    from grader.judging.run import run_tests
    from grader.proof.text_mutants import text_mutants

    text = _Pool.course.paths(exercise).solution.read_text(encoding="utf-8")
    (mutant,) = (mutant for mutant in text_mutants(text) if mutant.id == job.name)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, exercise.answer_file).write_text(mutant.text, encoding="utf-8")
        course = _with_little_time(_Pool.course, exercise)
        cache = _cache(exercise, seed)
        options = replace(_options(job), impl=folder, seed=seed, course=course, cache=cache)
        (outcome,) = run_tests([exercise], options, to_first_failure=True)
    tests = _facts(outcome.runs)
    if any(test.kind == Kind.NOT_GRADED for test in tests):
        raise JobFailed("the machine was too busy to say anything about it")
    return Fact(job, seed, 1, False, float(outcome.share), tests)


def _with_little_time(course: Course, exercise: Exercise) -> Course:
    seconds = min(exercise.limits.seconds, MUTANT_SECONDS)
    brief = replace(exercise, limits=replace(exercise.limits, seconds=seconds))
    exercises = tuple(brief if e == exercise else e for e in course.exercises)
    return replace(course, syllabus=replace(course.syllabus, exercises=exercises))
