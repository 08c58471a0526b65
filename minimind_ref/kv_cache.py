"""The attention layer and its cache of keys and values: the reference for ex05.

A decoder that writes token by token meets the same prefix again at every step. Its keys and values
cannot change any more, since no token sees a later one, so they are kept (Shazeer, arXiv
1911.02150, describes decoding this way and what it costs). The layer itself is that of Qwen3 (arXiv
2505.09388): grouped queries, RMSNorm on every query and key head, then RoPE, and no biases.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import MiniMindConfig
from .rmsnorm import RMSNorm
from .rope import apply_rotary_pos_emb

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of all tokens so far, each ``[B, T, K, d]``."""


class Attention(nn.Module):
    """Causal grouped-query self-attention that can continue from a cache.

    Args:
        config: sizes, ``rms_norm_eps``, ``dropout`` and ``flash_attn``, which chooses torch's fused
            kernels over products that are written out.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.dropout = config.dropout
        self.flash_attn = config.flash_attn
        of_queries = config.num_attention_heads * config.head_dim
        of_keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, of_queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, of_keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, of_keys, bias=False)
        self.o_proj = nn.Linear(of_queries, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, eps=config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, eps=config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue | None]:
        """Let every new token look at the cached tokens, at itself and at those between.

        Args:
            x: new tokens ``[B, S, C]``.
            position_embeddings: ``(cos, sin)``, each ``[S, d]``, rows of the new positions.
            past_key_value: the cache of the P tokens before, or None for none.
            use_cache: whether to return the cache of all T = P + S tokens.
            attention_mask: ``[B, T]``, nonzero for a real token, zero for padding.

        Returns:
            ``(out, past)``: ``[B, S, C]`` in x's dtype, and ``(k, v)`` or None. A query all of
            whose keys are padding gets zeros before ``o_proj``.

        Raises:
            ValueError: ``attention_mask`` is not ``[B, T]``.
        """
        q = self.q_norm(self._heads(self.q_proj(x)))
        k = self.k_norm(self._heads(self.k_proj(x)))
        v = self._heads(self.v_proj(x))
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        if past_key_value is not None:
            k = torch.cat((past_key_value[0], k), dim=1)
            v = torch.cat((past_key_value[1], v), dim=1)
        _require_mask(attention_mask, k)

        dropout = self.dropout if self.training else 0.0
        attend = _fused_attention if self.flash_attn else _written_attention
        mixed = attend(q, k, v, _visible(q, k, attention_mask), dropout)
        out = F.dropout(self.o_proj(mixed.flatten(2)), self.dropout, self.training)
        return out, (k, v) if use_cache else None

    def _heads(self, projected: Tensor) -> Tensor:
        """``[B, S, n * d] -> [B, S, n, d]``."""
        return projected.reshape(*projected.shape[:2], -1, self.head_dim)


class StaticCache:
    """Memory for the keys and values of at most ``max_len`` tokens, filled from the front.

    Joining tensors copies the whole cache for every new token; writing behind it copies the new
    token alone. Inside, the head axis comes before the tokens, so that each head's keys lie in one
    piece.

    Attributes:
        length: tokens stored so far.
    """

    def __init__(
        self,
        batch: int,
        max_len: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self._memory = torch.zeros(
            2, batch, kv_heads, max_len, head_dim, dtype=dtype, device=device
        )
        self.length = 0

    @torch.no_grad()
    def append(self, k: Tensor, v: Tensor) -> KeyValue:
        """Store the next tokens.

        Args:
            k: keys ``[B, S, K, d]``.
            v: values ``[B, S, K, d]``.

        Returns:
            ``(k, v)`` of all tokens so far, each ``[B, length, K, d]``, as views.

        Raises:
            ValueError: there is no room for S more tokens; the cache stays as it was.
        """
        new, capacity = k.shape[1], self._memory.shape[3]
        if self.length + new > capacity:
            raise ValueError(
                f"k: got {new} tokens after {self.length}, want at most "
                f"{capacity - self.length}: the cache holds {capacity}"
            )
        by_token = self._memory.transpose(2, 3)
        by_token[0].narrow(1, self.length, new).copy_(k)
        by_token[1].narrow(1, self.length, new).copy_(v)
        self.length += new
        keys, values = by_token.narrow(2, 0, self.length).unbind(0)
        return keys, values

    def reset(self) -> None:
        """Forget all tokens and keep the memory."""
        self.length = 0


def _require_mask(mask: Tensor | None, k: Tensor) -> None:
    if mask is not None and mask.shape != k.shape[:2]:
        raise ValueError(
            f"attention_mask: got shape {list(mask.shape)}, want {list(k.shape[:2])}: "
            "a row per sequence, an entry per cached and new token"
        )


def _visible(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor | None:
    """Where a query may look, ``[B or 1, S, T]``; None stands for plain causal attention."""
    queries, keys = q.shape[1], k.shape[1]
    if mask is None and queries == keys:
        return None
    position = torch.arange(keys, device=k.device)
    causal = position <= position[keys - queries :, None]
    return causal[None] if mask is None else causal & (mask != 0)[:, None]


def _fused_attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float
) -> Tensor:
    """``[B, S, H, d]`` by torch's own kernels, which read grouped keys without copies."""
    mixed = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=None if visible is None else visible[:, None],
        dropout_p=dropout,
        is_causal=visible is None,
        enable_gqa=True,
    )
    return mixed.transpose(1, 2)


def _written_attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float
) -> Tensor:
    """The same by two products; the queries of a group are stacked to meet their one key head."""
    batch, queries, heads, width = q.shape
    keys, kv_heads = k.shape[1:3]
    dtype = torch.promote_types(q.dtype, torch.float32)
    if visible is None:
        visible = torch.ones(1, queries, keys, dtype=torch.bool, device=q.device).tril()
    hidden = ~visible[:, None, :, None]  # [B or 1, 1, S, 1, T]

    # [B, K, S*G, d]: with the group inside S, query s of head h is row s*G + h % G.
    stacked = q.reshape(batch, queries, kv_heads, -1, width).movedim(2, 1).flatten(2, 3)
    scores = torch.matmul(stacked.to(dtype) * width**-0.5, k.to(dtype).permute(0, 2, 3, 1))
    scores = scores.reshape(batch, kv_heads, queries, -1, keys).masked_fill(hidden, -torch.inf)
    weights = scores.softmax(-1).masked_fill(hidden, 0.0)  # where all is hidden, 0 and not NaN
    weights = F.dropout(weights, dropout).flatten(2, 3)
    mixed = torch.matmul(weights, v.to(dtype).transpose(1, 2))
    mixed = mixed.reshape(batch, kv_heads, queries, -1, width).movedim(1, 2)
    return mixed.reshape(batch, queries, heads, width).to(q.dtype)
