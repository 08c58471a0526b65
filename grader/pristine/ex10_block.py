"""ex10: one block of the transformer.

A transformer is one block, repeated. A block has two parts that take turns: attention lets tokens
look at each other, and the feed-forward network works on each token by itself. Both read a
normalised copy of what comes in, and what they find is added to it:

    x ──┬── input_layernorm ── self_attn ──(+)──┬── post_attention_layernorm ── mlp ──(+)── out
        └────────────── x ───────────────────┘  └──────────── sum of both ──────────┘

The lower line is the residual stream. Nothing on it is ever normalised, scaled or replaced: each
part only adds. So what one block writes reaches all later blocks as it is, and gradients come back
the same way, through any number of blocks. Putting the norm before each part, and not on the
stream, is called pre-norm.

Names keep history: ``post_attention_layernorm`` is the norm that comes after attention, in front
of the mlp. Both norms are RMSNorm, although they are called layernorm.

You need your own earlier classes: ``RMSNorm``, ``Attention``, ``FeedForward`` and
``MoEFeedForward``.

Axes: B batch, S new tokens, P cached tokens, T = P + S keys, K key/value heads, d features per
head, C hidden size.
"""

import torch
from torch import nn

from minimind_ref.config import MiniMindConfig

from .ex01_rmsnorm import RMSNorm
from .ex05_kv_cache import Attention
from .ex07_feed_forward import FeedForward
from .ex09_moe import MoEFeedForward

KeyValue = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of all tokens so far, each ``[B, T, K, d]``, as ``Attention`` returns them."""


class MiniMindBlock(nn.Module):
    """One layer: attention and a feed-forward network, each behind a norm, each added to its input.

    Its state dict has the entries of these four modules, under these names:

        input_layernorm             RMSNorm over C, in front of attention
        self_attn                   Attention
        post_attention_layernorm    RMSNorm over C, in front of the mlp
        mlp                         FeedForward, or MoEFeedForward if ``use_moe`` is set

    Both norms have a weight each, and the config's ``rms_norm_eps``.

    Args:
        layer_id: the layer's number, from 0. All layers are of the same kind: with ``use_moe`` each
            is a mixture of experts, without it none is.
        config: the sizes of all parts.
    """

    def __init__(self, layer_id: int, config: MiniMindConfig) -> None:
        super().__init__()
        # your code here
        raise NotImplementedError

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        past_key_value: KeyValue | None = None,
        use_cache: bool = False,
        attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, KeyValue | None]:
        """Run the block on S new tokens, which come after the P tokens of the past.

        1. ``h = hidden_states + self_attn(input_layernorm(hidden_states))``
        2. ``out = h + mlp(post_attention_layernorm(h))``

        Position tables, past, ``use_cache`` and mask are for attention, which knows what to do with
        them: hand them on as they come. Nothing else in the block looks at other tokens.

        Args:
            hidden_states: ``[B, S, C]``. It is not modified.
            position_embeddings: ``(cos, sin)``, each ``[S, d]``, rows of the new tokens.
            past_key_value: ``(k, v)``, each ``[B, P, K, d]``, as an earlier call returned them, or
                None. Used whether or not ``use_cache`` is set; never modified.
            use_cache: whether to return the keys and values of all T tokens.
            attention_mask: ``[B, T]``, 1 for a real token, 0 for padding, or None.

        Returns:
            ``(out, present)``: ``[B, S, C]`` in the dtype of hidden_states, and the keys and values
            of all T tokens, which are None without ``use_cache``. Always a tuple, with a mixture of
            experts too: its balance loss stays where it is, in ``mlp.aux_loss``. Gradients
            reach hidden_states, the weights and the past.

        Raises:
            ValueError: attention_mask is not ``[B, T]``. Attention raises it.
        """
        # your code here
        raise NotImplementedError
