"""A model on disk: a folder with its sizes, its weights and its tokenizer.

    config.json         all fields of MiniMindConfig, with "format": "minimind"
    model.safetensors   the weights, under the names of MiniMindForCausalLM
    tokenizer.json      the vocabulary, as the `tokenizers` library writes it

Training keeps its own files beside these; see `training`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..config import MiniMindConfig
from .errors import UserError
from .fast import FastForCausalLM
from .vocabulary import Vocabulary, read_vocabulary, tokenizer_json

FORMAT = "minimind"

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"

_TIED = "lm_head.weight"


@dataclass(frozen=True)
class LoadedModel:
    """What a model's folder holds."""

    config: MiniMindConfig
    model: FastForCausalLM
    vocabulary: Vocabulary


def save_model(
    folder: Path,
    config: MiniMindConfig,
    weights: Mapping[str, Tensor],
    vocabulary: Vocabulary,
) -> None:
    """Write a model; files of the same names are replaced, each in one step.

    Args:
        folder: made if it is missing.
        config: the model's sizes.
        weights: its state dict; of tied weights one copy is written.
        vocabulary: its tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        name: value.detach().cpu().contiguous()
        for name, value in weights.items()
        if not (config.tie_word_embeddings and name == _TIED)
    }
    described = {"format": FORMAT, **dataclasses.asdict(config)}
    replace_file(folder / WEIGHTS, save(kept, {"format": "pt"}))
    replace_file(folder / CONFIG, (json.dumps(described, indent=2) + "\n").encode())
    replace_file(folder / TOKENIZER, tokenizer_json(vocabulary))


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> LoadedModel:
    """Read a model, in eval mode.

    Args:
        folder: as ``save_model`` wrote it.
        dtype: of the weights; None for that in which they were saved.
        device: where they go.

    Raises:
        UserError: something is missing or does not fit together.
    """
    config = read_config(folder)
    vocabulary = read_vocabulary(folder / TOKENIZER)
    if len(vocabulary) > config.vocab_size:
        raise UserError(
            f"{folder / TOKENIZER}: got {len(vocabulary)} tokens, want at most "
            f"vocab_size, {config.vocab_size} in {CONFIG}"
        )
    weights = _read_weights(folder / WEIGHTS)
    if config.tie_word_embeddings and "model.embed_tokens.weight" in weights:
        weights.setdefault(_TIED, weights["model.embed_tokens.weight"])
    kept = next(iter(weights.values())).dtype if weights else torch.float32
    try:
        model = FastForCausalLM(config).to(dtype or kept)
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from None
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS} does not fit {CONFIG}: {error}") from None
    return LoadedModel(config, model.to(device).eval(), vocabulary)


def read_config(folder: Path) -> MiniMindConfig:
    """The sizes of the model in a folder.

    Raises:
        UserError: the folder holds no model of this program.
    """
    path = folder / CONFIG
    if not path.exists():
        raise UserError(
            f"{folder} holds no model: {CONFIG} is missing. Train one with "
            "`python -m minimind_ref train`"
        )
    try:
        fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
        raise UserError(
            f"{folder} holds a model of another program. If transformers can read it, "
            f"`python -m minimind_ref convert {folder} NEW_FOLDER` turns it into one of MiniMind"
        )
    try:
        return MiniMindConfig(**fields)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in one step: whoever looks sees the old one or the new one, never a part."""
    # Not tempfile's mkstemp: the file it makes can be read by its owner alone.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(beside)
        raise


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: a model's folder holds its weights") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged, or no safetensors file: {error}") from None
