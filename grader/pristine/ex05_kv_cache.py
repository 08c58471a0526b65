"""ex05: the attention layer and its key/value cache.

Until now attention was a function of q, k and v. Here it becomes a layer, the one MiniMind stacks:

    x ── q_proj ── q_norm ── RoPE ──┐
    x ── k_proj ── k_norm ── RoPE ──┼── cache ── attention ── o_proj ── out
    x ── v_proj ────────────────────┘

and it learns to continue. A model that writes needs, for each new token, the keys and values of
all tokens before it. No token sees a later one, so those never change: they are computed once and
kept. The layer hands them out as ``past`` and takes them back with the next tokens. However a text
is cut into pieces, the outputs must be those of one full pass.

The second class stores the same keys and values in memory that is allocated once.

Axes: B batch, S new tokens, P cached tokens, T = P + S keys, H query heads, K key/value heads (a
divisor of H), d features per head, C hidden size; H * d need not equal C. No function here modifies
an argument. Inputs need not be contiguous.
"""

import torch
import torch.nn.functional as F
from torch import nn

from minimind_ref.config import MiniMindConfig

from .ex01_rmsnorm import RMSNorm
from .ex02_rope import apply_rotary_pos_emb
from .ex04_gqa import repeat_kv


class Attention(nn.Module):
    """Causal grouped-query attention with normalised queries and keys, RoPE and a cache.

    Its state dict has exactly these entries:

        q_proj.weight  [H * d, C]        q_norm.weight  [d]
        k_proj.weight  [K * d, C]        k_norm.weight  [d]
        v_proj.weight  [K * d, C]        o_proj.weight  [C, H * d]

    The projections are linear and have no bias; q_norm and k_norm are ``RMSNorm`` over the d
    features of one head, with the config's ``rms_norm_eps``. How the projections start is free.

    Args:
        config: ``hidden_size`` is C, ``num_attention_heads`` H, ``num_key_value_heads`` K and
            ``head_dim`` d. ``flash_attn`` says whether ``F.scaled_dot_product_attention`` may be
            called: if True it must be, at least for a full pass of more than one token with no
            past and no mask, and may be for everything else; if False, never. Outputs are the
            same either way. ``dropout`` is 0 in this course and need not be looked at.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        # your code here
        raise NotImplementedError

    def forward(
        self,
        x: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        past_key_value: tuple[torch.Tensor, torch.Tensor] | None = None,
        use_cache: bool = False,
        attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
        """Run the layer on S new tokens, which come after the P tokens of the past.

        In this order: project x and split each result into heads of d features; normalise queries
        and keys (not values) head by head; turn them by the tables; put the past's keys and values
        in front of the new ones; let query head h read key/value head ``h // (H / K)`` with scale
        ``1 / sqrt(d)``; project the heads, side by side, with o_proj.

        New token s stands at place P + s of T and sees the keys 0 to P + s, the cached ones all
        and the new ones up to itself; also where S > 1 tokens follow a past. Keys whose
        ``attention_mask`` is 0 are seen by nobody. The softmax is computed in
        float32 at least; the products with keys and values may be computed in x's dtype or wider.

        Args:
            x: new tokens ``[B, S, C]``. All weights have its dtype in tests.
            position_embeddings: ``(cos, sin)``, each ``[S, d]``: the rows of the S new tokens, P to
                P + S - 1 in the padded row, already cut out. They may stay float32 where x is not.
            past_key_value: ``(k, v)``, each ``[B, P, K, d]``, as an earlier call returned them, or
                None if there is no past. It is used whether or not ``use_cache`` is set, gradients
                reach it, and it is never modified: one past can be continued in several ways.
            use_cache: whether to return the keys and values of all T tokens.
            attention_mask: ``[B, T]`` over cached and new tokens, 1 for a real token and 0 for
                padding, which stands on the left; None if there is no padding.

        Returns:
            ``(out, past)``. out is ``[B, S, C]`` in x's dtype. At padded places it is finite, and
            otherwise free: such a token may have no key to look at. past is None without
            ``use_cache``, else ``(k, v)``, each ``[B, T, K, d]`` in x's dtype: keys as the scores
            use them, normalised and turned, before any repetition of heads. The layer itself
            remembers nothing between two calls. Gradients reach x, the weights and the past, from
            out and from the returned keys and values.

        Raises:
            ValueError: attention_mask has a shape other than ``[B, T]``: only the new tokens, one
                row for all sequences, extra axes. The message names the argument, its shape, and
                the shape it should have.
        """
        # your code here
        raise NotImplementedError


class StaticCache:
    """Keys and values of up to max_len tokens, in memory that is allocated once.

    ``torch.cat`` makes a new tensor for every token and copies all the old ones into it. This cache
    copies only the new tokens, after those that are there, and returns views.

    Attributes:
        length: how many tokens are stored, an int; 0 at the start.

    Args:
        batch: B, the same for every append.
        max_len: the most tokens it can hold.
        kv_heads: K.
        head_dim: d.
        dtype: what keys and values are stored in.
        device: where they are stored.
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
        # your code here
        raise NotImplementedError

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store S more tokens and return all that are stored.

        Args:
            k: keys ``[B, S, K, d]``.
            v: values ``[B, S, K, d]``.

        Returns:
            ``(k, v)`` of everything so far, each ``[B, length, K, d]`` in the cache's dtype. Both
            are views of the cache's own memory, which later appends and ``reset`` keep using; the
            order of the axes in that memory is free. Gradients need not pass.

        Raises:
            ValueError: the new tokens do not fit into max_len. Nothing is written then, and
                length stays. The message names k, how many tokens it brings and how many fit.
        """
        # your code here
        raise NotImplementedError

    def reset(self) -> None:
        """Start again with no tokens, in the same memory."""
        # your code here
        raise NotImplementedError
