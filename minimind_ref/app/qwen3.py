"""A model's sizes as the `config.json` of Qwen3 or Qwen3-MoE in `transformers`, and back.

The weights of both have the same names and shapes; what has to be translated is what is said about
them. Where the two compute differently, or one has no word for what the other does, a conversion is
refused with the name of the field. What only MiniMind says, and what changes nothing in a finished
model, is kept in the file under "minimind", which `transformers` passes on and does not look at.

YaRN: `transformers` (modeling_rope_utils.py, `_compute_yarn_parameters`) derives an attention
factor where none is given, MiniMind takes 1; and they clamp the ramp's end differently, which
matters only where it lies beyond the slowest pair.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ..config import YARN_FIELDS, MiniMindConfig
from .errors import UserError

OWN = "minimind"
"""The key of `config.json` for what only MiniMind says."""

_ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM"}
_SILU = ("silu", "swish")  # one function by two names
_ONLY_OWN = ("dropout", "flash_attn", "aux_loss_kind")
_OF_EXPERTS = (
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "norm_topk_prob",
    "router_aux_loss_coef",
    "n_shared_experts",
)
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
_TRANSFORMERS_THETA, _TRANSFORMERS_HEAD_DIM = 10000.0, 128  # where a file of its leaves them out


@dataclasses.dataclass(frozen=True)
class Translation:
    """A model's sizes, and what a user should know about how they were translated."""

    config: MiniMindConfig
    notes: list[str]


def is_qwen3(fields: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is that of a Qwen3 or a Qwen3-MoE."""
    return fields.get("model_type") in _ARCHITECTURES


def to_qwen3(config: MiniMindConfig, dtype: str) -> tuple[dict[str, Any], list[str]]:
    """What `config.json` says of a model for `transformers`, and notes for the user.

    Args:
        config: the model's sizes.
        dtype: of its weights, such as "float32".

    Raises:
        UserError: Qwen3 has no such model.
    """
    _require_silu(config.hidden_act)
    if config.use_moe and config.n_shared_experts:
        raise UserError(
            f"n_shared_experts is {config.n_shared_experts}, but Qwen3-MoE has no shared experts: "
            "only models without them can be converted"
        )
    model_type = "qwen3_moe" if config.use_moe else "qwen3"
    same = (
        *_SIZES,
        *("num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "tie_word_embeddings"),
        *("bos_token_id", "eos_token_id", "pad_token_id"),
    )
    fields: dict[str, Any] = {
        "architectures": [_ARCHITECTURES[model_type]],
        "model_type": model_type,
        **{name: getattr(config, name) for name in same},
        "hidden_act": "silu",
        "rope_scaling": _yarn_to_qwen3(config),
        "attention_bias": False,
        "attention_dropout": config.dropout,
        "use_sliding_window": False,
        "sliding_window": None,
        "use_cache": True,
        "torch_dtype": dtype,
    }
    only_own = [*_ONLY_OWN, "norm_topk_prob"]
    if config.use_moe:
        fields |= {name: getattr(config, name) for name in _OF_EXPERTS[:-1]}
        # MiniMind keeps the weight of a single expert as it is; transformers would make it 1.
        fields["norm_topk_prob"] = config.norm_topk_prob and config.num_experts_per_tok > 1
        fields |= {"decoder_sparse_step": 1, "mlp_only_layers": []}
    else:
        only_own += _OF_EXPERTS
    if not fields["rope_scaling"]:
        only_own.append("rope_scaling")
    own = {name: getattr(config, name) for name in only_own}
    if own.get("rope_scaling") is not None:
        own["rope_scaling"] = dict(own["rope_scaling"])
    fields[OWN] = own
    return fields, _notes_for_training(config)


def from_qwen3(fields: Mapping[str, Any], generation: Mapping[str, Any]) -> Translation:
    """The sizes that a `config.json` of `transformers` describes.

    Args:
        fields: what stands in it; its "model_type" is one for which `is_qwen3` holds.
        generation: what stands in `generation_config.json`, or nothing.

    Raises:
        UserError: MiniMind has no such model.
    """
    try:
        return _translated(fields, generation)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(f"config.json: {error}") from None


def _translated(fields: Mapping[str, Any], generation: Mapping[str, Any]) -> Translation:
    _refuse_what_minimind_lacks(fields)
    notes: list[str] = []
    read: dict[str, Any] = {name: _required(fields, name) for name in _SIZES}
    heads = read["num_attention_heads"]
    is_moe = fields["model_type"] == "qwen3_moe"
    head_dim = 0 if is_moe else _TRANSFORMERS_HEAD_DIM
    rope = _rope(fields)
    read |= {
        "num_key_value_heads": _given(fields, "num_key_value_heads", heads),
        "head_dim": _given(fields, "head_dim", head_dim),
        "rms_norm_eps": _given(fields, "rms_norm_eps", 1e-6),
        "rope_theta": rope.get("rope_theta", _TRANSFORMERS_THETA),
        "tie_word_embeddings": _given(fields, "tie_word_embeddings", False),
        "dropout": _given(fields, "attention_dropout", 0.0),
        "use_moe": is_moe,
    }
    if is_moe:
        read |= _experts(fields)
    read |= _token_ids(fields, generation, notes)
    own = _own(fields)
    read["rope_scaling"] = _yarn_from_qwen3(rope, read)
    if read["rope_scaling"] is None and _has_no_effect(own.get("rope_scaling"), read):
        read["rope_scaling"] = own["rope_scaling"]
    kept = _ONLY_OWN if is_moe else (*_ONLY_OWN, *_OF_EXPERTS)
    read |= {name: own[name] for name in kept if name in own}
    if is_moe and read["num_experts_per_tok"] == 1:
        read["norm_topk_prob"] = own.get("norm_topk_prob", False)
    return Translation(MiniMindConfig(**read), notes)


def _own(fields: Mapping[str, Any]) -> dict[str, Any]:
    own = fields.get(OWN)
    return own if isinstance(own, dict) else {}


def _given(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    """A field's value, or the default where it is missing or null."""
    value = fields.get(name)
    return default if value is None else value


def _required(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if value is None:
        raise UserError(f"config.json: {name} is missing, and nothing else says what it is")
    return value


def _require_silu(activation: Any) -> None:
    if activation not in _SILU:
        raise UserError(
            f"hidden_act: got {activation!r}, want 'silu': MiniMind has no other activation"
        )


def _refuse_what_minimind_lacks(fields: Mapping[str, Any]) -> None:
    _require_silu(_given(fields, "hidden_act", "silu"))
    for name, want in (
        ("attention_bias", "false: the projections of MiniMind have no biases"),
        ("use_sliding_window", "false: in MiniMind every token sees all earlier ones"),
        ("mlp_only_layers", "none: in MiniMind all layers have experts, or none has"),
        ("quantization_config", "none: save the model with weights of a floating-point dtype"),
    ):
        if fields.get(name):
            raise UserError(f"{name}: got {fields[name]!r}, want {want}")
    if set(fields.get("layer_types") or ()) - {"full_attention"}:
        raise UserError(
            f"layer_types: got {sorted(set(fields['layer_types']))}, want full_attention alone: "
            "in MiniMind every token sees all earlier ones"
        )
    step = _given(fields, "decoder_sparse_step", 1)
    if step != 1:
        raise UserError(
            f"decoder_sparse_step: got {step!r}, want 1: in MiniMind all layers have experts, "
            "or none has"
        )
    architecture = _ARCHITECTURES[fields["model_type"]]
    if (fields.get("architectures") or [architecture]) != [architecture]:
        raise UserError(
            f"architectures: got {fields['architectures']!r}, want {architecture}: MiniMind "
            "predicts tokens and has no other head"
        )


def _experts(fields: Mapping[str, Any]) -> dict[str, Any]:
    count = fields.get("num_experts", fields.get("num_local_experts"))
    if count is None:
        raise UserError("config.json: num_experts is missing, and nothing else says what it is")
    chosen = _required(fields, "num_experts_per_tok")
    renormalised = _given(fields, "norm_topk_prob", False)
    if renormalised and chosen == 1:
        raise UserError(
            "norm_topk_prob: got true with num_experts_per_tok 1, want false: transformers then "
            "weighs the one expert by 1, MiniMind by its probability"
        )
    return {
        "num_experts": count,
        "num_experts_per_tok": chosen,
        "norm_topk_prob": renormalised,
        "moe_intermediate_size": _required(fields, "moe_intermediate_size"),
        "router_aux_loss_coef": _given(fields, "router_aux_loss_coef", 0.001),
    }


def _token_ids(
    fields: Mapping[str, Any], generation: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    """The three ids; MiniMind has one end, and no model without a beginning or padding."""
    ends = fields.get("eos_token_id")
    if ends is None:
        ends = generation.get("eos_token_id")
    if isinstance(ends, list):
        if len(ends) > 1:
            notes.append(
                f"eos_token_id has {len(ends)} tokens; MiniMind ends a text at one, {ends[0]}."
            )
        ends = ends[0] if ends else None
    if ends is None:
        raise UserError(
            "config.json: eos_token_id is missing, and generation_config.json does not say it "
            "either: set it to the id of the token that ends a text"
        )
    ids = {"eos_token_id": ends}
    for name in ("bos_token_id", "pad_token_id"):
        found = fields.get(name)
        ids[name] = found if found is not None else generation.get(name)
        if ids[name] is None:
            ids[name] = ends
            notes.append(f"{name} is not set; MiniMind takes eos_token_id, {ends}, for it.")
    return ids


def _notes_for_training(config: MiniMindConfig) -> list[str]:
    notes = []
    if config.use_moe and config.aux_loss_kind != "qwen":
        notes.append(
            f"aux_loss_kind is {config.aux_loss_kind!r}; trained further by transformers, the "
            "model gets Qwen's balance loss. What it writes is the same."
        )
    if config.dropout:
        notes.append(
            f"dropout is {config.dropout}; transformers drops attention weights alone, and not "
            "what attention puts out. What the model writes is the same."
        )
    return notes


def _rope(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of the rotary embedding, as `transformers` 5 writes it or as 4 did."""
    said = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    if not isinstance(said, dict) or any(isinstance(value, dict) for value in said.values()):
        raise UserError(f"rope_parameters: got {said!r}, want one rotary embedding for all layers")
    rope = dict(said)
    for name in ("rope_theta", "partial_rotary_factor"):
        if fields.get(name) is not None:
            rope.setdefault(name, fields[name])
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "yarn"):
        raise UserError(f"rope_type: got {kind!r}, want 'default' or 'yarn': MiniMind has these")
    if _given(rope, "partial_rotary_factor", 1.0) != 1.0:
        raise UserError(
            f"partial_rotary_factor: got {rope['partial_rotary_factor']!r}, want 1: MiniMind "
            "turns all features of a head"
        )
    rope["rope_type"] = kind
    return rope


def _has_no_effect(scaling: Any, sizes: Mapping[str, Any]) -> bool:
    """Whether MiniMind leaves a scaling alone, since its contexts are not longer than before."""
    if not isinstance(scaling, Mapping) or "original_max_position_embeddings" not in scaling:
        return False
    return bool(sizes["max_position_embeddings"] <= scaling["original_max_position_embeddings"])


def _yarn_to_qwen3(config: MiniMindConfig) -> dict[str, Any] | None:
    scaling = config.rope_scaling
    if scaling is None:
        return None
    sizes = dataclasses.asdict(config)
    if _has_no_effect(scaling, sizes):
        return None
    _require_same_ramp(scaling, sizes)
    said: dict[str, Any] = {"rope_type": "yarn", **{name: scaling[name] for name in YARN_FIELDS}}
    said["factor"] = float(scaling["factor"])
    said["attention_factor"] = float(scaling.get("attention_factor", 1.0))
    return said


def _yarn_from_qwen3(rope: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any] | None:
    if rope["rope_type"] != "yarn":
        return None
    if not _given(rope, "truncate", True):
        raise UserError("truncate: got false, want true: MiniMind rounds the ramp to whole pairs")
    context = sizes["max_position_embeddings"]
    original = _given(rope, "original_max_position_embeddings", context)
    if context <= original:
        raise UserError(
            f"original_max_position_embeddings: got {original}, want less than "
            f"max_position_embeddings, {context}: MiniMind uses YaRN only for longer contexts"
        )
    factor = _given(rope, "factor", context / original)
    scaling = {
        "original_max_position_embeddings": original,
        "factor": factor,
        # As in transformers, 0 stands for the default here.
        "beta_fast": rope.get("beta_fast") or 32,
        "beta_slow": rope.get("beta_slow") or 1,
        "attention_factor": _attention_factor(rope, factor),
    }
    head_dim = sizes["head_dim"] or sizes["hidden_size"] // sizes["num_attention_heads"]
    _require_same_ramp(scaling, {**sizes, "head_dim": head_dim})
    return scaling


def _attention_factor(rope: Mapping[str, Any], factor: float) -> float:
    given = rope.get("attention_factor")
    if given is not None:
        return float(given)
    over, under = rope.get("mscale"), rope.get("mscale_all_dim")
    if over and under:
        return _magnitude(factor, over) / _magnitude(factor, under)
    return _magnitude(factor, 1.0)


def _magnitude(factor: float, scale: float) -> float:
    """The YaRN paper's equation 22, for the tables of cosines and sines."""
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _require_same_ramp(scaling: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    """Both clamp the ramp's end to what there is; only a ramp within it is the same for both."""
    pairs = sizes["head_dim"] // 2
    turns = scaling["original_max_position_embeddings"] / (2 * math.pi * scaling["beta_slow"])
    end = math.ceil(math.log(turns) / math.log(sizes["rope_theta"]) * pairs)
    if not 0 <= end < pairs or scaling["beta_fast"] < scaling["beta_slow"]:
        raise UserError(
            f"rope_scaling: with these numbers YaRN's ramp ends at pair {end} of {pairs} in a "
            "head, where MiniMind and transformers compute it differently; want it within the "
            "head, and beta_fast not below beta_slow"
        )
