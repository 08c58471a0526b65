"""Reads one text from left to right and remembers it: what writing needs of a model, and no more.

A step reads every weight once, and on one row of numbers nothing else takes time. So projections
that read the same input are one matrix, and one row is multiplied by each matrix in the way that is
fastest on this machine, which is measured once. Keys and values go into memory that is there
already, with the heads before the tokens, and the queries of a group meet their key head together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..block import MiniMindBlock
from ..feed_forward import FeedForward
from ..kv_cache import Attention
from ..moe import MoEFeedForward
from ..moe_gate import MoEGate
from ..rmsnorm import RMSNorm
from ..yarn import precompute_freqs_cis
from .fast import FastForCausalLM, rotated, turning
from .products import linear, working_dtype

_FIRST_ROOM = 256
"""Tokens for which memory is taken at first; it doubles whenever it is full."""

_BEYOND_CACHES = 2**25
"""Bytes of weights that are read in turn, where a way to multiply one row is timed."""

_MOST_COPIES = 64
"""A model of weights so small that these do not reach that far lies in the caches anyway."""


class FastDecoder:
    """A model's weights, arranged for one text, and a cache.

    The arranged weights are copies, beside those of the model.

    Args:
        model: in the dtype and on the device where it shall run.
    """

    def __init__(self, model: FastForCausalLM) -> None:
        config = model.config
        self._capacity = config.max_position_embeddings
        self._embedding = model.model.embed_tokens.weight.detach()
        self._layers = [_Layer(cast(MiniMindBlock, layer)) for layer in model.model.layers]
        self._norm = _Norm(model.model.norm)
        self._head = _Product(model.lm_head.weight)
        tables = precompute_freqs_cis(
            config.head_dim, self._capacity, config.rope_theta, config.rope_scaling
        )
        self._tables = torch.stack(tables).to(self._embedding.device)
        self._shape = (config.num_hidden_layers, 2, config.num_key_value_heads)
        self._width = config.head_dim
        self._memory = self._room(0)
        self._length = 0

    def prefill(self, ids: Sequence[int]) -> Tensor:
        """Begin anew with these tokens: logits ``[V]`` for the one after them."""
        self._length = 0
        return self._read(ids)

    def step(self, token: int) -> Tensor:
        """Read one more token: logits ``[V]`` for the one after it."""
        return self._read([token])

    @torch.no_grad()
    def _read(self, ids: Sequence[int]) -> Tensor:
        start, end = self._length, self._length + len(ids)
        if end > self._capacity:
            raise ValueError(
                f"ids: got positions up to {end - 1}, want them below "
                f"max_position_embeddings, {self._capacity}"
            )
        if end > self._memory.shape[3]:
            room = self._room(end)
            room[:, :, :, :start] = self._memory[:, :, :, :start]
            self._memory = room
        device = self._embedding.device
        hidden = self._embedding[torch.tensor(ids, dtype=torch.long, device=device)]
        tables = turning(self._tables[:, start:end])
        for layer, memory in zip(self._layers, self._memory, strict=True):
            hidden = layer(hidden, tables, memory, start)
        self._length = end
        return self._head(self._norm(hidden[-1:]))[0]

    def _room(self, tokens: int) -> Tensor:
        """Memory ``[layers, 2, K, room, d]`` for at least so many tokens."""
        room = _FIRST_ROOM
        while room < tokens:
            room *= 2
        shape = (*self._shape, min(room, self._capacity), self._width)
        # Where bfloat16 is slow to multiply, attention multiplies float32.
        dtype = working_dtype(self._embedding.dtype, self._embedding.device)
        return self._embedding.new_empty(shape, dtype=dtype)


class _Layer:
    def __init__(self, block: MiniMindBlock) -> None:
        attention: Attention = block.self_attn
        self._before = _Norm(block.input_layernorm)
        self._qkv = _Product(
            attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight
        )
        self._widths = [
            part.weight.shape[0] for part in (attention.q_proj, attention.k_proj, attention.v_proj)
        ]
        self._head_dim = attention.head_dim
        self._q_norm, self._k_norm = _Norm(attention.q_norm), _Norm(attention.k_norm)
        self._out = _Product(attention.o_proj.weight)
        self._between = _Norm(block.post_attention_layernorm)
        self._mlp: Callable[[Tensor], Tensor]
        if isinstance(block.mlp, MoEFeedForward):
            self._mlp = FastMixture(block.mlp)
        else:
            self._mlp = _Gated(cast(FeedForward, block.mlp))

    def __call__(
        self, hidden: Tensor, tables: tuple[Tensor, Tensor], memory: Tensor, start: int
    ) -> Tensor:
        """``[S, C] -> [S, C]``; keys and values go into `memory` ``[2, K, room, d]`` at `start`."""
        hidden = hidden + self._attended(self._before(hidden), tables, memory, start)
        return hidden + self._mlp(self._between(hidden))

    def _attended(
        self, x: Tensor, tables: tuple[Tensor, Tensor], memory: Tensor, start: int
    ) -> Tensor:
        q, k, v = (
            part.reshape(len(x), -1, self._head_dim)
            for part in torch.split(self._qkv(x), self._widths, dim=-1)
        )
        q, k = rotated(self._q_norm(q), *tables), rotated(self._k_norm(k), *tables)
        end = start + len(x)
        memory[0, :, start:end] = k.transpose(0, 1)
        memory[1, :, start:end] = v.transpose(0, 1)
        keys, values = memory[:, None, :, :end]
        if len(x) == 1:
            grouped = q.to(keys.dtype).reshape(1, keys.shape[1], -1, self._head_dim)
            mixed = F.scaled_dot_product_attention(grouped, keys, values)
        else:
            queries = q.to(keys.dtype).transpose(0, 1)[None]
            mixed = F.scaled_dot_product_attention(
                queries, keys, values, is_causal=True, enable_gqa=True
            ).transpose(1, 2)
        return self._out(mixed.reshape(len(x), -1).to(x.dtype))


class _Gated:
    def __init__(self, mlp: FeedForward) -> None:
        self._gate_up = _Product(mlp.gate_proj.weight, mlp.up_proj.weight)
        self._down = _Product(mlp.down_proj.weight)

    def __call__(self, x: Tensor) -> Tensor:
        gate, up = self._gate_up(x).chunk(2, dim=-1)
        return self._down(F.silu(gate) * up)


class FastMixture:
    """A mixture of experts for reading, of which only those run that a token has chosen."""

    def __init__(self, mlp: MoEFeedForward) -> None:
        self._gate: MoEGate = mlp.gate
        self._experts = [_Gated(cast(FeedForward, expert)) for expert in mlp.experts]
        self._shared = [_Gated(cast(FeedForward, expert)) for expert in mlp.shared_experts]

    def __call__(self, x: Tensor) -> Tensor:
        """``[S, C] -> [S, C]``."""
        chosen, weights, _ = self._gate(x[None])
        out = torch.zeros_like(x)
        if len(x) == 1:
            for expert, weight in zip(chosen[0].tolist(), weights[0], strict=True):
                out += self._experts[expert](x) * weight
        else:
            by_expert = chosen.flatten().argsort(stable=True)
            token, weight = by_expert // chosen.shape[1], weights.flatten()[by_expert, None]
            sizes = chosen.flatten().bincount(minlength=len(self._experts)).tolist()
            places = zip(
                self._experts, torch.split(token, sizes), torch.split(weight, sizes), strict=True
            )
            for run, rows, factor in places:
                if len(rows):
                    out.index_add_(0, rows, run(x[rows]) * factor)
        for run in self._shared:
            out += run(x)
        return out


class _Norm:
    def __init__(self, norm: RMSNorm) -> None:
        self._weight, self._eps = norm.weight.detach(), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self._weight.shape, self._weight, self._eps)


class _Product:
    """A product with one or several weights ``[N, C]``, whose results stand side by side."""

    def __init__(self, *weights: Tensor) -> None:
        whole = torch.cat([weight.detach() for weight in weights])
        layout = LAYOUTS[fastest_layout(*whole.shape, whole.dtype, whole.device)]
        self._weight = layout.arranged(whole)
        self._multiplied = layout.multiplied

    def __call__(self, x: Tensor) -> Tensor:
        run = self._multiplied if len(x) == 1 else linear
        return run(x, self._weight)


class Layout(NamedTuple):
    """A way to multiply one row by a weight.

    Attributes:
        arranged: gives the weight ``[N, C]`` another order in memory, but the same shape.
        multiplied: ``[1, C]`` and the arranged weight to ``[1, N]``.
    """

    arranged: Callable[[Tensor], Tensor]
    multiplied: Callable[[Tensor, Tensor], Tensor]


def _unchanged(weight: Tensor) -> Tensor:
    return weight


def _transposed(weight: Tensor) -> Tensor:
    return weight.t().contiguous().t()


def _by_threads(x: Tensor, weight: Tensor) -> Tensor:
    """Each thread multiplies its part of the weight: kernels for one row often use only one."""
    parts = weight.view(math.gcd(len(weight), torch.get_num_threads()), -1, weight.shape[1])
    return torch.bmm(parts, x.t().expand(len(parts), -1, 1)).view(1, -1)


LAYOUTS = {
    "as it is": Layout(_unchanged, F.linear),
    "transposed": Layout(_transposed, F.linear),
    "by threads": Layout(_unchanged, _by_threads),
}


@cache
def fastest_layout(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> str:
    """The layout in `LAYOUTS` by which this machine is fastest at a weight of a shape.

    It is measured on so many weights that they do not fit into most caches, as a model does not.
    """
    if device.type != "cpu":
        return "as it is"
    weight = torch.ones(rows, width, dtype=dtype)
    row = torch.ones(1, width, dtype=dtype)
    copies = min(1 + _BEYOND_CACHES // weight.nbytes, _MOST_COPIES)
    weights = {
        name: [layout.arranged(weight.clone()) for _ in range(copies)]
        for name, layout in LAYOUTS.items()
    }
    seconds = dict.fromkeys(LAYOUTS, math.inf)
    for _ in range(3):
        for name, layout in LAYOUTS.items():
            began = time.perf_counter()
            for each in weights[name]:
                layout.multiplied(row, each)
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return min(seconds, key=seconds.__getitem__)
