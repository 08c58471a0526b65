"""The command line of the reference: one function per command, none of which computes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


_Command = Callable[..., None]
_Decorator = Callable[[_Command], _Command]


def _model_options(command: _Command) -> _Command:
    """Where a model runs and in which dtype."""
    options: list[_Decorator] = [
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            help="In which to compute; without it, in that of the weights.",
        ),
        click.option(
            "--device", help="Such as cpu, cuda or mps; without it, cuda if there is one."
        ),
    ]
    for option in options:
        command = option(command)
    return command


def _sampling_options(command: _Command) -> _Command:
    """How a model's next token is drawn."""
    options: list[_Decorator] = [
        click.option(
            "--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same text."
        ),
        click.option(
            "--repetition-penalty",
            type=click.FloatRange(0, min_open=True),
            default=1.0,
            show_default=True,
            help="Above 1, tokens that have occurred become less likely.",
        ),
        click.option(
            "--top-p",
            type=click.FloatRange(0, 1, min_open=True),
            default=1.0,
            show_default=True,
            help="Draw from the likeliest tokens that together are this likely.",
        ),
        click.option(
            "--top-k",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Draw from this many of the likeliest tokens; 0 for all.",
        ),
        click.option(
            "--temperature",
            type=click.FloatRange(0),
            default=0.8,
            show_default=True,
            help="How much is left to chance; 0 takes the likeliest token.",
        ),
        click.option(
            "--max-new-tokens",
            type=click.IntRange(1),
            default=512,
            show_default=True,
            help="The most to write; the model's context may end it earlier.",
        ),
    ]
    for option in options:
        command = option(command)
    return command


@commands.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("prompt", required=False)
@_sampling_options
@click.option("--stop", multiple=True, help="End before this text; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@_model_options
def generate(
    model: Path,
    prompt: str | None,
    stop: tuple[str, ...],
    as_json: bool,
    dtype: str | None,
    device: str | None,
    **sampling: Any,
) -> None:
    """Continue PROMPT with the model in the folder MODEL, and print what comes as it comes.

    Without PROMPT, the text to continue is read from standard input.
    """
    from .writing import Settings, Writer, load_for_writing

    if prompt is None:
        try:
            prompt = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"standard input is not UTF-8 text: {error}") from None
    writer = Writer(load_for_writing(model, dtype=dtype, device=device))
    continuation = writer.continue_text(prompt, Settings(stop=stop, **sampling))
    text = ""
    for piece in continuation:
        text += piece
        if not as_json:
            click.echo(piece, nl=False)
    if as_json:
        said = {
            "text": text,
            "finish_reason": continuation.finish_reason,
            "prompt_tokens": continuation.prompt_tokens,
            "completion_tokens": continuation.completion_tokens,
        }
        click.echo(json.dumps(said, ensure_ascii=False))
        return
    click.echo()
    is_full = continuation.completion_tokens < sampling["max_new_tokens"]
    if continuation.finish_reason == "length" and is_full:
        click.echo("note: the model's context is full", err=True)


@commands.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--system", help="What the model is told before everything else.")
@_sampling_options
@_model_options
def chat(
    model: Path, system: str | None, dtype: str | None, device: str | None, **sampling: Any
) -> None:
    """Talk with the model in the folder MODEL; /help lists what you can do there.

    Each line that you type is a message. Lines can be piped in, too.
    """
    from .chat import chat as talk
    from .chat import read_line
    from .writing import Settings, Writer, load_for_writing

    writer = Writer(load_for_writing(model, dtype=dtype, device=device))
    if sys.stdin.isatty():
        click.echo(f"{model}: /help lists what you can do, Ctrl-D leaves.")
    talk(writer, Settings(**sampling), system=system, read=read_line("> "))


@commands.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Where to listen; 0 for any that is free.",
)
@_model_options
def serve(model: Path, host: str, port: int, dtype: str | None, device: str | None) -> None:
    """Answer programs that speak OpenAI's chat-completions protocol, with the model in MODEL.

    The name of the folder is the name of the model.
    """
    from .serve import listen, require_library, run
    from .writing import Writer, load_for_writing

    require_library()
    writer = Writer(load_for_writing(model, dtype=dtype, device=device))
    with listen(host, port) as listener:
        address, used = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        name = model.resolve().name
        click.echo(f"{name} answers at http://{shown}:{used}/v1; Ctrl-C ends it.")
        run(writer, name, listener)


def main() -> None:
    """Run a command; what a user can put right is one sentence and exit code 1."""
    try:
        commands(prog_name="python -m minimind_ref")
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
