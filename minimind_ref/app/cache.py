"""Keys and values of one text, in memory that is there already, and attention over them.

A step reads the whole cache once, so what counts is how fast it is read. Torch's fused kernel is
best at that where the cache is in half precision. In float32 on a processor two plain products are:
the keys stand in columns there, ``[K, d, room]``, so that both products read rows of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import MiniMindConfig

_FIRST_ROOM = 256
"""Tokens for which memory is taken at first; it doubles whenever it is full."""


class Cache:
    """The keys and values of all layers.

    Args:
        config: of the model.
        dtype: in which keys and values are kept.
        device: where.
    """

    def __init__(self, config: MiniMindConfig, dtype: torch.dtype, device: torch.device) -> None:
        self._most = config.max_position_embeddings
        self._shape = (config.num_hidden_layers, config.num_key_value_heads)
        self._in_columns = device.type == "cpu" and dtype.itemsize >= 4
        self._keys = self._values = torch.empty(
            *self._shape, 0, config.head_dim, dtype=dtype, device=device
        )

    def reserve(self, tokens: int, used: int) -> None:
        """Have memory for so many tokens; the first `used` stay as they are."""
        had, width = self._values.shape[2:]
        if tokens <= had:
            return
        room = max(had, _FIRST_ROOM)
        while room < tokens:
            room *= 2
        room = min(room, self._most)
        values = self._values.new_empty(*self._shape, room, width)
        keys = torch.empty_like(values)
        if self._in_columns:
            keys = keys.view(*self._shape, width, room).transpose(2, 3)
        keys[:, :, :used] = self._keys[:, :, :used]
        values[:, :, :used] = self._values[:, :, :used]
        self._keys, self._values = keys, values

    def places(self, start: int, end: int) -> Iterator[Place]:
        """Of each layer, where it keeps the positions up to `end`, those from `start` on new."""
        keys, values = self._keys[:, :, :end], self._values[:, :, :end]
        new_keys, new_values = keys[:, :, start:], values[:, :, start:]
        for layer in range(len(keys)):
            yield Place(
                keys[layer], values[layer], new_keys[layer], new_values[layer], self._in_columns
            )


class Place(NamedTuple):
    """The keys and values of one layer, views of the cache's memory.

    Attributes:
        keys, values: ``[K, length, d]``, all that can be seen.
        new_keys, new_values: the last of these, which `attend` fills.
        in_columns: whether products are faster than the fused kernel.
    """

    keys: Tensor
    values: Tensor
    new_keys: Tensor
    new_values: Tensor
    in_columns: bool

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Remember keys and values ``[S, K, d]``, and look back at all that can be seen.

        Args:
            q: ``[S, H, d]``, divided by sqrt(d) already. With S > 1 all positions are new.

        Returns:
            ``[S, H * d]`` in v's dtype.
        """
        self.new_keys.copy_(k.transpose(0, 1))
        self.new_values.copy_(v.transpose(0, 1))
        dtype = self.keys.dtype
        if len(q) > 1:
            queries, keys, values = (x.to(dtype).transpose(0, 1)[None] for x in (q, k, v))
            mixed = F.scaled_dot_product_attention(
                queries, keys, values, is_causal=True, scale=1, enable_gqa=True
            )
            return mixed[0].transpose(0, 1).flatten(1).to(v.dtype)
        # The queries of a group meet their key head together.
        grouped = q.to(dtype).view(len(self.keys), -1, q.shape[-1])
        if self.in_columns:
            weights = torch.bmm(grouped, self.keys.transpose(1, 2)).softmax(-1)
            mixed = torch.bmm(weights, self.values)
        else:
            mixed = F.scaled_dot_product_attention(
                grouped[None], self.keys[None], self.values[None], scale=1
            )
        return mixed.view(1, -1).to(v.dtype)
