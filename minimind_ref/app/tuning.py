"""`sft`: a trained model learns to reply, from a user's conversations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError
from .folders import WEIGHTS, LoadedModel, load_model
from .pretraining import held_out_rows, settings_of
from .processes import Processes, joined
from .reading import Conversations, Source, read_conversations
from .rows import Encode, Rows, conversation_rows, encoder
from .runs import (
    CHECKPOINT,
    Record,
    Request,
    check_nothing_there,
    check_same_files,
    check_same_settings,
    fingerprint,
    read_record,
    saved_vocabulary,
)
from .training import Outcome, Task, learn
from .vocabulary import SPECIAL_TOKENS, Vocabulary

_CONTEXT = 512


def tune(request: Request) -> Outcome:
    """Teach a model replies, or go on with that.

    Raises:
        UserError: something on the command line, in the data or in the folders is not right.
    """
    with joined(request.device) as processes:
        with processes.alike():
            task = _resumed(request, processes) if request.resume else _new(request, processes)
        return learn(task, processes)


def _new(request: Request, processes: Processes) -> Task:
    if request.model is None:
        raise UserError("--model is missing: the folder of the model that learns to reply")
    if request.out.resolve() == request.model.resolve():
        raise UserError(f"--out is the model itself, {request.out}; want another folder")
    check_nothing_there(request.out, request.overwrite)
    loaded, base = _base(request.model)
    defaults = {
        "batch_size": 8,
        "lr": 1e-4,
        "context": min(_CONTEXT, loaded.config.max_position_embeddings),
    }
    settings = settings_of(request, defaults, processes.device)
    if settings.context > loaded.config.max_position_embeddings:
        raise UserError(
            f"--context: got {settings.context}, want at most max_position_embeddings of "
            f"{request.model}, {loaded.config.max_position_embeddings}"
        )
    data = _read(request.data, loaded.vocabulary)
    valid = _read(request.valid, loaded.vocabulary) if request.valid else None
    record = Record(
        "sft",
        settings,
        loaded.config,
        data.sources,
        valid.sources if valid else [],
        fingerprint(loaded.vocabulary),
        processes.world,
        base,
    )
    return _task(request, record, loaded.vocabulary, data, valid, loaded, processes)


def _resumed(request: Request, processes: Processes) -> Task:
    record = read_record(request)
    check_same_settings(request, record, processes.world)
    assert record.model is not None
    loaded = None
    if request.model is not None or not (request.out / CHECKPOINT).exists():
        loaded, base = _base(request.model or Path(record.model.path))
        check_same_files("model", [base], [record.model])
    vocabulary = saved_vocabulary(request.out, record)
    if vocabulary is None:
        vocabulary = (loaded or _base(Path(record.model.path))[0]).vocabulary
    data = _read(request.data or _paths(record.data), vocabulary)
    check_same_files("data", data.sources, record.data)
    valid_paths = request.valid or _paths(record.valid)
    valid = _read(valid_paths, vocabulary) if valid_paths else None
    check_same_files("validation data", valid.sources if valid else [], record.valid)
    return _task(request, record, vocabulary, data, valid, loaded, processes)


def _task(
    request: Request,
    record: Record,
    vocabulary: Vocabulary,
    data: Conversations,
    valid: Conversations | None,
    loaded: LoadedModel | None,
    processes: Processes,
) -> Task:
    encode = encoder(vocabulary)
    rows, held_out = held_out_rows(
        _rows(data, encode, record, processes),
        record.settings,
        _rows(valid, encode, record, processes) if valid else None,
    )
    return Task(
        request.out,
        record,
        vocabulary,
        rows,
        held_out,
        loaded.model.state_dict() if loaded else None,
        request.resume,
        request.log_every,
    )


def _base(folder: Path) -> tuple[LoadedModel, Source]:
    loaded = load_model(folder)
    for special in SPECIAL_TOKENS:
        if special not in loaded.vocabulary.special_tokens:
            raise UserError(
                f"{folder}: its tokenizer has no special token {special}; want one with "
                f"{', '.join(SPECIAL_TOKENS)}"
            )
    with (folder / WEIGHTS).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return loaded, Source(str(folder.resolve()), sha256)


def _read(paths: Sequence[Path], vocabulary: Vocabulary) -> Conversations:
    if not paths:
        raise UserError("name at least one file of conversations, or --resume a training")
    return read_conversations(paths, vocabulary.special_tokens)


def _paths(sources: Sequence[Source]) -> tuple[Path, ...]:
    return tuple(Path(source.path) for source in sources)


def _rows(data: Conversations, encode: Encode, record: Record, processes: Processes) -> Rows:
    rows, cut = conversation_rows(
        data.conversations, encode, record.settings.context, record.config.pad_token_id
    )
    count = len(data.conversations)
    processes.say(f"read {count:,} {'conversation' if count == 1 else 'conversations'}")
    if cut:
        lost = count - len(rows)
        gone = f"; of {lost:,} no reply is left, so they are left out" if lost else ""
        processes.say(
            f"{cut:,} of them are longer than {record.settings.context} tokens (--context) and "
            f"cut off there{gone}"
        )
    return rows
