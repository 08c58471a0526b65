"""ex11: the whole language model.

Everything is there but the two ends. A model turns token ids into vectors, sends them through a
stack of blocks, normalises what comes out, and asks of every position how well each token of the
vocabulary would come next:

    input_ids ── embed_tokens ── layer 0 ── … ── layer L-1 ── norm ── lm_head ── logits
                      └────────────── one matrix [V, C] ─────────────────┘

The embedding and the head are usually *tied*: one parameter, used at both ends. It saves V * C
numbers, and each token then has one vector, with which it is read and written.

The body is ``MiniMindModel``; with the head and the loss it is ``MiniMindForCausalLM``. Names are
those of MiniMind and of Qwen3 in ``transformers``, so that real weights can be loaded.

Axes: B batch, S new tokens, P cached tokens, T = P + S, L layers, K key/value heads, d features per
head, C hidden size, V vocabulary. No function here modifies an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from minimind_ref.config import MiniMindConfig

from .ex01_rmsnorm import RMSNorm
from .ex02_rope import precompute_freqs_cis
from .ex10_block import MiniMindBlock

KeyValue = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer, each ``[B, T, K, d]``."""


@dataclass
class CausalLMOutput:
    """What ``MiniMindForCausalLM`` returns.

    Attributes:
        loss: mean cross-entropy of the next tokens, without axes, or None without labels.
        logits: ``[B, S, V]``, or the last ``logits_to_keep`` positions of them.
        aux_loss: the sum of the layers' balance losses, without axes.
        past_key_values: one ``(k, v)`` per layer, or None without ``use_cache``.
        hidden_states: ``[B, S, C]``, what the head reads: after the final norm, all positions.
    """

    loss: torch.Tensor | None
    logits: torch.Tensor
    aux_loss: torch.Tensor
    past_key_values: Sequence[KeyValue] | None
    hidden_states: torch.Tensor


# BEGIN SOLUTION
INITIAL_STD = 0.02


def _initialise(module: nn.Module) -> None:
    """Every matrix gets normal numbers, wherever it is; the vectors are norms, which start at 1."""
    for parameter in module.parameters():
        if parameter.dim() >= 2:
            nn.init.normal_(parameter, std=INITIAL_STD)


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _past_length(past_key_values: Sequence[KeyValue] | None) -> int:
    """P: how many tokens are cached."""
    return 0 if past_key_values is None else past_key_values[0][0].shape[1]


def _check_length(first: int, count: int, most: int) -> None:
    """Refuse positions for which there is no row in the tables."""
    if first + count > most:
        raise ValueError(
            f"input_ids: got {count} tokens after {first} cached ones, want at most "
            f"{most} in all (max_position_embeddings)"
        )


def _predicted(logits: torch.Tensor) -> torch.Tensor:
    """The logits that are judged: the last position has no next token."""
    return logits[:, :-1]


def _wanted(labels: torch.Tensor) -> torch.Tensor:
    """The label that each of them is judged by: that of the next position."""
    return labels[:, 1:]


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the labels that count, of the whole batch; 0 where none does."""
    wide, wanted = _widen(_predicted(logits)).flatten(0, 1), _wanted(labels).flatten()
    total = F.cross_entropy(wide, wanted, ignore_index=-100, reduction="sum")
    return total / (wanted != -100).sum().clamp(min=1)


# END SOLUTION


class MiniMindModel(nn.Module):
    """The body of the model: embedding, L blocks, and a norm.

    Its state dict has the entries of these modules and no others:

        embed_tokens    Embedding of V tokens in C features
        layers.0 … layers.L-1    MiniMindBlock, each with weights of its own
        norm            RMSNorm over C, with the config's eps

    Tables for RoPE are made once, for all ``max_position_embeddings`` positions, of ``head_dim``
    features and with the config's ``rope_theta``. They are no weights: a buffer with
    ``persistent=False`` moves with the model and stays out of the state dict.

    Args:
        config: all sizes. ``rope_scaling`` is None here.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        # BEGIN SOLUTION
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            MiniMindBlock(number, config) for number in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        cos, sin = self._tables(config)
        self.register_buffer("freqs_cos", cos, persistent=False)
        self.register_buffer("freqs_sin", sin, persistent=False)
        _initialise(self)
        # END SOLUTION

    # BEGIN SOLUTION
    def _tables(self, config: MiniMindConfig) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin of every position, each ``[max_position_embeddings, d]``."""
        end = config.max_position_embeddings
        return precompute_freqs_cis(config.head_dim, end=end, rope_base=config.rope_theta)

    def _embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.embed_tokens(input_ids)

    def _rows(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The tables' rows of the new tokens."""
        _check_length(first, count, self.config.max_position_embeddings)
        return self.freqs_cos[first : first + count], self.freqs_sin[first : first + count]

    def _pasts(self, past_key_values: Sequence[KeyValue] | None) -> Sequence[KeyValue | None]:
        """What each layer continues from."""
        return [None] * len(self.layers) if past_key_values is None else past_key_values

    def _aux_loss(self, hidden: torch.Tensor) -> torch.Tensor:
        """The sum over the layers that have one, after they have run."""
        losses = [layer.mlp.aux_loss for layer in self.layers if hasattr(layer.mlp, "aux_loss")]
        return sum(losses, _widen(hidden.new_zeros(())))

    # END SOLUTION
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Sequence[KeyValue] | None = None,
        use_cache: bool = False,
    ) -> tuple[torch.Tensor, Sequence[KeyValue] | None, torch.Tensor]:
        """Read S new tokens, which come after the P tokens of the past.

        The new tokens stand at positions P to P + S - 1, counted in the padded row: padding on the
        left takes up positions, too. P is the length of the past. Embeddings go into the first
        layer as they are.

        Args:
            input_ids: ``[B, S]``, integers below V.
            attention_mask: ``[B, T]`` over cached and new tokens, 1 for a real token, 0 for padding
                (on the left), or None. All layers get it as it is.
            past_key_values: for each layer the ``(k, v)`` that an earlier call returned, or None.
                Used whether or not ``use_cache`` is set. Neither the sequence nor a tensor in it is
                modified: one past can be continued twice.
            use_cache: whether to return the keys and values of all T tokens.

        Returns:
            ``(hidden, past_key_values, aux_loss)``. hidden is ``[B, S, C]``, after the final norm,
            in the dtype of the weights. past_key_values is a tuple or list with one ``(k, v)`` per
            layer, each ``[B, T, K, d]``, or None without ``use_cache``. aux_loss is a tensor
            without axes in float32 at least: the sum of what the layers' mixtures of experts left
            in ``mlp.aux_loss`` in this call, and 0 in a dense model and in eval. Each layer's loss
            has its coefficient already.

        Raises:
            ValueError: P + S is more than ``max_position_embeddings``. The message names
                input_ids, what it got and what it wants.
        """
        # BEGIN SOLUTION
        first = _past_length(past_key_values)
        rows = self._rows(first, input_ids.shape[1])
        hidden = self._embed(input_ids)
        presents = []
        for layer, past in zip(self.layers, self._pasts(past_key_values), strict=True):
            hidden, present = layer(
                hidden, rows, past, use_cache=use_cache, attention_mask=attention_mask
            )
            presents.append(present)
        aux_loss = self._aux_loss(hidden)
        return self.norm(hidden), tuple(presents) if use_cache else None, aux_loss
        # END SOLUTION


class MiniMindForCausalLM(nn.Module):
    """The model with its head: logits, and a loss where labels are given.

    It has two parts: ``model``, a MiniMindModel, and ``lm_head``, linear from C to V, without a
    bias. With ``tie_word_embeddings`` the weight of ``lm_head`` and that of ``model.embed_tokens``
    are one parameter: one object, trained once, under both names in the state dict. Without it they
    are two.

    At the start every matrix has random numbers of mean 0 and standard deviation 0.02: all
    projections, every expert, the routers of the mixtures, the head, and also the embedding, which
    in ``nn.Embedding`` starts with 1. The weights of the norms start at 1. So the first logits
    are all close to 0, and the first loss is close to ln V, what guessing costs.

    Args:
        config: all sizes, and ``tie_word_embeddings``.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        # BEGIN SOLUTION
        self.config = config
        self.model = MiniMindModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self._start()
        if config.tie_word_embeddings:
            self._tie()
        # END SOLUTION

    # BEGIN SOLUTION
    def _start(self) -> None:
        _initialise(self)

    def _tie(self) -> None:
        """The same Parameter in both places; a copy would be trained apart from it."""
        self.lm_head.weight = self.model.embed_tokens.weight

    def _kept(self, hidden: torch.Tensor, logits_to_keep: int) -> torch.Tensor:
        """The last positions; the slice from -0 on has all of them."""
        return hidden[:, -logits_to_keep:]

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.lm_head(hidden)

    # END SOLUTION
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Sequence[KeyValue] | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
        labels: torch.Tensor | None = None,
    ) -> CausalLMOutput:
        """Predict, at every position, the token that follows it.

        Args:
            input_ids: ``[B, S]``.
            attention_mask: ``[B, T]`` or None, as in MiniMindModel. It does not decide which labels
                count.
            past_key_values: as in MiniMindModel.
            use_cache: as in MiniMindModel.
            logits_to_keep: return the logits of only so many last positions, since whoever writes
                needs one; 0 keeps all, and so does a number larger than S.
            labels: ``[B, S]``, usually input_ids itself, or None. The logits of position s are
                judged by the label of position s + 1: you shift them here, per sequence. Where a
                label is -100, the prediction of it does not count.

        Returns:
            A ``CausalLMOutput``. The logits have the dtype of the hidden states. The loss is the
            mean over all labels of the whole batch that count, so that a sequence with more of them
            weighs more; where none counts it is 0, with gradients of 0. It is over all positions
            even where ``logits_to_keep`` keeps few, is computed and returned in float32 at least,
            and does not contain aux_loss.

        Raises:
            ValueError: too many positions, as in MiniMindModel.
        """
        # BEGIN SOLUTION
        hidden, presents, aux_loss = self.model(
            input_ids, attention_mask, past_key_values, use_cache
        )
        loss = None if labels is None else _loss(self._logits(hidden), labels)
        logits = self._logits(self._kept(hidden, logits_to_keep))
        return CausalLMOutput(loss, logits, aux_loss, presents, hidden)
        # END SOLUTION


# BEGIN SOLUTION
def _size(module: nn.Module) -> int:
    """The numbers in a module's parameters; `parameters` names a tied one once."""
    return sum(parameter.numel() for parameter in module.parameters())


# END SOLUTION
def count_parameters(model: nn.Module, config: MiniMindConfig) -> tuple[int, int]:
    """How many parameters a model has, and how many of them a token uses.

    Args:
        model: a MiniMindForCausalLM or a MiniMindModel made from config.
        config: says whether there are experts, how many, and how many a token passes through.

    Returns:
        ``(total, active)``, whole numbers. total counts every number in every parameter, frozen
        ones too, and a tied one once; rotary tables are no parameters. active is total
        without the experts that a token does not pass through: in each layer
        ``num_experts - num_experts_per_tok``. Routers and shared experts are used by every token.
        In a dense model the two are equal.
    """
    # BEGIN SOLUTION
    total = _size(model)
    mixtures = [module for name, module in model.named_modules() if name.endswith(".mlp.experts")]
    idle = config.num_experts - config.num_experts_per_tok
    return total, total - sum(idle * _size(experts[0]) for experts in mixtures)
    # END SOLUTION
