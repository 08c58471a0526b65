"""The instructor's commands. Whatever takes time to import is imported when a command runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from grader.course.arguments import OutputFile, this_course
from grader.course.files import write_output
from grader.messages.catalog import say
from grader.messages.click_words import command
from grader.results.record import TRY_AGAIN


@command("grade")
@click.argument("submission", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--json",
    "json_file",
    type=OutputFile(),
    help="Version 2 of grader/schemas/grade.schema.json.",
)
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
    from grader.classroom import printing
    from grader.classroom.grade import NoSubmission, check_submission, grade
    from grader.isolation.machine import best_profile
    from grader.messages.console import Console

    course = this_course()
    try:
        check_submission(submission, course.syllabus)
    except NoSubmission as error:
        raise click.UsageError(str(error)) from None
    profile = best_profile() if sandbox == "auto" else sandbox
    if profile == "process" and not accept_unsandboxed:
        raise click.UsageError(say("cli.cannot_lock"))
    result = grade(submission, course, profile=profile, seed=seed, bans_cost_points=bans == "zero")
    if json_file:
        text = json.dumps(result.as_json(), indent=1, ensure_ascii=False)
        write_output(json_file, (text + "\n").encode("utf-8", "backslashreplace"))
    printing.grade(Console(), result)
    if not result.is_graded:
        sys.exit(TRY_AGAIN)


@command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """What can lock answers in on this machine, and what is missing."""
    from grader.classroom import printing
    from grader.isolation.machine import best_profile, mechanisms
    from grader.messages.console import Console

    found = mechanisms()
    if as_json:
        rows = [dataclasses.asdict(mechanism) for mechanism in found]
        click.echo(json.dumps({"version": 1, "profile": best_profile(), "mechanisms": rows}))
    else:
        printing.doctor(Console(), best_profile(), found)


COMMANDS = (grade_submission, doctor)
