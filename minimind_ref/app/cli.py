"""The command line of the reference: one function per command, none of which computes."""

from __future__ import annotations

import sys

import click

from .errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """MiniMind: train a small language model, and use it."""


def main() -> None:
    """Run a command; what a user can put right is one sentence and exit code 1."""
    try:
        commands(prog_name="python -m minimind_ref")
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
