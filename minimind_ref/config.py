"""The sizes and switches of a MiniMind model.

The grader ships this file alone to the process that runs a learner's code, so it imports
nothing outside the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

AuxLossKind = Literal["qwen", "batch", "sequence"]

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "num_experts",
    "num_experts_per_tok",
)
_OPTIONAL_SIZES = ("head_dim", "intermediate_size", "moe_intermediate_size", "n_shared_experts")
YARN_FIELDS = ("original_max_position_embeddings", "factor", "beta_fast", "beta_slow")
"""What `rope_scaling` must say for YaRN."""


@dataclass(frozen=True)
class MiniMindConfig:
    """Everything that decides a model's shape and arithmetic; it cannot be changed once built.

    The defaults are those of MiniMind-3. Three sizes follow from others unless they are given;
    0 asks for the derived value, and after construction each holds the number it stands for:

    * ``head_dim``: ``hidden_size / num_attention_heads``, which must then be a whole number;
    * ``intermediate_size``: ``pi * hidden_size``, rounded up to a multiple of 64;
    * ``moe_intermediate_size``: ``intermediate_size``.

    ``dataclasses.replace`` hands on the numbers already derived; give 0 again to derive anew.

    Raises:
        ValueError: a value no model can have; the message names the field, what it got and
            what it wants.
    """

    vocab_size: int = 6400
    hidden_size: int = 768
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 0
    intermediate_size: int = 0
    max_position_embeddings: int = 32768
    rope_theta: float = 1e6
    # A dict has no hash; leaving it out keeps the config usable as a dictionary key.
    rope_scaling: Mapping[str, float] | None = field(default=None, hash=False)
    rms_norm_eps: float = 1e-6
    hidden_act: str = "silu"
    tie_word_embeddings: bool = True
    dropout: float = 0.0
    flash_attn: bool = True
    bos_token_id: int = 1
    eos_token_id: int = 2
    pad_token_id: int = 0
    use_moe: bool = False
    num_experts: int = 4
    num_experts_per_tok: int = 1
    moe_intermediate_size: int = 0
    norm_topk_prob: bool = True
    aux_loss_kind: AuxLossKind = "qwen"
    router_aux_loss_coef: float = 5e-4
    n_shared_experts: int = 0

    def __post_init__(self) -> None:
        self._check_sizes()
        self._derive()
        self._check_heads()
        self._check_experts()
        self._check_numbers()
        self._check_token_ids()
        self._own_rope_scaling()

    @classmethod
    def tiny(cls, **overrides: Any) -> MiniMindConfig:
        """The one small config that tests share; keyword arguments replace single fields.

        It is chosen so that mistakes show. No two sizes are equal, ``1 < K < H``, and
        ``H * head_dim`` is not ``hidden_size``, so that one axis taken for another is at least
        a wrong shape. ``rope_theta`` is small enough to turn every pair within a few tokens,
        and neither it nor ``rms_norm_eps`` is a default that code could assume unnoticed.
        """
        settings: dict[str, Any] = {
            "vocab_size": 97,
            "hidden_size": 40,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 8,
            "intermediate_size": 56,
            "max_position_embeddings": 64,
            "rope_theta": 100.0,
            "rms_norm_eps": 1e-2,
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 28,
        }
        return cls(**(settings | overrides))

    def _check_sizes(self) -> None:
        for name in _SIZES:
            value = getattr(self, name)
            if not _is_int(value) or value < 1:
                raise _impossible(name, value, "a positive integer")
        for name in _OPTIONAL_SIZES:
            value = getattr(self, name)
            if not _is_int(value) or value < 0:
                raise _impossible(name, value, "an integer, 0 or more")

    def _derive(self) -> None:
        if self.head_dim == 0:
            if self.hidden_size % self.num_attention_heads:
                raise _impossible(
                    "hidden_size",
                    self.hidden_size,
                    f"a multiple of num_attention_heads ({self.num_attention_heads}), "
                    "or a head_dim of its own",
                )
            self._set("head_dim", self.hidden_size // self.num_attention_heads)
        if self.intermediate_size == 0:
            self._set("intermediate_size", math.ceil(math.pi * self.hidden_size / 64) * 64)
        if self.moe_intermediate_size == 0:
            self._set("moe_intermediate_size", self.intermediate_size)

    def _check_heads(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise _impossible(
                "num_key_value_heads",
                self.num_key_value_heads,
                f"a divisor of num_attention_heads ({self.num_attention_heads})",
            )
        if self.head_dim % 2:
            raise _impossible(
                "head_dim", self.head_dim, "an even number, since RoPE turns pairs of features"
            )

    def _check_experts(self) -> None:
        if self.num_experts_per_tok > self.num_experts:
            raise _impossible(
                "num_experts_per_tok",
                self.num_experts_per_tok,
                f"at most num_experts ({self.num_experts})",
            )
        kinds = get_args(AuxLossKind)
        if self.aux_loss_kind not in kinds:
            raise _impossible("aux_loss_kind", self.aux_loss_kind, f"one of {', '.join(kinds)}")

    def _check_numbers(self) -> None:
        # Each condition states what is right, so that nan, for which all are false, is refused.
        if not 0 < self.rope_theta < math.inf:
            raise _impossible("rope_theta", self.rope_theta, "a positive number")
        if not 0 <= self.rms_norm_eps < math.inf:
            raise _impossible("rms_norm_eps", self.rms_norm_eps, "a number, 0 or more")
        if not 0 <= self.dropout < 1:
            raise _impossible("dropout", self.dropout, "a probability, 0 or more and below 1")
        if not 0 <= self.router_aux_loss_coef < math.inf:
            raise _impossible(
                "router_aux_loss_coef", self.router_aux_loss_coef, "a number, 0 or more"
            )

    def _check_token_ids(self) -> None:
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(self, name)
            if not _is_int(value) or not 0 <= value < self.vocab_size:
                raise _impossible(
                    name, value, f"an id inside the vocabulary, 0 to {self.vocab_size - 1}"
                )

    def _own_rope_scaling(self) -> None:
        if self.rope_scaling is None:
            return
        for key in YARN_FIELDS:
            if key in self.rope_scaling and not 0 < self.rope_scaling[key] < math.inf:
                raise _impossible(
                    f"rope_scaling[{key!r}]", self.rope_scaling[key], "a positive number"
                )
        # A copy, or the caller's later changes to the dict would change a frozen config.
        self._set("rope_scaling", dict(self.rope_scaling))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def _is_int(value: object) -> bool:
    """Whether value is a whole number; True and False count as switches, not as numbers."""
    return isinstance(value, int) and not isinstance(value, bool)


def _impossible(name: str, got: object, want: str) -> ValueError:
    return ValueError(f"MiniMindConfig.{name}: got {got!r}, want {want}")
