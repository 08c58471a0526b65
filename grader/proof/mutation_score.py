"""How many changed solutions the tests kill, and which of the others they should have killed."""

from __future__ import annotations

import ast
import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.proof.jobs import Fact, Job
from grader.proof.text_mutants import TextMutant, text_mutants


class BrokenList(ValueError):
    """A list of equivalent mutants is not in the form that it must have."""


@dataclass(frozen=True)
class MutationScore:
    """What became of an exercise's mutants; the tests are proven if there are no `problems`.

    `equivalent` are those that passed and that no legal input tells from the solution.
    """

    exercise: str
    mutants: int
    killed: int
    equivalent: int
    survivors: tuple[str, ...]
    seconds: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def mutants_of(exercise: Exercise, course: Course) -> tuple[TextMutant, ...]:
    """The changed forms of an exercise's solution."""
    return text_mutants(course.paths(exercise).solution.read_text(encoding="utf-8"))


def mutant_jobs(
    exercises: Sequence[Exercise], course: Course, sample: int | None = None, seed: str = "0"
) -> list[Job]:
    """The mutants to try, exercise by exercise: all, or a sample that depends on the seed alone."""
    jobs = [Job(e.id, "mutant", mutant.id) for e in exercises for mutant in mutants_of(e, course)]
    if sample is None:
        return jobs

    def drawn(job: Job) -> bytes:
        return hashlib.sha256(f"{seed} {job.exercise} {job.name}".encode()).digest()

    chosen = set(sorted(jobs, key=drawn)[:sample])
    return [job for job in jobs if job in chosen]


def read_equivalents(path: Path) -> dict[str, str]:
    """The mutants that an author has found equivalent, with the reasons; none without a file."""
    if not path.exists():
        return {}
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    reasons: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        if set(entry) != {"mutants", "reason"} or not entry["reason"].strip():
            raise BrokenList(f"{path}, entry {number}: it needs mutants and a reason, no more")
        for mutant in entry["mutants"]:
            if mutant in reasons:
                raise BrokenList(f"{path}, entry {number}: {mutant} is listed twice")
            reasons[mutant] = entry["reason"]
    return reasons


def score(
    exercise: Exercise,
    course: Course,
    results: Sequence[tuple[Job, list[Fact] | str]],
    seconds: float,
) -> MutationScore:
    """Draw the conclusions for one exercise from the results of its jobs."""
    path = course.paths(exercise).equivalent
    listed = read_equivalents(path)
    mutants = {mutant.id: mutant for mutant in mutants_of(exercise, course)}
    broken = [
        f"{job.name} could not be tried: {said}" for job, said in results if isinstance(said, str)
    ]
    passed = {
        fact.job.name: not fact.failed
        for _, found in results
        if not isinstance(found, str)
        for fact in found
    }
    alive = [name for name, is_alive in passed.items() if is_alive]
    survivors = [name for name in alive if name not in listed and not mutants[name].equivalent]
    return MutationScore(
        exercise=exercise.id,
        mutants=len(passed),
        killed=len(passed) - len(alive),
        equivalent=len(alive) - len(survivors),
        survivors=tuple(survivors),
        seconds=seconds,
        problems=(
            *broken,
            *(_survivor(mutants[name], exercise, course) for name in survivors),
            *_stale(listed, passed, mutants, path.name),
        ),
    )


def _survivor(mutant: TextMutant, exercise: Exercise, course: Course) -> str:
    solution = course.paths(exercise).solution.read_text(encoding="utf-8")
    before = set(ast.unparse(ast.parse(solution)).splitlines())
    # Docstrings are unparsed in another form than they are written in, but are never changed.
    lines = (line for line in mutant.text.splitlines() if not line.strip().startswith(("'", '"')))
    changed = next((line for line in lines if line not in before), "")
    shown = f": {changed.strip()}" if changed else ""
    return (
        f"no test kills {mutant.id!r}{shown}; write one, or list it with the reason in "
        f"tests/equivalent/{exercise.id}.toml"
    )


def _stale(
    listed: Mapping[str, str],
    passed: Mapping[str, bool],
    mutants: Mapping[str, TextMutant],
    file: str,
) -> Iterator[str]:
    for name in listed:
        if name not in mutants:
            yield f"{file} lists {name!r}, which is no mutant of the solution"
        elif mutants[name].equivalent:
            yield f"{file} lists {name!r}, which a rule knows: {mutants[name].equivalent}"
        elif passed.get(name) is False:
            yield f"{file} lists {name!r}, which a test kills"


def by_exercise(
    results: Iterator[tuple[Job, list[Fact] | str]],
) -> Iterator[tuple[str, list[tuple[Job, list[Fact] | str]]]]:
    """The results of each exercise as soon as they are complete."""
    for exercise, found in groupby(results, key=lambda result: result[0].exercise):
        yield exercise, list(found)
