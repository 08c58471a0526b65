"""The authors' and maintainers' commands. What takes time to import waits until a command runs."""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
import time
from collections.abc import Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import NoReturn

import click

from grader.course.arguments import ExerciseName, OutputFile, course_folder, this_course
from grader.course.files import write_output
from grader.course.syllabus import Exercise, Syllabus
from grader.messages.click_words import command


@command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail where they differ.")
@click.option("--force", is_flag=True, help="Replace edited files too, after backing them up.")
def stubs(only_check: bool, force: bool) -> None:
    """Write exercises/ from solutions/ (for authors)."""
    from grader.course.stubs import check_stubs, write_stubs
    from grader.messages.console import Console
    from grader.proof import printing

    course = this_course()
    if not only_check:
        printing.stubs(Console(), write_stubs(course, force=force))
        return
    drifts = check_stubs(course, authoring=True)
    problems = (f"{drift.path}: {drift.message}\n{drift.excerpt}" for drift in drifts)
    printing.problems(Console(), problems)
    sys.exit(1 if drifts else 0)


@command()
@click.argument("exercises", nargs=-1, type=ExerciseName())
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--margins", is_flag=True, help="Print the margins of every check and mistake.")
@click.option("--json", "json_file", type=OutputFile())
@click.option("--mutants", is_flag=True, help="Change the solutions' text: do the tests notice?")
@click.option(
    "--sample",
    type=click.IntRange(1),
    help="Try only so many mutants, or known and derived mistakes of each exercise.",
)
@click.option("--sample-seed", default="0", help="Which ones: any text, or today for its date.")
def check(
    exercises: Sequence[str],
    seeds: int,
    margins: bool,
    json_file: Path | None,
    mutants: bool,
    sample: int | None,
    sample_seed: str,
) -> None:
    """Prove the tests: right answers pass, every mistake is named."""
    drawn_by = datetime.date.today().isoformat() if sample_seed == "today" else sample_seed
    if mutants:
        _check_mutants(exercises, sample, drawn_by, json_file)
    from grader.messages.console import Console
    from grader.proof import printing
    from grader.proof.jobs import run_all
    from grader.proof.verdict import conclude, course_problems

    course = this_course()
    chosen = _chosen(course.syllabus, exercises)
    console = Console()
    problems = course_problems(course)
    printing.problems(console, problems)
    proofs = []
    # Results come exercise by exercise and are printed as soon as one is complete.
    by_exercise = groupby(
        run_all(chosen, course.root, seeds, sample=sample, drawn_by=drawn_by),
        key=lambda found: found[0].exercise,
    )
    for exercise in chosen:
        _, results = next(by_exercise, (exercise.id, iter(())))
        proofs.append(conclude(exercise, course, list(results)))
        printing.proof_result(console, proofs[-1], margins=margins)
    if json_file:
        content = {
            "version": 2,
            "seeds": seeds,
            "course_problems": problems,
            "exercises": [dataclasses.asdict(proof) for proof in proofs],
        }
        write_output(json_file, _json(content).encode())
    sys.exit(1 if problems or not all(proof.ok for proof in proofs) else 0)


def _check_mutants(
    names: Sequence[str], sample: int | None, seed: str, json_file: Path | None
) -> NoReturn:
    """Try changed solutions, print what became of them, and end with what that proves."""
    from grader.messages.console import Console
    from grader.proof import printing
    from grader.proof.jobs import run_jobs
    from grader.proof.mutation_score import by_exercise, mutant_jobs, score

    course = this_course()
    chosen = _chosen(course.syllabus, names)
    jobs = mutant_jobs(chosen, course, sample, seed)
    console = Console()
    scores = []
    began = time.monotonic()
    found = by_exercise(run_jobs(jobs, course.root))
    for exercise, results in ((course.syllabus.find(name), results) for name, results in found):
        scores.append(score(exercise, course, results, time.monotonic() - began))
        printing.mutation_score(console, scores[-1])
        began = time.monotonic()
    if json_file:
        exercises = [dataclasses.asdict(result) for result in scores]
        content = {"version": 1, "sample": sample, "seed": seed, "exercises": exercises}
        write_output(json_file, _json(content).encode())
    sys.exit(0 if all(result.ok for result in scores) else 1)


def _chosen(syllabus: Syllabus, names: Sequence[str]) -> list[Exercise]:
    return [syllabus.find(name) for name in names] or list(syllabus.exercises)


def _json(content: object) -> str:
    """JSON that every reader accepts: it has no infinity, so what no number measures is null."""
    text = json.dumps(content, default=str)
    return json.dumps(json.loads(text, parse_constant=lambda name: None), indent=1) + "\n"


@command(hidden=True)
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Fewer rounds and samples: all of them in two minutes.")
@click.option("--json", "json_file", type=OutputFile())
def bench(names: Sequence[str], quick: bool, json_file: Path | None) -> None:
    """Measure the project's figures, all or those named (for maintainers)."""
    from grader.messages.console import Console
    from grader.proof import printing
    from grader.proof.figures import BENCHES

    for name in names:
        if name not in BENCHES:
            raise click.UsageError(f"no figures {name!r}: known are {', '.join(BENCHES)}")
    console = Console()
    if quick:
        console.lines(["quick: few rounds and samples, drawn at random; without --quick it is all"])
    root = course_folder()
    measured = chain.from_iterable(BENCHES[name](root, quick) for name in names or BENCHES)
    figures = []
    try:
        for figure in printing.figures(console, measured):
            figures.append(figure)
    finally:  # what was measured before somebody stopped it is kept
        if json_file:
            rows = [dataclasses.asdict(figure) | {"ok": figure.ok} for figure in figures]
            text = json.dumps([row | {"quick": True} if quick else row for row in rows], indent=1)
            write_output(json_file, (text + "\n").encode())
    sys.exit(0 if all(figure.ok is not False for figure in figures) else 1)


COMMANDS = (stubs, check, bench)
