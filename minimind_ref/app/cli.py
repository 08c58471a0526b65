"""The command line of the reference: one function per command, none of which computes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """MiniMind: train a small language model, and use it."""


@commands.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the weights; without it they are not changed.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model that is in TARGET.")
def convert(source: Path, target: Path, dtype: str | None, overwrite: bool) -> None:
    """Turn the model in SOURCE into one that transformers loads, or one of its into ours.

    A model of this program becomes a Qwen3 or a Qwen3-MoE for transformers, with its tokenizer
    and a chat template; a Qwen3 or a Qwen3-MoE becomes a model of this program.
    """
    from .convert import DTYPES
    from .convert import convert as write

    done = write(source, target, dtype=DTYPES[dtype] if dtype else None, overwrite=overwrite)
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{target}: {done.architecture}, {done.parameters:,} parameters")


def main() -> None:
    """Run a command; what a user can put right is one sentence and exit code 1."""
    try:
        commands(prog_name="python -m minimind_ref")
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
