"""Wrong answers to ex10_block: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch
from torch import nn


class post_norm:
    """each norm comes after its sum, as in the first transformers; put it in front of attention and
    of the mlp, and leave the sums alone"""

    class MiniMindBlock(MiniMindBlock):
        def forward(
            self,
            hidden_states,
            position_embeddings,
            past_key_value=None,
            use_cache=False,
            attention_mask=None,
        ):
            found, present = self.self_attn(
                hidden_states, position_embeddings, past_key_value, use_cache, attention_mask
            )
            stream = self.input_layernorm(hidden_states + found)
            return self.post_attention_layernorm(stream + self.mlp(stream)), present


class norm_behind_each_part:
    """what attention and the mlp give is normalised before it is added; normalise what they read"""

    class MiniMindBlock(MiniMindBlock):
        def forward(
            self,
            hidden_states,
            position_embeddings,
            past_key_value=None,
            use_cache=False,
            attention_mask=None,
        ):
            found, present = self.self_attn(
                hidden_states, position_embeddings, past_key_value, use_cache, attention_mask
            )
            stream = hidden_states + self.input_layernorm(found)
            return stream + self.post_attention_layernorm(self.mlp(stream)), present


class both_residuals_behind_the_norm:
    """attention and mlp are added to the normalised stream, x = norm(x) and then x + attn(x); add
    them to the stream as it came in"""

    class MiniMindBlock(MiniMindBlock):
        def forward(
            self,
            hidden_states,
            position_embeddings,
            past_key_value=None,
            use_cache=False,
            attention_mask=None,
        ):
            x = self.input_layernorm(hidden_states)
            found, present = self.self_attn(
                x, position_embeddings, past_key_value, use_cache, attention_mask
            )
            x = self.post_attention_layernorm(x + found)
            return x + self.mlp(x), present


class first_residual_behind_the_norm:
    """attention is added to input_layernorm(x); add it to x itself"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            stream = self.input_layernorm(hidden_states) + found
            return stream + self._transform(stream), present


class second_residual_behind_the_norm:
    """the mlp is added to post_attention_layernorm(h); add it to h itself"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            x = self.post_attention_layernorm(hidden_states + found)
            return x + self.mlp(x), present


class no_residuals:
    """nothing is added, so that each part replaces the stream; add both to what came in"""

    class MiniMindBlock(MiniMindBlock):
        def _add(self, stream, found):
            return found


class no_residual_around_attention:
    """the stream is lost at attention; add hidden_states to what attention gives"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            return found + self._transform(found), present


class no_residual_around_the_mlp:
    """the stream is lost at the mlp; add what goes into its norm to what it gives"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            return self._transform(hidden_states + found), present


class second_residual_from_the_input:
    """the mlp is added to hidden_states, so that what attention found is lost on the
    stream; add it to the sum after attention"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            return hidden_states + self._transform(hidden_states + found), present


class input_added_twice:
    """hidden_states is added once more at the second sum; add only the mlp there, since it is in
    the stream already"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            out, present = super().forward(hidden_states, *args, **kwargs)
            return hidden_states + out, present


class attention_added_twice:
    """what attention found is added at both sums; add only the mlp at the second one"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            stream = hidden_states + found
            return stream + found + self._transform(stream), present


class parallel_parts:
    """the mlp reads the norm of hidden_states, beside attention, as in GPT-NeoX; it should read the
    norm of the sum after attention"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            return hidden_states + found + self._transform(hidden_states), present


class mlp_reads_attention_alone:
    """the mlp reads the norm of what attention gave, without the stream; it should read the norm of
    their sum"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            return hidden_states + found + self._transform(found), present


class mlp_first:
    """the mlp comes before attention; attention comes first"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            stream = hidden_states + self._transform(hidden_states)
            found, present = self._attend(stream, *args, **kwargs)
            return stream + found, present


class attention_reads_the_raw_stream:
    """input_layernorm is never applied; attention should read input_layernorm(x)"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return self.self_attn(x, position_embeddings, past_key_value, use_cache, attention_mask)


class mlp_reads_the_raw_stream:
    """post_attention_layernorm is never applied; the mlp should read post_attention_layernorm(h)"""

    class MiniMindBlock(MiniMindBlock):
        def _transform(self, x):
            return self.mlp(x)


class no_norms:
    """neither norm is applied; attention and mlp should each read a norm of the stream"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return self.self_attn(x, position_embeddings, past_key_value, use_cache, attention_mask)

        def _transform(self, x):
            return self.mlp(x)


class norms_swapped:
    """attention reads post_attention_layernorm and the mlp input_layernorm; swap the two"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            x = self.post_attention_layernorm(x)
            return self.self_attn(x, position_embeddings, past_key_value, use_cache, attention_mask)

        def _transform(self, x):
            return self.mlp(self.input_layernorm(x))


class first_norm_for_both:
    """input_layernorm is in front of the mlp as well; use post_attention_layernorm there"""

    class MiniMindBlock(MiniMindBlock):
        def _transform(self, x):
            return self.mlp(self.input_layernorm(x))


class second_norm_for_both:
    """post_attention_layernorm is in front of attention as well; use input_layernorm there"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            x = self.post_attention_layernorm(x)
            return self.self_attn(x, position_embeddings, past_key_value, use_cache, attention_mask)


class one_norm_under_two_names:
    """both names stand for one RMSNorm, which has one weight; make two of them"""

    class MiniMindBlock(MiniMindBlock):
        def __init__(self, layer_id, config):
            super().__init__(layer_id, config)
            self.post_attention_layernorm = self.input_layernorm


class norm_at_the_end:
    """the output is normalised once more; the stream leaves the block as it is, and the model has
    one norm after its last block"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            out, present = super().forward(hidden_states, *args, **kwargs)
            return self.post_attention_layernorm(out), present


class normalised_twice:
    """the mlp reads post_attention_layernorm(input_layernorm(h)); one norm is enough"""

    class MiniMindBlock(MiniMindBlock):
        def _transform(self, x):
            return self.mlp(self.post_attention_layernorm(self.input_layernorm(x)))


class layer_norms:
    """the norms are nn.LayerNorm, which subtracts the mean and has a bias; use RMSNorm"""

    def _norm(config):
        return nn.LayerNorm(config.hidden_size, eps=config.rms_norm_eps)


class layer_norms_without_bias:
    """the norms are nn.LayerNorm, which subtracts the mean; use RMSNorm"""

    def _norm(config):
        return nn.LayerNorm(config.hidden_size, eps=config.rms_norm_eps, bias=False)


class eps_left_at_its_default:
    """RMSNorm is created without eps, so that 1e-5 is used; pass config.rms_norm_eps to it"""

    def _norm(config):
        return RMSNorm(config.hidden_size)


class eps_always_1e_6:
    """eps is always 1e-6, the default of the config; use config.rms_norm_eps"""

    def _norm(config):
        return RMSNorm(config.hidden_size, eps=1e-6)


class norms_over_a_head:
    """the norms have a weight of head_dim features; they should span all hidden_size features"""

    def _norm(config):
        return RMSNorm(config.head_dim, eps=config.rms_norm_eps)


class halved_sums:
    """each sum is divided by the square root of 2; the stream should not be scaled"""

    class MiniMindBlock(MiniMindBlock):
        def _add(self, stream, found):
            return (stream + found) * 2**-0.5


class depth_scaled_parts:
    """what the parts give is divided by the square root of twice the layers before it is
    added; add it as it is"""

    class MiniMindBlock(MiniMindBlock):
        def __init__(self, layer_id, config):
            super().__init__(layer_id, config)
            self.factor = (2 * config.num_hidden_layers) ** -0.5

        def _add(self, stream, found):
            return stream + self.factor * found


class stream_detached:
    """the residual is detached, so that the gradient of the lower layers does not pass along
    it; add the stream as it is"""

    class MiniMindBlock(MiniMindBlock):
        def _add(self, stream, found):
            return stream.detach() + found


class added_in_place:
    """hidden_states += ... changes the caller's tensor; make a new one"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            found, present = self._attend(hidden_states, *args, **kwargs)
            hidden_states += found
            return hidden_states + self._transform(hidden_states), present


class never_a_mixture:
    """the mlp is a FeedForward whatever use_moe says; with use_moe it should be MoEFeedForward"""

    def _mlp(layer_id, config):
        return FeedForward(config)


class always_a_mixture:
    """the mlp is MoEFeedForward although use_moe is off; use_moe alone should decide, whatever
    num_experts is"""

    def _mlp(layer_id, config):
        return MoEFeedForward(config)


class first_layer_dense:
    """layer 0 has no mixture of experts, as in DeepSeek; with use_moe every layer should have
    one"""

    def _mlp(layer_id, config):
        moe = config.use_moe and layer_id > 0
        return MoEFeedForward(config) if moe else FeedForward(config)


class every_second_layer_dense:
    """only every second layer has a mixture of experts, starting with layer 1; with use_moe every
    layer should have one"""

    def _mlp(layer_id, config):
        moe = config.use_moe and layer_id % 2 == 1
        return MoEFeedForward(config) if moe else FeedForward(config)


class mixture_in_even_layers:
    """only every second layer has a mixture of experts, starting with layer 0; with use_moe every
    layer should have one"""

    def _mlp(layer_id, config):
        moe = config.use_moe and layer_id % 2 == 0
        return MoEFeedForward(config) if moe else FeedForward(config)


class network_as_wide_as_an_expert:
    """the dense mlp has moe_intermediate_size; leave it at intermediate_size"""

    def _mlp(layer_id, config):
        if config.use_moe:
            return MoEFeedForward(config)
        return FeedForward(config, config.moe_intermediate_size)


class mixture_returned_as_a_pair:
    """with use_moe the balance loss is returned as a third value; return (out, present) always, the
    loss stays in mlp.aux_loss"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            out, present = super().forward(hidden_states, *args, **kwargs)
            if hasattr(self.mlp, "aux_loss"):
                return out, present, self.mlp.aux_loss
            return out, present


class mlp_called_twice:
    """the norm and the mlp are applied a second time to the output; run them once"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, *args, **kwargs):
            out, present = super().forward(hidden_states, *args, **kwargs)
            return out + self._transform(out), present


class past_not_handed_on:
    """past_key_value is not handed to attention; pass it on"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return super()._attend(x, position_embeddings, None, use_cache, attention_mask)


class use_cache_not_handed_on:
    """use_cache is not handed to attention, so that present is always None; pass it on"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return super()._attend(x, position_embeddings, past_key_value, False, attention_mask)


class mask_not_handed_on:
    """attention_mask is not handed to attention, so that padding is seen; pass it on"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return super()._attend(x, position_embeddings, past_key_value, use_cache, None)


class mask_dropped_with_a_past:
    """the mask is left out once there is a past, as if one new token needed none; hand it on as it
    comes"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            mask = attention_mask if past_key_value is None else None
            return super()._attend(x, position_embeddings, past_key_value, use_cache, mask)


class past_detached:
    """the past is detached before attention reads it; gradients should reach it"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            if past_key_value is not None:
                past_key_value = tuple(part.detach() for part in past_key_value)
            return super()._attend(
                x, position_embeddings, past_key_value, use_cache, attention_mask
            )


class mask_in_the_place_of_the_past:
    """attention_mask is handed on by position, where the past is expected; name the arguments, or
    keep their order"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return super()._attend(
                x, position_embeddings, attention_mask, use_cache, past_key_value
            )


class mask_for_new_tokens_alone:
    """only the new tokens' part of attention_mask is handed on; attention wants all T columns"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            if attention_mask is not None:
                attention_mask = attention_mask[:, -x.shape[1] :]
            return super()._attend(
                x, position_embeddings, past_key_value, use_cache, attention_mask
            )


class past_only_with_use_cache:
    """the past is handed on only with use_cache; hand it on always: use_cache decides what is
    returned"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return super()._attend(
                x,
                position_embeddings,
                past_key_value if use_cache else None,
                use_cache,
                attention_mask,
            )


class always_returns_the_cache:
    """present holds keys and values without use_cache, too; it should be None then"""

    class MiniMindBlock(MiniMindBlock):
        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return super()._attend(x, position_embeddings, past_key_value, True, attention_mask)


class old_past_returned:
    """present is the past that came in; return the one that attention gives"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, hidden_states, position_embeddings, past_key_value=None, *args, **kwargs):
            out, present = super().forward(
                hidden_states, position_embeddings, past_key_value, *args, **kwargs
            )
            return out, present and past_key_value


class only_the_output_returned:
    """only the hidden states are returned; return (out, present)"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)[0]


class present_first:
    """(present, out) is returned; return (out, present)"""

    class MiniMindBlock(MiniMindBlock):
        def forward(self, *args, **kwargs):
            out, present = super().forward(*args, **kwargs)
            return present, out


class without_gradient:
    """the block runs under no_grad, so that nothing can be trained; leave gradients on"""

    class MiniMindBlock(MiniMindBlock):
        @torch.no_grad()
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)


class names_of_meta:
    """the parts are called attention_norm, attention, ffn_norm and feed_forward, as in Meta's
    Llama; call them input_layernorm, self_attn, post_attention_layernorm and mlp"""

    class MiniMindBlock(nn.Module):
        def __init__(self, layer_id, config):
            super().__init__()
            self.attention_norm, self.ffn_norm = _norm(config), _norm(config)
            self.attention, self.feed_forward = Attention(config), _mlp(layer_id, config)

        def forward(self, hidden_states, *args, **kwargs):
            found, present = self.attention(self.attention_norm(hidden_states), *args, **kwargs)
            stream = hidden_states + found
            return stream + self.feed_forward(self.ffn_norm(stream)), present


class attention_called_attention:
    """attention is called attention; call it self_attn"""

    class MiniMindBlock(MiniMindBlock):
        def __init__(self, layer_id, config):
            super().__init__(layer_id, config)
            self.attention = self.self_attn
            del self.self_attn

        def _attend(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            return self.attention(
                self.input_layernorm(x),
                position_embeddings,
                past_key_value,
                use_cache,
                attention_mask,
            )


class mlp_called_feed_forward:
    """the feed-forward network is called feed_forward; call it mlp"""

    class MiniMindBlock(MiniMindBlock):
        def __init__(self, layer_id, config):
            super().__init__(layer_id, config)
            self.feed_forward = self.mlp
            del self.mlp

        def _transform(self, x):
            return self.feed_forward(self.post_attention_layernorm(x))
