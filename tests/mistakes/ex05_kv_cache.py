"""Wrong answers to ex05_kv_cache: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch
import torch.nn.functional as F
from torch import nn


class projections_with_bias:
    """the projections have a bias; create them with bias=False"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                old = getattr(self, name)
                setattr(self, name, nn.Linear(old.in_features, old.out_features))


class keys_for_every_query_head:
    """k_proj and v_proj are as wide as q_proj; they should have num_key_value_heads heads"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            width = self.heads * self.head_dim
            self.kv_heads = self.heads
            self.k_proj = nn.Linear(config.hidden_size, width, bias=False)
            self.v_proj = nn.Linear(config.hidden_size, width, bias=False)


class head_dim_from_hidden_size:
    """head_dim is computed as hidden_size // num_attention_heads; use config.head_dim"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            hidden = config.hidden_size
            self.head_dim = hidden // self.heads
            self.q_proj = nn.Linear(hidden, self.heads * self.head_dim, bias=False)
            self.k_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=False)
            self.v_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=False)
            self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=False)
            self.q_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
            self.k_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)


class norms_over_all_heads:
    """q_norm and k_norm span all heads together; they should normalise the d features of each
    head"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            self.q_norm = RMSNorm(self.heads * self.head_dim, eps=config.rms_norm_eps)
            self.k_norm = RMSNorm(self.kv_heads * self.head_dim, eps=config.rms_norm_eps)

        def _encode(self, q, k, position_embeddings):
            q = self.q_norm(q.flatten(2)).view_as(q)
            k = self.k_norm(k.flatten(2)).view_as(k)
            return apply_rotary_pos_emb(q, k, *position_embeddings)


class one_norm_for_both:
    """one RMSNorm serves queries and keys; q_norm and k_norm should have a weight each"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            self.k_norm = self.q_norm

        def _encode(self, q, k, position_embeddings):
            return apply_rotary_pos_emb(self.q_norm(q), self.q_norm(k), *position_embeddings)


class no_norm:
    """queries and keys are not normalised; apply q_norm and k_norm before RoPE"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            return apply_rotary_pos_emb(q, k, *position_embeddings)


class only_queries_normalised:
    """keys are not normalised; apply k_norm before RoPE"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            return apply_rotary_pos_emb(self.q_norm(q), k, *position_embeddings)


class only_keys_normalised:
    """queries are not normalised; apply q_norm before RoPE"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            return apply_rotary_pos_emb(q, self.k_norm(k), *position_embeddings)


class swapped_norms:
    """q_norm is applied to keys and k_norm to queries; swap them"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            return apply_rotary_pos_emb(self.k_norm(q), self.q_norm(k), *position_embeddings)


class norm_after_rope:
    """queries and keys are turned and then normalised; normalise first, or the norm's weights are
    turned with them"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
            return self.q_norm(q), self.k_norm(k)


class values_normalised:
    """values go through k_norm as well; normalise only queries and keys"""

    class Attention(Attention):
        def _project(self, x):
            q, k, v = super()._project(x)
            return q, k, self.k_norm(v)


class norms_not_trained:
    """the weights of the norms do not require gradients; they should be trained like all others"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            self.q_norm.requires_grad_(False)
            self.k_norm.requires_grad_(False)


class eps_left_at_its_default:
    """RMSNorm is created without eps, so that 1e-5 is used; pass config.rms_norm_eps to it"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            self.q_norm, self.k_norm = RMSNorm(self.head_dim), RMSNorm(self.head_dim)


class eps_always_1e_6:
    """eps is always 1e-6, the default of the config; use config.rms_norm_eps"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            self.q_norm = RMSNorm(self.head_dim, eps=1e-6)
            self.k_norm = RMSNorm(self.head_dim, eps=1e-6)


class no_rope:
    """queries and keys are never turned; call apply_rotary_pos_emb"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            return self.q_norm(q), self.k_norm(k)


class only_queries_turned:
    """keys are not turned; apply_rotary_pos_emb returns both: use both"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            q, k = self.q_norm(q), self.k_norm(k)
            return apply_rotary_pos_emb(q, k, *position_embeddings)[0], k


class only_keys_turned:
    """queries are not turned; apply_rotary_pos_emb returns both: use both"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            q, k = self.q_norm(q), self.k_norm(k)
            return q, apply_rotary_pos_emb(q, k, *position_embeddings)[1]


class values_turned:
    """values are turned like keys; use RoPE only for queries and keys"""

    class Attention(Attention):
        def forward(self, x, position_embeddings, *args, **kwargs):
            self._tables = position_embeddings
            return super().forward(x, position_embeddings, *args, **kwargs)

        def _join(self, k, v, past):
            return super()._join(k, apply_rotary_pos_emb(v, v, *self._tables)[0], past)


class cos_and_sin_swapped:
    """position_embeddings is taken to be (sin, cos); it should be read as (cos, sin)"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            sin, cos = position_embeddings
            return apply_rotary_pos_emb(self.q_norm(q), self.k_norm(k), cos, sin)


class heads_first_into_rope:
    """q and k are transposed to [B, H, S, d] before RoPE; transpose after it, since
    RoPE takes [B, S, H, d]"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            q, k = self.q_norm(q).transpose(1, 2), self.k_norm(k).transpose(1, 2)
            q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
            return q.transpose(1, 2), k.transpose(1, 2)


class positions_counted_again:
    """cos and sin are sliced by P once more; use them as they are, since the caller has already cut
    out the new rows"""

    class Attention(Attention):
        def forward(self, x, position_embeddings, past_key_value=None, *args, **kwargs):
            first = 0 if past_key_value is None else past_key_value[0].shape[1]
            last = first + x.shape[1]
            tables = tuple(table[first:last] for table in position_embeddings)
            return super().forward(x, tables, past_key_value, *args, **kwargs)


class reshaped_instead_of_transposed:
    """[B, S, H, d] is reshaped to [B, H, S, d], which mixes heads and tokens; transpose instead"""

    def _heads_first(x):
        batch, tokens, heads, width = x.shape
        return x.reshape(batch, heads, tokens, width)


class heads_not_moved_back:
    """[B, H, S, d] is reshaped to [B, S, H·d] as it lies in memory; transpose heads
    and tokens first"""

    def _heads_last(x):
        batch, heads, tokens, width = x.shape
        return x.reshape(batch, tokens, heads * width)


class repeated_always_twice:
    """every key/value head is repeated twice; repeat it H / K times, as the config says"""

    def _repeat(x, heads):
        return repeat_kv(x, 2)


class tiled_keys_and_values:
    """the kv heads are tiled, 0 1 2 0 1 2; repeat each in place, 0 0 1 1 2 2, so that query head h
    reads kv head h // (H / K)"""

    def _repeat(x, heads):
        return x.repeat(1, 1, heads // x.shape[2], 1)


class tiled_values:
    """keys are repeated head by head but values are tiled, 0 1 2 0 1 2; repeat both alike"""

    class Attention(Attention):
        def _attend(self, q, k, v, mask):
            v = v.repeat(1, 1, self.heads // v.shape[2], 1)
            return super()._attend(q, _repeat(k, self.heads), v, mask)


class no_scale:
    """the scores are not scaled; multiply them by 1 / sqrt(d)"""

    def _scale(q):
        return 1.0

    def _flash(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)


class no_scale_by_hand:
    """the scores computed by hand are not scaled; divide them by sqrt(d), as
    scaled_dot_product_attention does"""

    def _scale(q):
        return 1.0


class scale_by_hidden_size:
    """the scale is 1 / sqrt(C); it should be 1 / sqrt(d), with the d of one head"""

    class Attention(Attention):
        def _encode(self, q, k, position_embeddings):
            q, k = super()._encode(q, k, position_embeddings)
            return q * (self.head_dim / self.q_proj.in_features) ** 0.5, k


class scale_by_hidden_size_by_hand:
    """the scores computed by hand are divided by sqrt(C); divide by sqrt(d), as flash does"""

    class Attention(Attention):
        def _attend(self, q, k, v, mask):
            if not self._may_flash(q.shape[1], k.shape[1], mask):
                q = q * (self.head_dim / self.o_proj.out_features) ** 0.5
            return super()._attend(q, k, v, mask)


class divided_by_d:
    """the scores computed by hand are divided by d; divide by sqrt(d)"""

    def _scale(q):
        return 1.0 / q.shape[-1]


class scaled_twice:
    """q is scaled before scaled_dot_product_attention, which scales as well; scale it only once"""

    def _flash(q, k, v):
        return F.scaled_dot_product_attention(q * _scale(q), k, v, is_causal=True)


class softmax_over_queries:
    """the softmax runs over the queries; each query's weights over its keys should sum to 1"""

    def _weights(scores):
        return scores.softmax(dim=-2)


class softmax_over_heads:
    """the softmax runs over the heads; each query's weights over its keys should sum to 1"""

    def _weights(scores):
        return scores.softmax(dim=1)


class softmax_overflows:
    """exp is taken of scores as they are and overflows; subtract each row's maximum first"""

    def _weights(scores):
        grown = scores.exp()
        return grown / grown.sum(dim=-1, keepdim=True)


class no_causal_mask:
    """nothing is hidden in the scores computed by hand, so that a token sees later ones; hide
    those"""

    def _causal(queries, keys, device):
        return torch.ones(queries, keys, dtype=torch.bool, device=device)


class no_causal_mask_anywhere:
    """tokens see later ones, by hand and by flash; add the causal mask, and
    is_causal=True for flash"""

    def _causal(queries, keys, device):
        return torch.ones(queries, keys, dtype=torch.bool, device=device)

    def _flash(q, k, v):
        return F.scaled_dot_product_attention(q, k, v)


class flash_not_causal:
    """scaled_dot_product_attention is called without is_causal=True, so that tokens
    see later ones; pass it"""

    def _flash(q, k, v):
        return F.scaled_dot_product_attention(q, k, v)


class no_causal_mask_with_a_past:
    """a chunk after a past has no causal mask, so that its tokens see later ones of
    the same chunk; mask it too"""

    def _causal(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything.tril() if queries == keys else everything


class aligned_top_left:
    """the causal mask starts at key 0 even with a past; the last query should see every key"""

    def _causal(queries, keys, device):
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


class sees_one_ahead:
    """the causal mask is one too wide, so that every token sees the next one; make it one
    narrower"""

    def _causal(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything.tril(diagonal=keys - queries + 1)


class does_not_see_itself:
    """the causal mask hides a token's own key; it should see itself and those before"""

    def _causal(queries, keys, device):
        everything = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return everything.tril(diagonal=keys - queries - 1)


class hides_the_past:
    """new tokens see only each other; they should see the cached keys before them as well"""

    def _causal(queries, keys, device):
        new = torch.ones(queries, queries, dtype=torch.bool, device=device).tril()
        return torch.cat((new.new_zeros(queries, keys - queries), new), dim=1)


class hidden_by_minus_100:
    """hidden scores are lowered by 100, which large scores outweigh; use the lowest number or
    -inf"""

    def _hide(scores, visible):
        return scores - 100.0 * ~visible


class hidden_by_zero:
    """hidden keys get the score 0, which is a weight of e^0; use the lowest number or -inf"""

    def _hide(scores, visible):
        return scores * visible


class hidden_after_the_softmax:
    """weights of hidden keys are set to 0 after the softmax, so that the rest sums to less than 1;
    hide the scores before it"""

    def _by_hand(q, k, v, visible):
        weights = _weights(_scores(q, k)).masked_fill(~visible, 0.0)
        return weights.to(v.dtype) @ v


class padding_gives_nan:
    """a padded query sees no key, and a softmax of nothing but -inf gives NaN; hide scores with the
    lowest finite number"""

    def _hide(scores, visible):
        return scores.masked_fill(~visible, float("-inf"))


class minus_1e9_in_half_precision:
    """hidden keys get -1e9 in x's dtype, which float16 cannot hold; widen the scores first"""

    def _by_hand(q, k, v, visible):
        scores = q @ k.transpose(-2, -1) * _scale(q)
        return _weights(scores.masked_fill(~visible, -1e9)).to(v.dtype) @ v


class inf_times_zero:
    """(1 - mask)·(-inf) is computed, which is NaN wherever the mask is 1; use masked_fill"""

    def _hide(scores, visible):
        return scores + (1.0 - visible.to(scores.dtype)) * float("-inf")


class padding_ignored:
    """padded keys are seen, since attention_mask is not used or hides only padded
    queries; hide the keys"""

    def _visible(queries, k, mask):
        return _causal(queries, k.shape[1], k.device)


class padding_ignored_by_flash:
    """flash attention is called although there is a mask, and does not get it, so that padding is
    seen; compute by hand when there is a mask"""

    class Attention(Attention):
        def _may_flash(self, queries, keys, mask):
            return self.flash_attn and queries == keys


class padding_ignored_with_a_past:
    """attention_mask is used only for the prompt; cached padding must stay hidden later, too"""

    def _visible(queries, k, mask):
        causal = _causal(queries, k.shape[1], k.device)
        return causal if mask is None or queries < k.shape[1] else causal & _real_keys(mask)


class only_new_keys_masked:
    """only the new tokens' part of attention_mask is used, so that cached padding
    is seen; use all T columns"""

    def _visible(queries, k, mask):
        causal = _causal(queries, k.shape[1], k.device)
        if mask is None:
            return causal
        return causal & (_real_keys(mask) | (torch.arange(k.shape[1]) < k.shape[1] - queries))


class mask_inverted:
    """attention_mask is read the wrong way round; read 1 as a real token and 0 as padding"""

    def _real_keys(mask):
        return (mask == 0)[:, None, None, :]


class mask_along_the_queries:
    """attention_mask is lined up with the queries; line it up with the keys, since
    nobody may see a padded key"""

    def _real_keys(mask):
        return (mask != 0)[:, None, :, None]


class mask_replaces_causality:
    """the causal mask is left out when there is an attention_mask; a key must pass both"""

    def _visible(queries, k, mask):
        causal = _causal(queries, k.shape[1], k.device)
        return causal if mask is None else causal.new_ones(causal.shape) & _real_keys(mask)


class mask_added_to_the_scores:
    """attention_mask is added to the scores as 0 and 1; padding should get no weight at all"""

    def _visible(queries, k, mask):
        causal = _causal(queries, k.shape[1], k.device)
        return causal, None if mask is None else mask[:, None, None, :]

    def _by_hand(q, k, v, visible):
        causal, added = visible
        scores = _scores(q, k) if added is None else _scores(q, k) + added
        return _weights(_hide(scores, causal)).to(v.dtype) @ v


class mask_kept_for_the_same_sizes:
    """the mask is kept on the module, and another batch of the same sizes gets the padding of the
    first one; make it anew from attention_mask in each call"""

    class Attention(Attention):
        def __init__(self, config):
            super().__init__(config)
            self.kept = {}

        def _attend(self, q, k, v, mask):
            if mask is not None:
                mask = self.kept.setdefault((q.shape[1], tuple(mask.shape)), mask)
            return super()._attend(q, k, v, mask)


class no_mask_check:
    """attention_mask's shape is not checked, so that one row is broadcast to all
    sequences; compare it with (B, T)"""

    def _check_mask(mask, k):
        pass


class only_the_mask_length_is_checked:
    """only the last axis of attention_mask is compared with T; its whole shape should be [B, T]"""

    def _check_mask(mask, k):
        if mask is not None and mask.shape[-1] != k.shape[1]:
            raise ValueError(f"attention_mask: got {list(mask.shape)}, want {k.shape[1]} keys")


class one_column_is_accepted:
    """a mask of one column is accepted, since it broadcasts to [B, T]; refuse it"""

    def _check_mask(mask, k):
        if mask is not None and (
            mask.dim() != 2 or len(mask) != len(k) or mask.shape[1] not in (1, k.shape[1])
        ):
            raise ValueError(f"attention_mask: got {list(mask.shape)}, want {list(k.shape[:2])}")


class mask_of_new_tokens_is_extended:
    """a mask of only the new tokens is accepted, as if the past had no padding; refuse it"""

    class Attention(Attention):
        def forward(self, x, tables, past_key_value=None, use_cache=False, attention_mask=None):
            if past_key_value is not None and attention_mask is not None:
                if attention_mask.shape == x.shape[:2]:
                    cached = attention_mask.new_ones(past_key_value[0].shape[:2])
                    attention_mask = torch.cat((cached, attention_mask), dim=1)
            return super().forward(x, tables, past_key_value, use_cache, attention_mask)


class cached_before_rope:
    """keys are cached before RoPE; turn them first, since a cached key is never turned again"""

    class Attention(Attention):
        def forward(
            self, x, position_embeddings, past_key_value=None, use_cache=False, *args, **kw
        ):
            out, past = super().forward(
                x, position_embeddings, past_key_value, use_cache, *args, **kw
            )
            if past is None:
                return out, None
            k = self.k_norm(self._project(x)[1])
            if past_key_value is not None:
                k = _append(past_key_value[0], k)
            return out, (k, past[1])


class cached_before_the_norm:
    """keys are cached as k_proj gives them; cache them after norm and RoPE"""

    class Attention(Attention):
        def forward(
            self, x, position_embeddings, past_key_value=None, use_cache=False, *args, **kw
        ):
            out, past = super().forward(
                x, position_embeddings, past_key_value, use_cache, *args, **kw
            )
            if past is None:
                return out, None
            k = self._project(x)[1]
            if past_key_value is not None:
                k = _append(past_key_value[0], k)
            return out, (k, past[1])


class cached_keys_normalised_again:
    """k_norm is applied to cached keys at every step; normalise a key only once, when it is new"""

    class Attention(Attention):
        def _join(self, k, v, past):
            if past is not None:
                past = self.k_norm(past[0]), past[1]
            return super()._join(k, v, past)


class cached_after_repetition:
    """keys and values are cached once per query head, H / K times what is needed;
    repeat the heads after caching"""

    class Attention(Attention):
        def _join(self, k, v, past):
            return super()._join(_repeat(k, self.heads), _repeat(v, self.heads), past)


class cached_heads_first:
    """the cache is [B, K, T, d]; it should be [B, T, K, d]"""

    class Attention(Attention):
        def forward(self, x, position_embeddings, past_key_value=None, *args, **kwargs):
            if past_key_value is not None:
                past_key_value = tuple(item.transpose(1, 2) for item in past_key_value)
            out, past = super().forward(x, position_embeddings, past_key_value, *args, **kwargs)
            return out, past and tuple(item.transpose(1, 2) for item in past)


class only_new_keys_returned:
    """past holds only the new tokens; return the keys and values of all T"""

    class Attention(Attention):
        def forward(self, x, *args, **kwargs):
            out, past = super().forward(x, *args, **kwargs)
            return out, past and tuple(item[:, -x.shape[1] :] for item in past)


class past_behind_the_new:
    """cached keys and values are put after the new ones; put them first"""

    def _append(past, new):
        return torch.cat((new, past), dim=1)


class past_only_with_use_cache:
    """the past is attended to only if use_cache is set; attend to it always: use_cache decides only
    what is returned"""

    class Attention(Attention):
        def forward(self, x, tables, past_key_value=None, use_cache=False, attention_mask=None):
            if not use_cache:
                past_key_value = None
            return super().forward(x, tables, past_key_value, use_cache, attention_mask)


class always_returns_the_cache:
    """the cache is returned without use_cache, too; return None as past then"""

    class Attention(Attention):
        def forward(self, x, tables, past_key_value=None, use_cache=False, attention_mask=None):
            return super().forward(x, tables, past_key_value, True, attention_mask)


class past_detached:
    """the past is detached, so that no gradient reaches it; leave it in the graph"""

    def _append(past, new):
        return torch.cat((past.detach(), new), dim=1)


class cache_detached:
    """the returned keys and values are detached, so that no gradient flows through them to x; leave
    them in the graph"""

    class Attention(Attention):
        def forward(self, *args, **kwargs):
            out, past = super().forward(*args, **kwargs)
            return out, past and tuple(item.detach() for item in past)


class keeps_the_cache_on_the_module:
    """the module keeps the cache and continues from it without being asked to;
    continue only from past_key_value"""

    class Attention(Attention):
        kept = None

        def _join(self, k, v, past):
            if self.kept is not None and self.kept[0].shape[0] == k.shape[0]:
                past = self.kept
            self.kept = super()._join(k, v, past)
            return self.kept


class past_is_only_a_sign:
    """past_key_value is only compared with None, and the module's own copy is used; use the keys
    and values in it"""

    class Attention(Attention):
        kept = None

        def _join(self, k, v, past):
            if past is not None and self.kept is not None:
                past = self.kept
            self.kept = super()._join(k, v, past)
            return self.kept


class appends_to_the_callers_past:
    """past is a list that grows in place, so that it cannot be continued a second
    time; make new tensors"""

    class Attention(Attention):
        def forward(self, x, tables, past_key_value=None, use_cache=False, attention_mask=None):
            out, (k, v) = super().forward(x, tables, past_key_value, True, attention_mask)
            if isinstance(past_key_value, list):
                past_key_value[:] = k, v
            if not use_cache:
                return out, None
            return out, past_key_value if isinstance(past_key_value, list) else [k, v]


class continues_in_shared_memory:
    """new tokens are written into memory after the past, which another continuation
    shares; join with torch.cat"""

    class Attention(Attention):
        memory = None

        def _join(self, k, v, past):
            if past is None or self.memory is None:
                self.memory = StaticCache(k.shape[0], 64, *k.shape[2:], k.dtype, k.device)
                if past is not None:
                    self.memory.append(*past)
            self.memory.length = 0 if past is None else past[0].shape[1]
            return self.memory.append(k, v)


class continues_in_spare_memory:
    """without gradients, new tokens are written into spare memory behind the past, over those of
    another continuation; join with torch.cat"""

    def _append(past, new):
        if torch.is_grad_enabled():
            return torch.cat((past, new), dim=1)
        first, end = past.shape[1], past.shape[1] + new.shape[1]
        memory = getattr(past, "memory", past)
        if memory.shape[1] < end:
            memory = past.new_zeros(past.shape[0], end + 64, *past.shape[2:])
            memory[:, :first] = past
        memory[:, first:end] = new
        whole = memory[:, :end]
        whole.memory = memory
        return whole


class without_gradient:
    """the layer runs under no_grad, so that nothing can be trained; leave gradients on"""

    class Attention(Attention):
        @torch.no_grad()
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)


class flash_never_called:
    """flash_attn is ignored and everything computed by hand; call scaled_dot_product_attention"""

    class Attention(Attention):
        def _may_flash(self, queries, keys, mask):
            return False


class flash_always_called:
    """flash_attn=False is ignored; do not call scaled_dot_product_attention then"""

    class Attention(Attention):
        def _may_flash(self, queries, keys, mask):
            return queries == keys and mask is None


class flash_with_a_past:
    """flash is called with is_causal=True and a past, and aligns its mask at the
    top left; use it only for S = T"""

    class Attention(Attention):
        def _may_flash(self, queries, keys, mask):
            return self.flash_attn and mask is None


class flash_for_chunks:
    """flash is called with is_causal=True for chunks after a past, and aligns its mask at the top
    left; use it only for S = T"""

    class Attention(Attention):
        def _may_flash(self, queries, keys, mask):
            return self.flash_attn and mask is None and queries > 1


class flash_for_single_tokens:
    """flash is called with is_causal=True for a single new token, which then sees only key 0; use
    it only for S = T"""

    class Attention(Attention):
        def _may_flash(self, queries, keys, mask):
            return self.flash_attn and mask is None and queries in (1, keys)


class heads_last_into_flash:
    """q, k and v go into flash as [B, S, H, d], so that heads attend to heads; transpose them
    first"""

    def _flash(q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


class output_left_in_float32:
    """out is left in float32; it should have the dtype of x"""

    class Attention(Attention):
        def forward(self, *args, **kwargs):
            out, past = super().forward(*args, **kwargs)
            return _widen(out), past


class cache_left_in_float32:
    """cached keys and values are left in float32; they should have the dtype of x"""

    class Attention(Attention):
        def _join(self, k, v, past):
            return super()._join(_widen(k), _widen(v), past)

        def _attend(self, q, k, v, mask):
            return super()._attend(q, k.to(q.dtype), v.to(q.dtype), mask)


class weights_left_in_float32:
    """float32 weights are multiplied by half-precision values, which matmul refuses; cast the
    weights to v's dtype"""

    def _by_hand(q, k, v, visible):
        return _weights(_hide(_scores(q, k), visible)) @ v


class out_not_projected:
    """the heads are returned side by side, [B, S, H·d]; o_proj should take them back to [B, S,
    C]"""

    class Attention(Attention):
        def forward(self, x, tables, past_key_value=None, use_cache=False, attention_mask=None):
            q, k, v = self._project(x)
            q, k = self._encode(q, k, tables)
            k, v = self._join(k, v, past_key_value)
            _check_mask(attention_mask, k)
            return self._attend(q, k, v, attention_mask), (k, v) if use_cache else None


class static_cache_grows_by_cat:
    """the static cache joins tensors, which allocates everything anew for each append; write into
    its memory instead"""

    class StaticCache(StaticCache):
        def _write(self, k, v):
            new = self.length + k.shape[1]
            self._k = torch.cat((self._k[:, : self.length], k), dim=1)
            self._v = torch.cat((self._v[:, : self.length], v), dim=1)
            self.length = new


class static_cache_returns_copies:
    """append returns copies; return views, that is slices, of the cache's memory"""

    class StaticCache(StaticCache):
        def _views(self):
            return self._k[:, : self.length].clone(), self._v[:, : self.length].clone()


class static_cache_returns_everything:
    """append returns all max_len places; return the first `length`"""

    class StaticCache(StaticCache):
        def _views(self):
            return self._k, self._v


class static_cache_returns_the_new:
    """append returns only the tokens just stored; return everything so far"""

    class StaticCache(StaticCache):
        def append(self, k, v):
            first = self.length
            return tuple(view[:, first:] for view in super().append(k, v))


class static_cache_writes_at_the_front:
    """every append writes at place 0, over the tokens there; write after them, at `length`"""

    class StaticCache(StaticCache):
        def _write(self, k, v):
            self._k[:, : k.shape[1]] = k
            self._v[:, : v.shape[1]] = v
            self.length += k.shape[1]


class static_cache_counts_appends:
    """length grows by one for each append; it should count tokens"""

    class StaticCache(StaticCache):
        def _write(self, k, v):
            end = self.length + k.shape[1]
            self._k[:, self.length : end] = k
            self._v[:, self.length : end] = v
            self.length += 1


class static_cache_length_is_a_tensor:
    """length is a tensor; it should be an int"""

    class StaticCache(StaticCache):
        def __init__(self, *args):
            super().__init__(*args)
            self.length = torch.tensor(0)

        def reset(self):
            self.length = torch.tensor(0)


class static_cache_views_too_early:
    """the views are taken before the new tokens are counted, and so end before them; count first"""

    class StaticCache(StaticCache):
        def append(self, k, v):
            self._check_room(k.shape[1])
            views = self._views()
            self._write(k, v)
            return views


class static_cache_keys_for_values:
    """keys and values are written into the same memory; each should have its own"""

    class StaticCache(StaticCache):
        def __init__(self, *args):
            super().__init__(*args)
            self._v = self._k


class static_cache_keys_and_values_swapped:
    """append returns (v, k); return (k, v)"""

    class StaticCache(StaticCache):
        def _views(self):
            return super()._views()[::-1]


class static_cache_reset_allocates:
    """reset allocates new memory; change only length"""

    class StaticCache(StaticCache):
        def reset(self):
            self._k, self._v = torch.empty_like(self._k), torch.empty_like(self._v)
            self.length = 0


class static_cache_reset_does_nothing:
    """reset leaves length as it is; set it to 0"""

    class StaticCache(StaticCache):
        def reset(self):
            self._k.zero_()
            self._v.zero_()


class static_cache_without_check:
    """nothing checks whether there is room, so that a token is lost or torch raises
    its own error; check first"""

    class StaticCache(StaticCache):
        def _check_room(self, new):
            pass


class static_cache_raises_runtime_error:
    """a full cache raises RuntimeError; raise ValueError"""

    class StaticCache(StaticCache):
        def _check_room(self, new):
            if self.length + new > self._max_len:
                raise RuntimeError("the cache is full")


class static_cache_never_full:
    """the last place is never used; exactly max_len tokens should fit"""

    class StaticCache(StaticCache):
        def _check_room(self, new):
            if self.length + new >= self._max_len:
                raise ValueError(f"k: got {new} tokens, and {self.length} are stored")


class static_cache_writes_what_fits:
    """the tokens that fit are written before the error is raised; check before writing anything"""

    class StaticCache(StaticCache):
        def append(self, k, v):
            room = self._max_len - self.length
            if k.shape[1] > room:
                self._k[:, self.length :] = k[:, :room]
                self._v[:, self.length :] = v[:, :room]
            return super().append(k, v)


class static_cache_counts_what_it_refuses:
    """length grows before the check, so that refused tokens are counted; check first"""

    class StaticCache(StaticCache):
        def append(self, k, v):
            try:
                return super().append(k, v)
            except ValueError:
                self.length += k.shape[1]
                raise


class static_cache_drops_the_oldest:
    """a full cache starts again at place 0, over the oldest tokens; raise a ValueError"""

    class StaticCache(StaticCache):
        def _check_room(self, new):
            if self.length + new > self._max_len:
                self.length = 0


class static_cache_always_float32:
    """the static cache is always float32; use the argument dtype"""

    class StaticCache(StaticCache):
        def __init__(self, batch, max_len, kv_heads, head_dim, dtype, device):
            wide = torch.get_default_dtype()
            super().__init__(batch, max_len, kv_heads, head_dim, wide, device)


class static_cache_ignores_the_device:
    """the static cache is created on the default device; use the argument device"""

    UNDETECTABLE = "Without an accelerator there is one device, and every tensor lies on it."

    class StaticCache(StaticCache):
        def __init__(self, batch, max_len, kv_heads, head_dim, dtype, device):
            super().__init__(batch, max_len, kv_heads, head_dim, dtype, None)
