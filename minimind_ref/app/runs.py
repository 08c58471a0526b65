"""The folder of a training: what it was asked for, so that it can go on as it began.

Beside the files of the model (see `folders`) it holds

    training.json    settings, sizes, fingerprints of data and tokenizer, and the step of the last
                     save
    checkpoint.pt    what `checkpoint.save_checkpoint` saves
    metrics.jsonl    see `metrics`
    loss.svg         see `curve`

``checkpoint.pt`` alone decides where a training goes on: each file is replaced in one step, and
what the others say about later steps is done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import MiniMindConfig
from .curve import CURVE
from .errors import UserError
from .folders import CONFIG, TOKENIZER, WEIGHTS, replace_file
from .metrics import METRICS
from .reading import Source
from .vocabulary import Vocabulary, read_vocabulary, tokenizer_json

RECORD, CHECKPOINT = "training.json", "checkpoint.pt"

_FORMAT = "minimind training"


@dataclass(frozen=True)
class Settings:
    """How to train; a training goes on with those that it began with.

    Attributes:
        steps: updates; None where ``epochs`` says how long.
        epochs: passes over the data.
        context: tokens in a row at most.
        batch_size: rows that a process takes at once.
        accumulate: how often it does so before an update.
        lr: peak of the schedule, ``optimizer.get_lr``.
        warmup: updates in which the rate climbs to the schedule.
        weight_decay: of matrices.
        grad_clip: largest norm of the gradients.
        dtype: of the matmuls; anything but float32 by autocast. The weights are float32.
        seed: of the first weights, of the order of the rows and of dropout.
        save_every: updates from one save to the next.
        valid_share: of the rows, held out for validation.
    """

    steps: int | None = None
    epochs: float | None = None
    context: int = 256
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    warmup: int = 0
    weight_decay: float = 0.1
    grad_clip: float = 1.0
    dtype: str = "float32"
    seed: int = 42
    save_every: int = 100
    valid_share: float = 0.0


@dataclass(frozen=True)
class Request:
    """What a user asks for on the command line.

    Attributes:
        command: ``train`` or ``sft``.
        data: files to learn from; none to go on with those of the training.
        out: the training's folder.
        given: settings, and sizes by their names in MiniMindConfig, where they were given.
        valid: files to validate on.
        resume: go on with the training in ``out``.
        overwrite: replace it.
        device: where; None for the best there is.
        log_every: steps between two lines of progress; 0 for silence.
        tokenizer: for ``train``, a tokenizer to take.
        config: for ``train``, a file of sizes.
        model: for ``sft``, the folder of the model to begin with.
    """

    command: str
    data: tuple[Path, ...]
    out: Path
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    valid: tuple[Path, ...] = ()
    resume: bool = False
    overwrite: bool = False
    device: str | None = None
    log_every: int = 10
    tokenizer: Path | None = None
    config: Path | None = None
    model: Path | None = None


@dataclass(frozen=True)
class Record:
    """What ``training.json`` holds."""

    command: str
    settings: Settings
    config: MiniMindConfig
    data: list[Source]
    valid: list[Source]
    tokenizer_sha256: str
    processes: int
    model: Source | None = None
    step: int = 0


def write_record(out: Path, record: Record) -> None:
    described = {"format": _FORMAT, **dataclasses.asdict(record)}
    replace_file(out / RECORD, (json.dumps(described, indent=2) + "\n").encode())


def read_record(request: Request) -> Record:
    """The record of the training that is to go on.

    Raises:
        UserError: there is none, or it is one of another command.
    """
    path = request.out / RECORD
    if not path.exists():
        raise UserError(
            f"{request.out} holds no training to go on with: {RECORD} is missing. Leave out "
            "--resume to begin one"
        )
    try:
        fields = json.loads(path.read_text("utf-8"))
        if fields.pop("format") != _FORMAT:
            raise ValueError
        record = _record_of(fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(
            f"{path} is damaged, or of another version of this program; the training in it cannot "
            "go on"
        ) from None
    if record.command != request.command:
        raise UserError(
            f"{request.out} holds a training of `{record.command}`; go on with "
            f"`python -m minimind_ref {record.command} --out {request.out} --resume`"
        )
    return record


def check_same_settings(request: Request, record: Record, processes: int) -> None:
    """Refuse to go on with other settings or sizes.

    Raises:
        UserError: one was given and is not that of the training.
    """
    begun = dataclasses.asdict(record.config) | dataclasses.asdict(record.settings)
    for name, got in request.given.items():
        if got != begun[name]:
            raise UserError(
                f"{name}: got {_shown(got)}, but the training in {request.out} began with "
                f"{_shown(begun[name])}. Leave it out to go on, or begin another training with "
                "another --out"
            )
    if processes != record.processes:
        raise UserError(
            f"the training in {request.out} began in a number of processes, {record.processes}, "
            f"that differs from this one, {processes}; go on with as many (torchrun "
            f"--nproc-per-node {record.processes})"
        )


def check_same_files(what: str, got: Sequence[Source], begun: Sequence[Source]) -> None:
    """Refuse to go on with other data.

    Raises:
        UserError: a file is not what it was when the training began.
    """
    if len(got) != len(begun):
        raise UserError(
            f"got {len(got)} files of {what}, but the training began with {len(begun)}; name the "
            "same ones, or none"
        )
    for now, then in zip(got, begun, strict=True):
        if now.sha256 != then.sha256:
            raise UserError(
                f"{now.path} differs from the {what} that the training began with, {then.path} at "
                "that time; go on with the same, or begin another training"
            )


def check_nothing_there(out: Path, overwrite: bool) -> None:
    """Refuse to write where a model or a training is already.

    Raises:
        UserError: there is one, and nobody asked to overwrite it; or there is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file, want a folder for the model")
    there = [name for name in _FILES if (out / name).exists()]
    if not there or overwrite:
        return
    go_on = "--resume to go on with the training in it, " if RECORD in there else ""
    raise UserError(
        f"{out} already holds {', '.join(there)}. Give {go_on}--overwrite to replace them, or "
        "another --out"
    )


def clear(out: Path) -> None:
    """Make the folder, and take an earlier training out of it; other files stay.

    Raises:
        UserError: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The record goes first: without it, nothing goes on with what is half gone.
        for name in _FILES:
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None


def saved_vocabulary(out: Path, record: Record) -> Vocabulary | None:
    """The tokenizer of a training; None where it ended before it saved one.

    Raises:
        UserError: it is another one now.
    """
    if not (out / TOKENIZER).exists():
        return None
    vocabulary = read_vocabulary(out / TOKENIZER)
    check_same_vocabulary(out / TOKENIZER, vocabulary, record)
    return vocabulary


def check_same_vocabulary(path: Path, vocabulary: Vocabulary, record: Record) -> None:
    """Refuse to go on with another tokenizer.

    Raises:
        UserError: it is another one.
    """
    if fingerprint(vocabulary) != record.tokenizer_sha256:
        raise UserError(
            f"{path} differs from the tokenizer that the training began with; go on with the "
            "same, or begin another training"
        )


def fingerprint(vocabulary: Vocabulary) -> str:
    """A number that two tokenizers share only if they are the same."""
    return hashlib.sha256(tokenizer_json(vocabulary)).hexdigest()


_FILES = (RECORD, CHECKPOINT, CONFIG, WEIGHTS, TOKENIZER, METRICS, CURVE)


def _record_of(fields: dict[str, Any]) -> Record:
    model = fields.pop("model")
    return Record(
        settings=Settings(**fields.pop("settings")),
        config=MiniMindConfig(**fields.pop("config")),
        data=[Source(**source) for source in fields.pop("data")],
        valid=[Source(**source) for source in fields.pop("valid")],
        model=model and Source(**model),
        **fields,
    )


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
