"""The `grader` command.

Exit codes: 0 all is well, 1 something is not as it should be (a check failed, stubs differ, a
figure missed its limit), 2 the command was not understood, 3 the course itself is broken.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from grader.curriculum import ROOT, Curriculum, Exercise, SyllabusError, UnknownExercise, load


class _Course(click.Group):
    """Turns what the course's modules raise into one clear line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from grader.stubs import MarkerError, MissingFile

        try:
            return super().invoke(ctx)
        except UnknownExercise as error:
            raise click.UsageError(str(error)) from None
        except (SyllabusError, MarkerError) as error:
            _stop(str(error), 3)
        except MissingFile as error:
            _stop(str(error), 1)


def _stop(message: str, code: int) -> None:
    from grader.report import Report

    Report().error(message)
    sys.exit(code)


@click.group(cls=_Course, invoke_without_command=True)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Your progress through the course; see the commands below for more.

    Without a command: runs every exercise you have started, in a process of its own, and shows
    what is done, what is next and what it is worth.
    """
    if ctx.invoked_subcommand is None:
        _show_progress()


def _show_progress() -> None:
    from grader.progress import measure
    from grader.report import Report

    curriculum = load(ROOT)
    Report().progress(measure(curriculum, ROOT, curriculum.exercises), curriculum)


@main.command()
@click.argument("exercise")
@click.option("--level", type=int, default=1, help="1 is a nudge, the last nearly the answer.")
def hint(exercise: str, level: int) -> None:
    """A hint for an exercise: grader hint ex02."""
    from grader.report import Report

    found = load(ROOT).find(exercise)
    if not 1 <= level <= len(found.hints):
        raise click.UsageError(f"--level {level}: {found.id} has hints 1 to {len(found.hints)}")
    Report().hint(found, level)


@main.command("list")
def list_exercises() -> None:
    """All exercises with points, time and whether you have started them."""
    from grader.report import Report
    from grader.stubs import is_untouched

    curriculum = load(ROOT)
    untouched = {e.id for e in curriculum.exercises if is_untouched(e, ROOT)}
    Report().syllabus(curriculum, untouched)


@main.command("next")
def next_exercise() -> None:
    """The first exercise that is not done, and where to begin."""
    from grader.progress import measure
    from grader.report import Report

    curriculum = load(ROOT)
    Report().next(measure(curriculum, ROOT, curriculum.exercises).next)


@main.command()
@click.argument("exercise")
def show(exercise: str) -> None:
    """An exercise's lesson: grader show ex02."""
    from grader.report import Report

    found = load(ROOT).find(exercise)
    lesson = found.paths(ROOT).lesson
    if not lesson.exists():
        _stop(
            f"{lesson.relative_to(ROOT)} is not there; next: grader hint {found.short}",
            1,
        )
    Report().lesson(lesson.read_text(encoding="utf-8"))


@main.command()
@click.argument("exercise")
@click.option("--undo", is_flag=True, help="Bring back what the last reset put away.")
def reset(exercise: str, undo: bool) -> None:
    """Start an exercise again; your edits are kept and --undo brings them back."""
    from grader import stubs as stub_files
    from grader.report import Report

    found = load(ROOT).find(exercise)
    if undo:
        Report().restored(found, stub_files.undo_reset(found, ROOT))
    else:
        Report().reset(found, stub_files.reset(found, ROOT))


@main.command("grade")
@click.argument("submission", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seed", type=int, help="Repeat a run with the seed that its report recorded.")
@click.option("--sandbox", type=click.Choice(["auto", "light", "full"]), default="auto")
@click.option("--bans", type=click.Choice(["zero", "flag"]), default="zero", show_default=True)
@click.option("--accept-unsandboxed", is_flag=True, help="Grade where nothing protects the host.")
def grade_submission(
    submission: Path,
    json_file: Path | None,
    seed: int | None,
    sandbox: str,
    bans: str,
    accept_unsandboxed: bool,
) -> None:
    """Grade a file exNN_*.py or a folder of them, isolated, on inputs drawn in secret."""
    from grader.doctor import best_profile
    from grader.grading import grade
    from grader.report import Report

    profile = best_profile() if sandbox == "auto" else sandbox
    if profile == "process" and not accept_unsandboxed:
        raise click.UsageError(
            "this machine cannot lock a submission in, so grading could harm it; see what is "
            "missing with grader doctor, or add --accept-unsandboxed for answers that you trust"
        )
    result = grade(
        submission, load(ROOT), ROOT, profile=profile, seed=seed, bans_cost_points=bans == "zero"
    )
    Report().grade(result)
    if json_file:
        text = json.dumps(result.as_json(), indent=1, ensure_ascii=False)
        json_file.write_text(text + "\n", encoding="utf-8")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """What this machine offers to lock answers in, what is chosen, and what is missing."""
    from grader.doctor import best_profile, mechanisms
    from grader.report import Report

    found = mechanisms()
    if as_json:
        rows = [dataclasses.asdict(mechanism) for mechanism in found]
        click.echo(json.dumps({"version": 1, "profile": best_profile(), "mechanisms": rows}))
    else:
        Report().doctor(best_profile(), found)


@main.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail where they differ.")
@click.option("--force", is_flag=True, help="Replace edited files too, after backing them up.")
def stubs(only_check: bool, force: bool) -> None:
    """Write exercises/ from solutions/ (for authors)."""
    from grader.report import Report
    from grader.stubs import check_stubs, write_stubs

    curriculum = load(ROOT)
    if not only_check:
        Report().stubs(write_stubs(curriculum, ROOT, force=force))
        return
    drifts = check_stubs(curriculum, ROOT, authoring=True)
    Report().problems(f"{drift.path}: {drift.message}\n{drift.excerpt}" for drift in drifts)
    sys.exit(1 if drifts else 0)


@main.command()
@click.argument("exercises", nargs=-1)
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--margins", is_flag=True, help="Print the margins of every check and mistake.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def check(exercises: Sequence[str], seeds: int, margins: bool, json_file: Path | None) -> None:
    """Prove the tests: right answers pass, every known mistake is caught and named."""
    from grader.check import run_all
    from grader.conclusions import conclude, course_problems
    from grader.report import Report

    curriculum = load(ROOT)
    chosen = _chosen(curriculum, exercises)
    report = Report()
    problems = course_problems(curriculum, ROOT)
    report.problems(problems)
    conclusions = []
    # Results come exercise by exercise, and are told as soon as one is complete.
    by_exercise = groupby(run_all(chosen, ROOT, seeds), key=lambda found: found[0].exercise)
    for exercise in chosen:
        _, results = next(by_exercise, (exercise.id, iter(())))
        conclusions.append(conclude(exercise, ROOT, list(results)))
        report.conclusion(conclusions[-1], margins=margins)
    if json_file:
        content = {
            "version": 1,
            "seeds": seeds,
            "course_problems": problems,
            "exercises": [dataclasses.asdict(conclusion) for conclusion in conclusions],
        }
        json_file.write_text(_json(content), encoding="utf-8")
    sys.exit(1 if problems or not all(c.ok for c in conclusions) else 0)


def _json(content: object) -> str:
    """JSON as others read it, which has no infinity: what no number measures is null."""
    text = json.dumps(content, default=str)
    return json.dumps(json.loads(text, parse_constant=lambda name: None), indent=1) + "\n"


def _chosen(curriculum: Curriculum, names: Sequence[str]) -> list[Exercise]:
    return [curriculum.find(name) for name in names] or list(curriculum.exercises)


@main.command(hidden=True)
@click.argument("name")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def bench(name: str, json_file: Path | None) -> None:
    """Measure the project's figures (for maintainers)."""
    from grader.bench import FIGURES
    from grader.report import Report

    if name not in FIGURES:
        raise click.UsageError(f"no figures {name!r}: known are {', '.join(FIGURES)}")
    figures = list(FIGURES[name](ROOT))
    Report().figures(figures)
    if json_file:
        rows = [dataclasses.asdict(figure) | {"ok": figure.ok} for figure in figures]
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if all(figure.ok is not False for figure in figures) else 1)
