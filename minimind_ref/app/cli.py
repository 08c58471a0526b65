"""The command line of the reference: one function per command, none of which computes."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from .errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """MiniMind: train a small language model, and use it."""


@commands.command()
@click.option("--quick", is_flag=True, help="Smaller models and fewer rounds: a few minutes.")
@click.option(
    "--part", "parts", multiple=True, type=click.Choice(["train", "decode", "moe", "loss"])
)
@click.option("--device", default=None, help="Default: cuda if there is one, else cpu.")
@click.option("--minimind", type=click.Path(path_type=Path), help="A checkout of MiniMind to race.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures.")
@click.option("--svg", type=click.Path(path_type=Path), help="Plot the ratios (extra `report`).")
def bench(
    quick: bool,
    parts: tuple[str, ...],
    device: str | None,
    minimind: Path | None,
    json_file: Path | None,
    svg: Path | None,
) -> None:
    """Measure speed beside transformers, and beside what this machine can do."""
    import torch

    from .bench import Plan, plot, rows

    plan = Plan(
        torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")), minimind=minimind
    )
    measured = []
    for row in rows(plan.quick() if quick else plan, parts or None):
        measured.append(row)
        verdict = "" if row.ok is None else "yes" if row.ok else "NO"
        bound = "" if row.limit is None else f"{'<=' if row.at_most else '>='} {row.limit:g}"
        click.echo(f"{row.name:58}{row.value:10.4g} {row.unit:9}{bound:>8}  {verdict}")
    if json_file:
        figures = [asdict(row) | {"ok": row.ok} for row in measured]
        json_file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if svg:
        plot(measured, svg)


def main() -> None:
    """Run a command; what a user can put right is one sentence and exit code 1."""
    try:
        commands(prog_name="python -m minimind_ref")
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
