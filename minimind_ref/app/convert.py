"""A model's folder as one that `transformers` reads, and back: `python -m minimind_ref convert`.

    config.json              Qwen3's or Qwen3-MoE's, see `qwen3`
    generation_config.json   the tokens that begin, end and pad a text
    model.safetensors        the weights; they have the same names in both, and are not changed
    tokenizer.json           the same file in both
    tokenizer_config.json    the special tokens' roles, and ChatML as a template

A folder of `transformers` may have its weights in several files with an index, and those of all
experts in one tensor. All is checked before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..config import MiniMindConfig
from ..dataset import END, START
from ..model import MiniMindForCausalLM
from .errors import UserError
from .folders import CONFIG, FORMAT, TOKENIZER, WEIGHTS, load_model, replace_file, save_model
from .qwen3 import from_qwen3, is_qwen3, to_qwen3
from .vocabulary import Vocabulary, read_vocabulary, tokenizer_json

GENERATION, TOKENIZER_CONFIG = "generation_config.json", "tokenizer_config.json"
INDEX, TEMPLATE = "model.safetensors.index.json", "chat_template.jinja"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML as `dataset.render_chat` writes it, for Jinja."""

_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"

# What a folder of transformers may hold beside the files that a conversion writes.
_REST = (INDEX, TEMPLATE, "special_tokens_map.json", "added_tokens.json", "vocab.json")
_REST_PATTERNS = ("model-*-of-*.safetensors", "merges.txt", "pytorch_model*")


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        architecture: what it is now: "MiniMind", "Qwen3" or "Qwen3-MoE".
        parameters: how many, tied ones once.
        notes: sentences about what could not be taken over as it was.
    """

    architecture: str
    parameters: int
    notes: list[str]


def convert(
    source: Path, target: Path, *, dtype: torch.dtype | None = None, overwrite: bool = False
) -> Conversion:
    """Write a model's folder in the other form: a MiniMind as Qwen3, a Qwen3 as MiniMind.

    Args:
        source: a folder of this program or of transformers; which one, its config.json says.
        target: the folder to write, made if it is missing.
        dtype: of the weights; None for what they are.
        overwrite: whether a model that is there already may be replaced.

    Raises:
        UserError: source holds no model that the other side has, or target holds something.
    """
    fields = _read_json(source / CONFIG)
    _require_room(source, target, overwrite)
    if fields.get("format") == FORMAT:
        return _to_transformers(source, target, dtype)
    if is_qwen3(fields):
        return _from_transformers(source, target, fields, dtype)
    raise UserError(
        f"{source / CONFIG}: got model_type {fields.get('model_type')!r}, want a model of this "
        "program, or one of transformers with model_type qwen3 or qwen3_moe"
    )


def _require_room(source: Path, target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: name a folder to write the model into")
    if target.resolve() == source.resolve():
        raise UserError(f"{target} is the model to convert: name another folder to write into")
    if not overwrite and target.is_dir() and any(target.iterdir()):
        raise UserError(
            f"{target} is not empty: name another folder, or replace the model in it "
            "with --overwrite"
        )


def _to_transformers(source: Path, target: Path, dtype: torch.dtype | None) -> Conversion:
    loaded = load_model(source, dtype=dtype)
    config, vocabulary = loaded.config, loaded.vocabulary
    weights = _without_tied_head(loaded.model.state_dict(), config)
    kept = next(iter(weights.values())).dtype
    fields, notes = to_qwen3(config, str(kept).removeprefix("torch."))
    if not _has_chat(vocabulary):
        notes.append(f"The tokenizer lacks {START} or {END}, so no chat template was written.")
    target.mkdir(parents=True, exist_ok=True)
    _remove_rest(target)
    replace_file(target / WEIGHTS, save(weights, {"format": "pt"}))
    replace_file(target / TOKENIZER, tokenizer_json(vocabulary))
    _write_json(target / TOKENIZER_CONFIG, _tokenizer_config(config, vocabulary))
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    _write_json(target / GENERATION, {name: getattr(config, name) for name in ids})
    _write_json(target / CONFIG, fields)
    architecture = "Qwen3-MoE" if config.use_moe else "Qwen3"
    return Conversion(architecture, _count(weights), notes)


def _from_transformers(
    source: Path, target: Path, fields: Mapping[str, Any], dtype: torch.dtype | None
) -> Conversion:
    generation = _read_json(source / GENERATION) if (source / GENERATION).exists() else {}
    translation = from_qwen3(fields, generation)
    config, notes = translation.config, translation.notes
    vocabulary = _read_tokenizer(source)
    if len(vocabulary) > config.vocab_size or max(vocabulary.vocab) >= config.vocab_size:
        raise UserError(
            f"{source / TOKENIZER}: got ids up to {max(vocabulary.vocab)}, want them below "
            f"vocab_size, {config.vocab_size} in {CONFIG}"
        )
    weights = _fitting(_split_experts(_read_weights(source)), config, source)
    if dtype is not None:
        weights = {name: value.to(dtype) for name, value in weights.items()}
    notes += _notes_on_chat(source, vocabulary)
    target.mkdir(parents=True, exist_ok=True)
    _remove_rest(target)
    for name in (GENERATION, TOKENIZER_CONFIG):
        (target / name).unlink(missing_ok=True)
    save_model(target, config, weights, vocabulary)
    return Conversion("MiniMind", _count(_without_tied_head(weights, config)), notes)


def _tokenizer_config(config: MiniMindConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    said: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
    }
    for role in ("bos_token", "eos_token", "pad_token"):
        number = getattr(config, f"{role}_id")
        if number in vocabulary.vocab:
            text = vocabulary.vocab[number].decode("utf-8", "replace")
            if text in vocabulary.special_tokens:
                said[role] = text
    if _has_chat(vocabulary):
        said["chat_template"] = CHAT_TEMPLATE
    return said


def _has_chat(vocabulary: Vocabulary) -> bool:
    return {START, END} <= set(vocabulary.special_tokens)


def _read_tokenizer(source: Path) -> Vocabulary:
    if not (source / TOKENIZER).exists():
        raise UserError(
            f"{source / TOKENIZER} is missing. If transformers can load the tokenizer, "
            f"AutoTokenizer.from_pretrained({str(source)!r}).save_pretrained({str(source)!r}) "
            "writes it"
        )
    return read_vocabulary(source / TOKENIZER)


def _notes_on_chat(source: Path, vocabulary: Vocabulary) -> list[str]:
    if not _has_chat(vocabulary):
        return [
            f"The tokenizer lacks {START} or {END}: the model continues texts, but cannot chat."
        ]
    template = None
    if (source / TEMPLATE).exists():
        template = (source / TEMPLATE).read_text("utf-8")
    elif (source / TOKENIZER_CONFIG).exists():
        template = _read_json(source / TOKENIZER_CONFIG).get("chat_template")
    if template in (None, CHAT_TEMPLATE):
        return []
    return [
        "The folder has a chat template of its own; MiniMind writes conversations in plain "
        "ChatML, without what the template adds to it."
    ]


def _read_weights(source: Path) -> dict[str, Tensor]:
    if (source / WEIGHTS).exists():
        return dict(_tensors(source / WEIGHTS))
    if not (source / INDEX).exists():
        raise UserError(
            f"{source} holds neither {WEIGHTS} nor {INDEX}. If transformers can load the model, "
            "its save_pretrained writes them"
        )
    where = _read_json(source / INDEX).get("weight_map")
    if not isinstance(where, dict):
        raise UserError(f"{source / INDEX}: weight_map is missing: it says where each weight is")
    weights: dict[str, Tensor] = {}
    for file in sorted(set(where.values())):
        if not isinstance(file, str) or Path(file).name != file:
            raise UserError(f"{source / INDEX}: got {file!r} in weight_map, want a file's name")
        weights |= _tensors(source / file)
    return weights


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    if not path.exists():
        raise UserError(f"{path} is missing, though {INDEX} names it: the model is not complete")
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged, or no safetensors file: {error}") from None


def _split_experts(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each expert's matrices by themselves, where all of a layer are in one tensor."""
    split: dict[str, Tensor] = {}
    for name, value in weights.items():
        layer, fused, kind = name.partition(".mlp.experts.")
        if not fused or kind not in ("gate_up_proj", "down_proj") or value.dim() != 3:
            split[name] = value
            continue
        for number, matrix in enumerate(value):
            of_expert = f"{layer}.mlp.experts.{number}."
            if kind == "down_proj":
                split[f"{of_expert}down_proj.weight"] = matrix
            else:
                gate, up = matrix.chunk(2)
                split[f"{of_expert}gate_proj.weight"] = gate
                split[f"{of_expert}up_proj.weight"] = up
    return split


def _fitting(weights: dict[str, Tensor], config: MiniMindConfig, source: Path) -> dict[str, Tensor]:
    """The weights of a model of these sizes, in its order; all are there, with its shapes."""
    with torch.device("meta"):
        wanted = MiniMindForCausalLM(config).state_dict()
    if config.tie_word_embeddings and _EMBEDDING in weights:
        weights = {**weights, _HEAD: weights[_EMBEDDING]}
    for name, value in wanted.items():
        if name not in weights:
            raise UserError(f"{source}: {name} is missing: {CONFIG} describes a model that has it")
        if weights[name].shape != value.shape:
            raise UserError(
                f"{source}: {name} is {list(weights[name].shape)}, want {list(value.shape)} "
                f"for the sizes in {CONFIG}"
            )
        if not weights[name].is_floating_point():
            raise UserError(
                f"{source}: {name} is {weights[name].dtype}, want floating-point numbers: "
                "MiniMind has no quantised weights"
            )
    # Buffers that older versions kept, such as the rotary embedding's, can be computed.
    spare = [
        name for name in weights.keys() - wanted.keys() if not name.endswith("rotary_emb.inv_freq")
    ]
    if spare:
        raise UserError(f"{source}: {min(spare)} has no place in a model as {CONFIG} describes it")
    return {name: weights[name] for name in wanted}


def _without_tied_head(weights: Mapping[str, Tensor], config: MiniMindConfig) -> dict[str, Tensor]:
    return {
        name: value.detach().contiguous()
        for name, value in weights.items()
        if not (config.tie_word_embeddings and name == _HEAD)
    }


def _count(weights: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for value in weights.values())


def _remove_rest(target: Path) -> None:
    """Files of the model that was there before, which would be taken for parts of the new one."""
    rest = [target / name for name in _REST]
    rest += [path for pattern in _REST_PATTERNS for path in target.glob(pattern)]
    for path in rest:
        path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: name a model's folder, of this program or of transformers"
        ) from None
    except NotADirectoryError:
        raise UserError(f"{path.parent} is a file: name a model's folder") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise UserError(f"{path}: got {type(read).__name__}, want an object with fields")
    return read


def _write_json(path: Path, said: Mapping[str, Any]) -> None:
    replace_file(path, (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode())
