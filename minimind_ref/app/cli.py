"""The command line of the reference: one function per command, none of which computes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import UserError

if TYPE_CHECKING:
    from .training import Outcome

_PATH = click.Path(path_type=Path)
_ANY = click.FloatRange(min=0)
_ABOVE_0 = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)
_DTYPE = click.Choice(["float32", "bfloat16", "float16"])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """MiniMind: train a small language model, and use it."""


_Command = Callable[..., None]
_Decorator = Callable[[_Command], _Command]


def _together(*options: _Decorator) -> _Decorator:
    """Several options as one decorator, shown by --help in this order."""

    def decorated(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


# Only what is given counts: a training that goes on has settings already.
_training_options = _together(
    click.option("--out", type=_PATH, required=True, help="The folder of the new model."),
    click.option("--steps", type=_COUNT, help="Updates to make."),
    click.option("--epochs", type=_ABOVE_0, help="Passes over the data, instead of --steps."),
    click.option("--context", type=click.IntRange(min=2), help="Tokens in a row at most."),
    click.option("--batch-size", type=_COUNT, help="Rows that a process takes at once."),
    click.option("--accumulate", type=_COUNT, help="Batches before an update. [default: 1]"),
    click.option("--lr", type=_ABOVE_0, help="Peak of the learning rate."),
    click.option(
        "--warmup", type=click.IntRange(min=0), help="Updates up to the peak. [default: 0]"
    ),
    click.option("--weight-decay", type=_ANY, help="Of matrices. [default: 0.1]"),
    click.option(
        "--grad-clip", type=_ABOVE_0, help="Largest norm of the gradients. [default: 1.0]"
    ),
    click.option(
        "--dtype",
        type=_DTYPE,
        help="Of the matrix products; weights are float32. [default: bfloat16 on a GPU of "
        "NVIDIA, else float32]",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**31 - 1),
        help="Of the first weights and the order of the data. [default: 42]",
    ),
    click.option(
        "--valid",
        type=_PATH,
        multiple=True,
        help="A file to measure the loss on at every save; may be given several times.",
    ),
    click.option(
        "--valid-share",
        type=click.FloatRange(0, 0.9),
        help="Of the rows, the share to hold out for that instead.",
    ),
    click.option("--save-every", type=_COUNT, help="Updates between saves. [default: 100]"),
    click.option(
        "--log-every",
        type=click.IntRange(min=0),
        default=10,
        show_default=True,
        help="Updates between lines where there is no terminal; 0 shows no progress at all.",
    ),
    click.option("--device", help="cpu, cuda, mps … [default: cuda if there is one]"),
    click.option("--resume", is_flag=True, help="Go on with the training in --out."),
    click.option("--overwrite", is_flag=True, help="Replace what is in --out."),
)


@commands.command()
@click.argument("data", nargs=-1, type=_PATH)
@click.option("--hidden-size", type=_COUNT, help="Width of the model. [default: 256]")
@click.option("--layers", "num_hidden_layers", type=_COUNT, help="[default: 6]")
@click.option("--heads", "num_attention_heads", type=_COUNT, help="[default: 4]")
@click.option(
    "--kv-heads",
    "num_key_value_heads",
    type=_COUNT,
    help="Key and value heads, a divisor of --heads. [default: 2]",
)
@click.option(
    "--intermediate-size", type=_COUNT, help="Of the feed-forward. [default: pi times the width]"
)
@click.option("--vocab-size", type=_COUNT, help="Tokens to learn at most. [default: 6400]")
@click.option(
    "--moe/--dense", "use_moe", default=None, help="Experts in each layer. [default: dense]"
)
@click.option("--experts", "num_experts", type=_COUNT, help="With --moe. [default: 4]")
@click.option(
    "--experts-per-token", "num_experts_per_tok", type=_COUNT, help="With --moe. [default: 1]"
)
@click.option(
    "--config", type=_PATH, help="A JSON file of sizes, by the names of a model's config.json."
)
@click.option(
    "--tokenizer",
    type=_PATH,
    help="A tokenizer.json, or a model's folder, to take instead of learning one.",
)
@_training_options
def train(**options: Any) -> None:
    """Train a model on texts.

    DATA are files. One that ends in .jsonl (.ndjson, .json) holds {"text": "..."} on each line; any
    other is a text in UTF-8: one document, or several with <|endoftext|> between them. Documents
    are joined, each with an end, and cut into rows of --context tokens.

    A tokenizer is learned from the texts first (from an even sample of ten million characters if
    there are more).

    \b
        python -m minimind_ref train book.txt --out runs/book

    trains a model of 6 M parameters for 1,000 steps of 16 rows of 256 tokens, at a learning rate
    of 1e-3. All is saved every 100 steps and at Ctrl-C; `--out runs/book --resume` goes on, and
    gives the same model as if nothing had happened. The folder then holds the model, metrics.jsonl
    and the curve of the loss, loss.svg.

    For several GPUs or machines, start it with `torchrun --nproc-per-node 2 -m minimind_ref train
    …`; --batch-size counts per process.
    """
    from .pretraining import train as run

    _trained(run, "train", options)


@commands.command()
@click.argument("data", metavar="CONVERSATIONS", nargs=-1, type=_PATH)
@click.option("--model", type=_PATH, help="The folder of the model that learns.")
@_training_options
def sft(**options: Any) -> None:
    """Teach a model to reply, from conversations.

    CONVERSATIONS are files with a JSON object a line, {"conversations": [{"role": "user",
    "content": "..."}, {"role": "assistant", "content": "..."}]}; "messages" may stand for
    "conversations". Roles are system, user, assistant and tool. Only what the assistant says is
    learned. A conversation is a row; what is longer than --context (512) tokens is cut off.

    \b
        python -m minimind_ref sft chats.jsonl --model runs/book --out runs/chat

    makes three passes in steps of 8 conversations, at a learning rate of 1e-4. Saving, --resume and
    torchrun are as in `train`.
    """
    from .tuning import tune

    _trained(tune, "sft", options)


def _trained(run: Callable[[Any], Outcome], command: str, options: dict[str, Any]) -> None:
    from .memory import keep_freed_memory
    from .runs import Request

    keep_freed_memory()
    own = (
        "data", "out", "valid", "resume", "overwrite", "device", "log_every", "tokenizer", "config",
        "model",
    )  # fmt: skip
    asked = {name: options.pop(name) for name in own if name in options}
    given = {name: value for name, value in options.items() if value is not None}
    outcome = run(Request(command, given=given, **asked))
    if outcome.stopped_by is not None:
        sys.exit(128 + outcome.stopped_by)


@commands.command()
@click.argument("source", type=_PATH)
@click.argument("target", type=_PATH)
@click.option(
    "--dtype",
    type=_DTYPE,
    help="Of the weights; without it they are not changed.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model that is in TARGET.")
def convert(source: Path, target: Path, dtype: str | None, overwrite: bool) -> None:
    """Turn the model in SOURCE into one that transformers loads, or one of its into ours.

    A model of this program becomes a Qwen3 or a Qwen3-MoE for transformers, with its tokenizer
    and a chat template; a Qwen3 or a Qwen3-MoE becomes a model of this program.
    """
    import torch

    from .convert import convert as write

    of_weights = getattr(torch, dtype) if dtype else None
    done = write(source, target, dtype=of_weights, overwrite=overwrite)
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{target}: {done.architecture}, {done.parameters:,} parameters")


_model_options = _together(
    click.option("--device", help="Such as cpu, cuda or mps; without it, cuda if there is one."),
    click.option(
        "--dtype",
        type=_DTYPE,
        help="In which to compute; without it, in that of the weights.",
    ),
)


_sampling_options = _together(
    click.option(
        "--max-new-tokens",
        type=click.IntRange(1),
        default=512,
        show_default=True,
        help="The most to write; the model's context may end it earlier.",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(0),
        default=0.8,
        show_default=True,
        help="How much is left to chance; 0 takes the likeliest token.",
    ),
    click.option(
        "--top-k",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Draw from this many of the likeliest tokens; 0 for all.",
    ),
    click.option(
        "--top-p",
        type=click.FloatRange(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="Draw from the likeliest tokens that together are this likely.",
    ),
    click.option(
        "--repetition-penalty",
        type=click.FloatRange(0, min_open=True),
        default=1.0,
        show_default=True,
        help="Above 1, tokens that have occurred become less likely.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same text."
    ),
)


@commands.command()
@click.argument("model", type=_PATH)
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
@click.argument("model", type=_PATH)
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
@click.argument("model", type=_PATH)
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
    from .bench import Plan, plot, rows
    from .processes import choose_device

    plan = Plan(choose_device(device), minimind=minimind)
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
