"""Reads one text from left to right and remembers it: what writing needs of a model, and no more.

A step reads every weight once, and on one row of numbers nothing else takes time. So projections
that read the same input are one matrix, and one row is multiplied by each matrix in the way that is
fastest on this machine, which is measured once.
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
from ..model import refuse_positions_beyond
from ..moe import MoEFeedForward
from ..moe_gate import MoEGate
from ..rmsnorm import RMSNorm
from ..yarn import precompute_freqs_cis
from .cache import Cache, Place
from .fast import FastForCausalLM, rotated, turning
from .products import linear, working_dtype

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
        device = self._embedding.device
        self._tables = torch.stack(tables).to(device)
        # Where bfloat16 is slow to multiply, attention multiplies float32.
        self._cache = Cache(config, working_dtype(self._embedding.dtype, device), device)
        self._length = 0

    def prefill(self, ids: Sequence[int]) -> Tensor:
        """Begin anew with these tokens: logits ``[V]`` for the one after them."""
        self._length = 0
        return self._read(ids)

    def step(self, token: int) -> Tensor:
        """Read one more token: logits ``[V]`` for the one after it."""
        return self._read([token])

    def _read(self, ids: Sequence[int]) -> Tensor:
        return self._logits(ids).clone()  # what inference mode gives cannot be written to outside

    @torch.inference_mode()
    def _logits(self, ids: Sequence[int]) -> Tensor:
        start, end = self._length, self._length + len(ids)
        refuse_positions_beyond(self._capacity, end, "ids")
        self._cache.reserve(end, start)
        device = self._embedding.device
        hidden = self._embedding[torch.tensor(ids, dtype=torch.long, device=device)]
        tables = turning(self._tables[:, start:end])
        for layer, place in zip(self._layers, self._cache.places(start, end), strict=True):
            hidden = layer(hidden, tables, place)
        self._length = end
        return self._head(self._norm(hidden[-1:]))[0]


class _Layer:
    def __init__(self, block: MiniMindBlock) -> None:
        attention: Attention = block.self_attn
        self._before = _Norm(block.input_layernorm)
        self._qkv = _Product(
            attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight
        )
        self._head_dim = attention.head_dim
        self._heads = [
            part.weight.shape[0] // self._head_dim for part in (attention.q_proj, attention.k_proj)
        ]
        self._parts = [sum(self._heads), self._heads[1]]
        self._qk_norm = _Norm(attention.q_norm, attention.k_norm, heads=self._heads)
        self._qk_norm.weight[: self._heads[0]] /= math.sqrt(self._head_dim)
        self._out = _Product(attention.o_proj.weight)
        self._between = _Norm(block.post_attention_layernorm)
        self._mlp: Callable[[Tensor], Tensor]
        if isinstance(block.mlp, MoEFeedForward):
            self._mlp = FastMixture(block.mlp)
        else:
            self._mlp = _Gated(cast(FeedForward, block.mlp))

    def __call__(self, hidden: Tensor, tables: tuple[Tensor, Tensor], place: Place) -> Tensor:
        """``[S, C] -> [S, C]``."""
        hidden = hidden + self._attended(self._before(hidden), tables, place)
        return hidden + self._mlp(self._between(hidden))

    def _attended(self, x: Tensor, tables: tuple[Tensor, Tensor], place: Place) -> Tensor:
        heads = self._qkv(x).view(len(x), -1, self._head_dim)
        qk, v = torch.split(heads, self._parts, dim=1)
        q, k = torch.split(rotated(self._qk_norm.wide(qk), *tables), self._heads, dim=1)
        return self._out(place.attend(q, k, v))


class _Gated:
    def __init__(self, mlp: FeedForward) -> None:
        self.gate_up = _Product(mlp.gate_proj.weight, mlp.up_proj.weight)
        self.down = _Product(mlp.down_proj.weight)

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(_activated(self.gate_up(x)))


def _activated(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


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
            experts = [self._experts[number] for number in chosen[0].tolist()]
            inner = torch.cat([expert.gate_up(x) for expert in experts])
            inner = _activated(inner).mul_(weights.t())
            for expert, row in zip(experts, torch.split(inner, 1), strict=True):
                out += expert.down(row)
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
    """RMSNorm of the last axis; with several, each of so many heads that stand side by side.

    x / sqrt(mean(x^2) + eps) is x / hypot(|x|, sqrt(n eps)) · sqrt(n), in fewer steps, as the last
    factor is in the weights.
    """

    def __init__(self, *norms: RMSNorm, heads: Sequence[int] = (1,)) -> None:
        wide = torch.promote_types(norms[0].weight.dtype, torch.float32)
        weights = [norm.weight.detach().to(wide) for norm in norms]
        parts = [weight.expand(n, -1) for weight, n in zip(weights, heads, strict=True)]
        width = len(weights[0])
        self.weight = torch.cat(parts) * math.sqrt(width)
        self._least = self.weight.new_full((1,), math.sqrt(width * norms[0].eps))

    def __call__(self, x: Tensor) -> Tensor:
        return self.wide(x).to(x.dtype)

    def wide(self, x: Tensor) -> Tensor:
        """The same in float32 at least."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=self.weight.dtype)
        return x.div(length.hypot_(self._least)).mul_(self.weight)


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


def _by_a_vector(x: Tensor, weight: Tensor) -> Tensor:
    return torch.mv(weight, x[0])[None]


LAYOUTS = {
    "as it is": Layout(_unchanged, F.linear),
    "transposed": Layout(_transposed, F.linear),
    "by threads": Layout(_unchanged, _by_threads),
    "by a vector": Layout(_unchanged, _by_a_vector),
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
