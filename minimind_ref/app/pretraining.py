"""`train`: a tokenizer and a model from a user's texts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..config import MiniMindConfig
from .errors import UserError
from .folders import TOKENIZER
from .processes import Processes, joined
from .reading import Source, Texts, read_texts
from .rows import Encode, Rows, encoder, text_rows
from .runs import (
    Record,
    Request,
    Settings,
    check_nothing_there,
    check_same_files,
    check_same_settings,
    check_same_vocabulary,
    fingerprint,
    read_record,
    saved_vocabulary,
)
from .training import Outcome, Task, learn
from .vocabulary import SPECIAL_TOKENS, Vocabulary, read_vocabulary

SAMPLE = 10_000_000
"""Characters that a tokenizer is trained on at most."""

_PIECE = 10_000
"""Characters that are taken or left out together when a sample is taken."""

_SIZES: dict[str, Any] = {
    "vocab_size": 6400,
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
"""A model that a laptop trains: 6 M parameters."""

_POSITIONS = 2048
"""Positions that a model has room for, if its rows are not longer."""

_SIZE_NAMES = frozenset(field.name for field in dataclasses.fields(MiniMindConfig))


def train(request: Request) -> Outcome:
    """Train a model on texts, or go on with that.

    Raises:
        UserError: something on the command line, in the data or in the folder is not right.
    """
    with joined(request.device) as processes:
        with processes.alike():
            task = _resumed(request, processes) if request.resume else _new(request, processes)
        return learn(task, processes)


def settings_of(request: Request, defaults: dict[str, Any], device: torch.device) -> Settings:
    """The settings that were given, and defaults for the others.

    Raises:
        UserError: two of them say the same thing differently.
    """
    given = {name: value for name, value in request.given.items() if name not in _SIZE_NAMES}
    if "steps" in given and "epochs" in given:
        raise UserError("--steps and --epochs both say how long to train; give one of them")
    if given.get("valid_share") and request.valid:
        raise UserError("--valid and --valid-share both say what to validate on; give one of them")
    long = {} if "steps" in given or "epochs" in given else {**_how_long(request.command)}
    dtype = {"dtype": "bfloat16" if device.type == "cuda" else "float32"}
    return Settings(**(defaults | long | dtype | given))


def held_out_rows(rows: Rows, settings: Settings, valid: Rows | None) -> tuple[Rows, Rows]:
    """Rows to learn from, and rows to validate on.

    Raises:
        UserError: nothing is left to learn from, or to validate on.
    """
    if not len(rows):
        raise UserError(
            "nothing is left to learn from: in rows of at most "
            f"{settings.context} tokens, there is none to predict. Give more data, or a larger "
            "--context"
        )
    if valid is None:
        return rows.split(settings.valid_share, settings.seed)
    if not len(valid):
        raise UserError("nothing is left to validate on; give more data with --valid")
    return rows, valid


def _how_long(command: str) -> dict[str, Any]:
    return {"steps": 1000} if command == "train" else {"epochs": 3.0}


def _new(request: Request, processes: Processes) -> Task:
    check_nothing_there(request.out, request.overwrite)
    settings = settings_of(request, {}, processes.device)
    sizes = _sizes(request)
    texts = _read(request.data, processes)
    valid = read_texts(request.valid) if request.valid else None
    if request.tokenizer is None:
        vocabulary = _learned_vocabulary(texts, sizes["vocab_size"], processes)
        sizes["vocab_size"] = len(vocabulary)
    else:
        vocabulary = _given_vocabulary(request.tokenizer)
        sizes["vocab_size"] = _room_for(vocabulary, request, sizes)
    config = _config(sizes, vocabulary, settings.context)
    record = Record(
        "train",
        settings,
        config,
        texts.sources,
        valid.sources if valid else [],
        fingerprint(vocabulary),
        processes.world,
    )
    return _task(request, record, vocabulary, texts, valid)


def _resumed(request: Request, processes: Processes) -> Task:
    record = read_record(request)
    check_same_settings(request, record, processes.world)
    texts = _read(request.data or _paths(record.data), processes)
    check_same_files("data", texts.sources, record.data)
    valid_paths = request.valid or _paths(record.valid)
    valid = read_texts(valid_paths) if valid_paths else None
    check_same_files("validation data", valid.sources if valid else [], record.valid)
    if request.config is not None:
        check_same_settings(
            dataclasses.replace(request, given=_read_sizes(request.config)),
            record,
            processes.world,
        )
    vocabulary = saved_vocabulary(request.out, record)
    if request.tokenizer is not None:
        vocabulary = _given_vocabulary(request.tokenizer)
        check_same_vocabulary(request.tokenizer, vocabulary, record)
    if vocabulary is None:
        vocabulary = _learned_vocabulary(texts, record.config.vocab_size, processes)
        check_same_vocabulary(request.out, vocabulary, record)
    return _task(request, record, vocabulary, texts, valid)


def _task(
    request: Request,
    record: Record,
    vocabulary: Vocabulary,
    texts: Texts,
    valid: Texts | None,
) -> Task:
    encode = encoder(vocabulary)
    rows, held_out = held_out_rows(
        _rows(texts, encode, record),
        record.settings,
        _rows(valid, encode, record) if valid else None,
    )
    return Task(
        request.out,
        record,
        vocabulary,
        rows,
        held_out,
        None,
        request.resume,
        request.log_every,
    )


def _rows(texts: Texts, encode: Encode, record: Record) -> Rows:
    return text_rows(
        texts.documents,
        encode,
        record.settings.context,
        eos=record.config.eos_token_id,
        pad=record.config.pad_token_id,
    )


def _paths(sources: Sequence[Source]) -> tuple[Path, ...]:
    return tuple(Path(source.path) for source in sources)


def _read(paths: Sequence[Path], processes: Processes) -> Texts:
    if not paths:
        raise UserError("name at least one file to learn from, or --resume a training")
    texts = read_texts(paths)
    characters = sum(map(len, texts.documents))
    blank = f"; {texts.blank} blank ones are left out" if texts.blank else ""
    processes.say(
        f"read {characters:,} characters in {len(texts.documents):,} "
        f"{'text' if len(texts.documents) == 1 else 'texts'}{blank}"
    )
    return texts


def _learned_vocabulary(texts: Texts, vocab_size: int, processes: Processes) -> Vocabulary:
    least = len(SPECIAL_TOKENS) + 256
    if vocab_size < least:
        raise UserError(
            f"--vocab-size: got {vocab_size}, want at least {least}: one token for each byte and "
            f"{len(SPECIAL_TOKENS)} special ones"
        )
    sample = sample_of(texts.documents, SAMPLE)
    characters = sum(map(len, sample))
    part = "" if characters < SAMPLE else f", an even sample of {characters:,} characters"
    processes.say(f"learning a tokenizer of {vocab_size:,} tokens from the texts{part}")
    vocabulary = Vocabulary.trained_on(sample, vocab_size)
    if len(vocabulary) < vocab_size:
        processes.say(f"the texts have no more than {len(vocabulary):,} tokens to learn")
    return vocabulary


def sample_of(documents: Sequence[str], limit: int) -> list[str]:
    """About ``limit`` characters, evenly from all documents, without special tokens.

    All of them where there are no more.
    """
    pieces = [
        document[at : at + _PIECE]
        for document in documents
        for at in range(0, len(document), _PIECE)
    ]
    total = sum(map(len, documents))
    if total <= limit:
        pieces = list(documents)
    else:
        pieces = pieces[:: -(-total // limit)]
    for special in SPECIAL_TOKENS:
        pieces = [part for piece in pieces for part in piece.split(special)]
    return pieces


def _given_vocabulary(path: Path) -> Vocabulary:
    if path.is_dir():
        path = path / TOKENIZER
    vocabulary = read_vocabulary(path)
    for special in SPECIAL_TOKENS:
        if special not in vocabulary.special_tokens:
            raise UserError(
                f"{path} has no special token {special}; want one with "
                f"{', '.join(SPECIAL_TOKENS)}, or let `train` make it"
            )
    return vocabulary


def _sizes(request: Request) -> dict[str, Any]:
    """The sizes that were given, and defaults: a laptop's, or MiniMind's where a file has some."""
    given = {name: value for name, value in request.given.items() if name in _SIZE_NAMES}
    if request.config is None:
        return _SIZES | given
    return {"vocab_size": _SIZES["vocab_size"]} | _read_sizes(request.config) | given


def _read_sizes(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise UserError(f'{path}: want an object of sizes, such as {{"hidden_size": 512}}')
    read.pop("format", None)
    for name in read:
        if name not in _SIZE_NAMES:
            raise UserError(f"{path}: {name} is no size of a model; there are {_names()}")
    return read


def _names() -> str:
    return ", ".join(field.name for field in dataclasses.fields(MiniMindConfig))


def _room_for(vocabulary: Vocabulary, request: Request, sizes: dict[str, Any]) -> int:
    """The embedding's rows: as many as were asked for, or as there are tokens."""
    read = _read_sizes(request.config) if request.config is not None else {}
    if "vocab_size" not in request.given and "vocab_size" not in read:
        return len(vocabulary)
    if sizes["vocab_size"] < len(vocabulary):
        raise UserError(
            f"--vocab-size: got {sizes['vocab_size']}, want at least the {len(vocabulary)} tokens "
            f"of {request.tokenizer}"
        )
    return int(sizes["vocab_size"])


def _config(sizes: dict[str, Any], vocabulary: Vocabulary, context: int) -> MiniMindConfig:
    end_of_text, start, end = (vocabulary.tokenizer.encode(token)[0] for token in SPECIAL_TOKENS)
    fixed = {"pad_token_id": end_of_text, "bos_token_id": start, "eos_token_id": end}
    positions = {"max_position_embeddings": max(_POSITIONS, context)}
    try:
        config = MiniMindConfig(**(positions | sizes | fixed))
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None
    if config.max_position_embeddings < context:
        raise UserError(
            f"--context: got {context}, want at most max_position_embeddings, "
            f"{config.max_position_embeddings}"
        )
    return config
