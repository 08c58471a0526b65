"""What a ban of the syllabus covers: every spelling of a built-in, in one table for both detectors.

A ban is a dotted name, such as ``torch.nn.functional.softmax``, and stands for a family: function,
tensor method, module, private kernel. A spelling that is missing here is missed by both detectors;
a ban that is in no family is refused.

Runs beside learner code: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cache, cached_property


@dataclass(frozen=True)
class BanHit:
    """One use of something banned.

    Attributes:
        line: where, counted from 1.
        spelling: what was used, under its full name (``torch.softmax``, ``torch.Tensor.softmax``).
        ban: the ban of the syllabus that covers it.
        file: the learner's file; empty where only one was looked at.
    """

    line: int
    spelling: str
    ban: str
    file: str = ""


@dataclass(frozen=True)
class _Family:
    """All spellings of one built-in.

    Attributes:
        names: its names anywhere below ``torch``; a star stands for any letters.
        methods: those of them that are methods of tensors.
        package: a package of torch that is banned as a whole.
        allowed: members of that package that are not.
        libraries: top-level packages that are banned as a whole.
    """

    names: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    package: str = ""
    allowed: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()

    def covers(self, path: str) -> bool:
        """Whether a full dotted name, such as ``torch.ops.aten._softmax.default``, is in here."""
        first, *rest = path.split(".")
        if first != "torch":
            return first in self.libraries
        return any(self.covers_name(part) for part in rest) or self._in_package(path)

    def covers_name(self, name: str) -> bool:
        """Whether this is what one of its functions, methods or classes is called."""
        return self._pattern.fullmatch(name) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """All names in one pattern, since a scan asks about each part of every name in a file."""
        return re.compile("|".join(map(translate, self.names)) or "(?!)")

    def _in_package(self, path: str) -> bool:
        if not self.package or not path.startswith(f"{self.package}."):
            return False
        member = path[len(self.package) + 1 :].partition(".")[0]
        # Dunder names belong to the package itself, such as `__init__` and `__name__`.
        return member not in self.allowed and not member.startswith("__")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FAMILIES = (
    _Family(
        names=_names(
            "softmax Softmax Softmax2d _softmax _safe_softmax _masked_softmax special_softmax"
            " softmin Softmin gumbel_softmax _sparse_softmax _nested_tensor_softmax_with_shape"
        ),
        methods=_names("softmax"),
    ),
    _Family(
        names=_names("log_softmax LogSoftmax _log_softmax special_log_softmax _sparse_log_softmax"),
        methods=_names("log_softmax"),
    ),
    _Family(
        names=_names(
            "scaled_dot_product_attention _scaled_dot_product_* _flash_attention_*"
            " _efficient_attention_* _cudnn_attention_* _triton_scaled_dot_attention"
            " flex_attention varlen_attn* MultiheadAttention multi_head_attention_forward"
            " _native_multi_head_attention _triton_multi_head_attention"
            " Transformer TransformerEncoder TransformerEncoderLayer TransformerDecoder"
            " TransformerDecoderLayer _transformer_encoder_layer_fwd"
        ),
    ),
    _Family(names=_names("rms_norm RMSNorm _fused_rms_norm _fused_rms_norm_backward")),
    _Family(
        names=_names(
            "layer_norm LayerNorm native_layer_norm native_layer_norm_backward"
            " native_layer_norm_fake"
        ),
    ),
    # Since torch 2.6 the two halves of `clip_grad_norm_` are functions of their own.
    _Family(
        names=_names(
            "clip_grad_norm clip_grad_norm_ _clip_grad_norm_"
            " get_total_norm _get_total_norm clip_grads_with_norm_ _clip_grads_with_norm_"
        ),
    ),
    # The base class, schedules and averaging are not optimizers.
    _Family(
        names=_names("_fused_adam* _fused_sgd* _fused_adagrad*"),
        package="torch.optim",
        allowed=_names("Optimizer optimizer lr_scheduler swa_utils"),
    ),
    _Family(
        libraries=_names(
            "tokenizers tiktoken sentencepiece transformers youtokentome subword_nmt minbpe rustbpe"
        ),
    ),
)


def _family_of(ban: str) -> _Family:
    """The family that a ban of the syllabus stands for."""
    for family in _FAMILIES:
        if ban == family.package or family.covers(ban):
            return family
    if ban.partition(".")[0] != "torch":
        return _Family(libraries=frozenset({ban.partition(".")[0]}))
    raise ValueError(
        f"bans: got {ban}, which is in no family of spellings; "
        "add its spellings to grader/observation/bans/spellings.py"
    )


class Bans:
    """The bans of one exercise, ready to be asked about a name."""

    def __init__(self, bans: Iterable[str]) -> None:
        self._families = {ban: _family_of(ban) for ban in bans}
        self._found: dict[str, str | None] = {}
        self._methods: dict[str, str | None] = {}
        self._names: dict[str, str | None] = {}

    def path(self, path: str) -> str | None:
        """The ban that covers a full dotted name."""
        if path not in self._found:  # a run asks about few names, each of them often
            self._found[path] = self._first(lambda family: family.covers(path))
        return self._found[path]

    def method(self, name: str) -> str | None:
        """The ban that covers a method of tensors."""
        if name not in self._methods:
            self._methods[name] = self._first(lambda family: name in family.methods)
        return self._methods[name]

    def name(self, name: str) -> str | None:
        """The ban that covers what a function or class of unknown origin is called."""
        if name not in self._names:
            self._names[name] = self._first(lambda family: family.covers_name(name))
        return self._names[name]

    def _first(self, covers: Callable[[_Family], bool]) -> str | None:
        return next((ban for ban, family in self._families.items() if covers(family)), None)


@cache
def bans_of(bans: tuple[str, ...]) -> Bans:
    """The same object for every run of an exercise, so that what it has looked up is kept."""
    return Bans(bans)
