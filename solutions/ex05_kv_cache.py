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

# BEGIN SOLUTION


def _widen(x: torch.Tensor) -> torch.Tensor:
    """x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_mask(mask: torch.Tensor | None, k: torch.Tensor) -> None:
    """Refuse a mask that does not have one entry for each sequence and key."""
    if mask is not None and mask.shape != k.shape[:2]:
        raise ValueError(
            f"attention_mask: got shape {list(mask.shape)}, want {list(k.shape[:2])}, one entry "
            "per sequence and per cached or new token"
        )


def _append(past: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """``[B, P, K, d]`` and ``[B, S, K, d] -> [B, T, K, d]``, in memory of its own."""
    return torch.cat((past, new), dim=1)


def _causal(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """``[S, T]``, True where query s may see key t; the last query sees every key."""
    everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return everything.tril(diagonal=keys - queries)


def _real_keys(mask: torch.Tensor) -> torch.Tensor:
    """``[B, T] -> [B, 1, 1, T]``, True where a key is a real token, for all heads and queries."""
    return (mask != 0)[:, None, None, :]


def _visible(queries: int, k: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Who may look where: ``[S, T]``, or ``[B, 1, S, T]`` with a mask."""
    causal = _causal(queries, k.shape[1], k.device)
    return causal if mask is None else causal & _real_keys(mask)


def _repeat(x: torch.Tensor, heads: int) -> torch.Tensor:
    """``[B, T, K, d] -> [B, T, H, d]``."""
    return repeat_kv(x, heads // x.shape[2])


def _heads_first(x: torch.Tensor) -> torch.Tensor:
    """``[B, S, H, d] -> [B, H, S, d]``, as matrix products want it."""
    return x.transpose(1, 2)


def _heads_last(x: torch.Tensor) -> torch.Tensor:
    """``[B, H, S, d] -> [B, S, H * d]``, as ``o_proj`` wants it."""
    return x.transpose(1, 2).flatten(2)


def _scale(q: torch.Tensor) -> float:
    """What the scores are multiplied by."""
    return q.shape[-1] ** -0.5


def _scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """``[B, H, S, d]`` and ``[B, H, T, d] -> [B, H, S, T]``, in at least float32."""
    return _widen(q @ k.transpose(-2, -1)) * _scale(q)


def _hide(scores: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Scores no softmax lets through, where a query must not look.

    The lowest number instead of -inf: a query that sees nothing gets equal weights and not NaN.
    """
    return scores.masked_fill(~visible, torch.finfo(scores.dtype).min)


def _weights(scores: torch.Tensor) -> torch.Tensor:
    """Softmax over the keys, in the scores' own dtype."""
    return scores.softmax(dim=-1)


def _by_hand(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, visible: torch.Tensor
) -> torch.Tensor:
    """Attention over heads-first tensors by two products, ``[B, H, S, d]``."""
    weights = _weights(_hide(_scores(q, k), visible))
    return weights.to(v.dtype) @ v


def _flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The same by torch's kernel. Its ``is_causal`` counts from the top left: only for S = T."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


# END SOLUTION


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
        # BEGIN SOLUTION
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = config.head_dim
        self.flash_attn = config.flash_attn
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        # END SOLUTION

    # BEGIN SOLUTION
    def _project(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries ``[B, S, H, d]``, keys and values ``[B, S, K, d]``."""
        q = self.q_proj(x).unflatten(-1, (self.heads, self.head_dim))
        k = self.k_proj(x).unflatten(-1, (self.kv_heads, self.head_dim))
        v = self.v_proj(x).unflatten(-1, (self.kv_heads, self.head_dim))
        return q, k, v

    def _encode(
        self, q: torch.Tensor, k: torch.Tensor, position_embeddings: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalise queries and keys, then turn them."""
        cos, sin = position_embeddings
        return apply_rotary_pos_emb(self.q_norm(q), self.k_norm(k), cos, sin)

    def _join(
        self,
        k: torch.Tensor,
        v: torch.Tensor,
        past: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all T tokens."""
        if past is None:
            return k, v
        return _append(past[0], k), _append(past[1], v)

    def _may_flash(self, queries: int, keys: int, mask: torch.Tensor | None) -> bool:
        """Whether ``_flash`` gives what is asked for."""
        return self.flash_attn and queries == keys and mask is None

    def _attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """``[B, S, H * d]``: what every new token takes from the tokens it sees."""
        queries, keys = q.shape[1], k.shape[1]
        whole = [_heads_first(x) for x in (q, _repeat(k, self.heads), _repeat(v, self.heads))]
        if self._may_flash(queries, keys, mask):
            return _heads_last(_flash(*whole))
        return _heads_last(_by_hand(*whole, _visible(queries, k, mask)))

    # END SOLUTION
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
        # BEGIN SOLUTION
        q, k, v = self._project(x)
        q, k = self._encode(q, k, position_embeddings)
        k, v = self._join(k, v, past_key_value)
        _check_mask(attention_mask, k)
        out = self.o_proj(self._attend(q, k, v, attention_mask))
        return out, (k, v) if use_cache else None
        # END SOLUTION


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
        # BEGIN SOLUTION
        self._max_len = max_len
        self._k = torch.zeros(batch, max_len, kv_heads, head_dim, dtype=dtype, device=device)
        self._v = torch.zeros_like(self._k)
        self.length = 0
        # END SOLUTION

    # BEGIN SOLUTION
    def _check_room(self, new: int) -> None:
        """Refuse more tokens than there is room for."""
        room = self._max_len - self.length
        if new > room:
            raise ValueError(
                f"k: got {new} tokens, want at most {room}: the cache holds {self._max_len} and "
                f"{self.length} are stored"
            )

    def _write(self, k: torch.Tensor, v: torch.Tensor) -> None:
        """Copy new tokens after those that are there, and count them."""
        end = self.length + k.shape[1]
        with torch.no_grad():
            self._k[:, self.length : end] = k
            self._v[:, self.length : end] = v
        self.length = end

    def _views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Everything so far."""
        return self._k[:, : self.length], self._v[:, : self.length]

    # END SOLUTION
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
        # BEGIN SOLUTION
        self._check_room(k.shape[1])
        self._write(k, v)
        return self._views()
        # END SOLUTION

    def reset(self) -> None:
        """Start again with no tokens, in the same memory."""
        # BEGIN SOLUTION
        self.length = 0
        # END SOLUTION
