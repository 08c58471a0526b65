"""The same model with less work: for training and for reading a text in one pass.

`FastForCausalLM` has the parameters of `MiniMindForCausalLM`, under the same names, and gives the
same numbers to rounding. What differs is how they are computed:

* normalisation and rotation are one node of autograd each, with the backward written out, and make
  no tensor that they do not need;
* attention is torch's fused kernel on grouped keys, except where written-out products are faster;
* tokens are sorted by expert, and all experts of a layer are three nodes of autograd;
* the loss walks over chunks of the text and forms its gradients on the way, as
  `chunked_causal_lm_loss` does, here in the dtype of autocast;
* products go through `products`.

It also follows `rope_scaling`, which the exercise's model leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from ..block import MiniMindBlock
from ..config import YARN_FIELDS, MiniMindConfig
from ..feed_forward import FeedForward
from ..kv_cache import Attention, KeyValue
from ..loss import causal_lm_loss
from ..model import CausalLMOutput, MiniMindForCausalLM, refuse_positions_beyond
from ..moe import MoEFeedForward
from ..rmsnorm import RMSNorm
from ..yarn import precompute_freqs_cis
from .products import grouped_linear, linear, multiplies_bfloat16, product_dtype, working_dtype

_LOSS_ROWS = 512
"""Tokens whose logits are alive at a time."""

_WRITTEN_BELOW = 512
"""Keys below which written-out attention beat the fused kernel, in bfloat16 on processors that
multiply it: the lines crossed at 400 keys on one of them, at 1,000 on another. Elsewhere the kernel
won at every length. A time measured on the way would not do: it could choose otherwise after an
interruption, and a training must go on bit for bit."""


class FastForCausalLM(MiniMindForCausalLM):
    """`MiniMindForCausalLM`, computed with less work.

    Args:
        config: as there; ``rope_scaling`` is followed.

    Raises:
        ValueError: ``rope_scaling`` lacks a number that YaRN needs.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        for name in YARN_FIELDS:
            if config.rope_scaling is not None and name not in config.rope_scaling:
                raise ValueError(f"rope_scaling: {name} is missing, and YaRN needs it")
        super().__init__(config)
        self.config = config
        tables = precompute_freqs_cis(
            config.head_dim,
            config.max_position_embeddings,
            config.rope_theta,
            config.rope_scaling,
        )
        self.model.register_buffer("_tables", torch.stack(tables), persistent=False)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Sequence[KeyValue] | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
        labels: Tensor | None = None,
    ) -> CausalLMOutput:
        """As in `MiniMindForCausalLM`, but with labels there are logits of as many last positions
        as are asked for, and 0 asks for none: training never needs them whole.
        """
        if attention_mask is not None or past_key_values is not None or use_cache:
            return super().forward(
                input_ids, attention_mask, past_key_values, use_cache, logits_to_keep, labels
            )
        hidden, aux_loss = self._hidden(input_ids)
        kept = hidden[:, -logits_to_keep:]
        loss = None
        if labels is not None:
            loss = head_loss(hidden, self.lm_head.weight, labels)
            kept = hidden[:, hidden.shape[1] - logits_to_keep :]
        return CausalLMOutput(loss, linear(kept, self.lm_head.weight), aux_loss, None, hidden)

    def _hidden(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        length = input_ids.shape[1]
        refuse_positions_beyond(self.model._tables.shape[1], length, "input_ids")
        hidden = self.model.embed_tokens(input_ids)
        tables = turning(self.model._tables[:, :length])
        aux_loss = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
        layer: MiniMindBlock
        for layer in self.model.layers:  # type: ignore[assignment]
            hidden = hidden + _attended(
                layer.self_attn, _normed(layer.input_layernorm, hidden), tables
            )
            read = _normed(layer.post_attention_layernorm, hidden)
            if isinstance(layer.mlp, MoEFeedForward):
                mixed, loss = mixture(layer.mlp, read)
                aux_loss = aux_loss + loss
            else:
                mixed = _gated(cast(FeedForward, layer.mlp), read)
            hidden = hidden + mixed
        return _normed(self.model.norm, hidden), aux_loss


def _normed(norm: RMSNorm, x: Tensor) -> Tensor:
    """RMSNorm, in the dtype in which products with the result are asked for."""
    normed: Tensor = _Norm.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.eps, product_dtype(x)
    )
    return normed


def _gated(mlp: FeedForward, x: Tensor) -> Tensor:
    gate, up = linear(x, mlp.gate_proj.weight), linear(x, mlp.up_proj.weight)
    return linear(F.silu(gate) * up, mlp.down_proj.weight)


def mixture(mlp: MoEFeedForward, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the chosen and the shared experts make of x, and the router's loss."""
    with torch.autocast(x.device.type, enabled=False):  # the router never computes in half
        chosen, weights, aux_loss = mlp.gate(x)
    tokens = x.reshape(-1, x.shape[-1])
    choices = chosen.flatten()
    by_expert = choices.argsort(stable=True)
    sizes = choices.bincount(minlength=len(mlp.experts)).tolist()
    # In the backward pass `index_select` is faster than brackets.
    of_token = by_expert // chosen.shape[1]
    rows = tokens.index_select(0, of_token)
    gate, up, down = (
        [getattr(expert, name).weight for expert in mlp.experts]
        for name in ("gate_proj", "up_proj", "down_proj")
    )
    inner = F.silu(grouped_linear(rows, sizes, gate)) * grouped_linear(rows, sizes, up)
    shares = weights.flatten().index_select(0, by_expert).unsqueeze(-1)
    weighted = grouped_linear(inner, sizes, down) * shares
    out = torch.zeros_like(tokens, dtype=weighted.dtype).index_add(0, of_token, weighted)
    for shared in mlp.shared_experts:
        out = out + _gated(cast(FeedForward, shared), tokens)
    return out.reshape(x.shape), aux_loss


def _attended(attention: Attention, x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    q, k, v = (
        linear(x, part.weight).reshape(*x.shape[:2], -1, attention.head_dim)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q = _turned(_normed(attention.q_norm, q), tables)
    k = _turned(_normed(attention.k_norm, k), tables)
    dropout = attention.dropout if attention.training else 0.0
    written = not attention.flash_attn or _written_is_faster(q, dropout)
    mixed = (_written_attention if written else _fused_attention)(q, k, v, dropout)
    out = linear(mixed.flatten(2), attention.o_proj.weight)
    return F.dropout(out, dropout) if dropout else out


def _written_is_faster(q: Tensor, dropout: float) -> bool:
    return (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and q.shape[1] < _WRITTEN_BELOW
        and not dropout
        and multiplies_bfloat16("cpu")
    )


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Causal attention ``[B, S, H, d]`` by torch's kernels, which read grouped keys in place."""
    work = working_dtype(q.dtype, q.device)
    queries, keys, values = (x.to(work).transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(
        queries,
        keys,
        values,
        dropout_p=dropout,
        is_causal=True,
        enable_gqa=True,
    )
    return mixed.transpose(1, 2).to(q.dtype)


def _written_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """The same by two products per group of heads, with a softmax in at least float32."""
    batch, length, heads, width = q.shape
    kv_heads = k.shape[2]
    stacked = (
        q.reshape(batch, length, kv_heads, -1, width)
        .permute(0, 2, 3, 1, 4)
        .reshape(batch * kv_heads, -1, width)
    )
    keys = k.permute(0, 2, 3, 1).reshape(-1, width, length)
    values = v.transpose(1, 2).reshape(-1, length, width)
    hidden = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    scores = torch.bmm(stacked * width**-0.5, keys).reshape(len(keys), -1, length, length)
    scores = scores.masked_fill(hidden, -math.inf)
    weights = F.softmax(scores, -1, dtype=torch.promote_types(q.dtype, torch.float32))
    weights = F.dropout(weights, dropout).to(q.dtype).flatten(1, 2)
    mixed = torch.bmm(weights, values)
    return mixed.reshape(batch, heads, length, width).transpose(1, 2)


def turning(tables: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines, and sines with the sign of `rotate_half`, each ``[S, 1, d]``."""
    cos, sin = tables[:, :, None]
    half = sin.shape[-1] // 2
    return cos, torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)


def _turned(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    turned: Tensor = _Turn.apply(x, *tables)  # type: ignore[no-untyped-call]
    return turned


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE of ``[..., S, n, d]`` with the tables of `turning`, in x's dtype."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    swapped = wide.roll(wide.shape[-1] // 2, dims=-1)
    turned: Tensor = (wide * cos).addcmul_(swapped, sin.to(wide.dtype))
    return turned.to(x.dtype)


class _Turn(Function):
    """RoPE in the half-split layout; the way back is the turn by the opposite angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return rotated(grad_outputs[0], cos, -sin), None, None


class _Norm(Function):
    """RMSNorm, with the backward of `rms_norm_backward`; only x and one number per row are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        normed: Tensor = (wide * scale).mul_(weight)
        return normed.to(dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        wide, grad = x.to(scale.dtype), grad_outputs[0].to(scale.dtype)
        scaled = grad * weight
        along = torch.linalg.vecdot(scaled, wide).unsqueeze(-1)
        along = along * scale.square() / -x.shape[-1]
        grad_x = scaled.addcmul_(wide, along).mul_(scale).to(x.dtype)
        each = (grad * wide).flatten(0, -2)
        return grad_x, (scale.flatten() @ each).to(weight.dtype), None, None


def head_loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of the next token over the counted labels, as in `causal_lm_loss`."""
    if hidden.dtype == torch.float64 or not torch.is_grad_enabled():
        return causal_lm_loss(linear(hidden, weight), labels)
    rows = hidden[:, :-1].flatten(0, 1)
    following = labels[:, 1:].flatten()
    counted = following != -100
    loss: Tensor = _HeadLoss.apply(rows, weight, following, counted)  # type: ignore[no-untyped-call]
    return loss


class _HeadLoss(Function):
    """The loss with both gradients from one walk over chunks of the rows."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, following: Tensor, counted: Tensor
    ) -> Tensor:
        dtype = product_dtype(rows)
        work = working_dtype(dtype, rows.device)
        inputs, head = rows.to(dtype).to(work), weight.to(dtype).to(work)
        grad_rows = torch.empty_like(inputs)
        grad_head = torch.zeros_like(weight, dtype=torch.promote_types(work, torch.float32))
        share = 1 / counted.sum().clamp(min=1)
        summed = torch.zeros((), dtype=grad_head.dtype, device=rows.device)
        with torch.autocast(rows.device.type, enabled=False):
            for start in range(0, len(rows), _LOSS_ROWS):
                chunk = slice(start, start + _LOSS_ROWS)
                logits = (inputs[chunk] @ head.t()).to(dtype).to(grad_head.dtype)
                target = torch.where(counted[chunk], following[chunk], 0)[:, None]
                wanted = logits.gather(1, target)
                total = logits.logsumexp(1, keepdim=True)
                factor = counted[chunk, None] * share
                summed += ((total - wanted) * factor).sum()
                grad = logits.sub_(total).exp_().mul_(factor)
                grad.scatter_add_(1, target, -factor)
                grad = grad.to(dtype).to(work)
                torch.mm(grad, head, out=grad_rows[chunk])
                grad_head += grad.t() @ inputs[chunk]
        ctx.save_for_backward(grad_rows.to(rows.dtype), grad_head.to(weight.dtype))
        return summed

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        of_rows, of_head = ctx.saved_tensors
        factor = grad_outputs[0]
        return of_rows * factor, of_head * factor, None, None
