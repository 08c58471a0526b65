"""Wrong answers to ex11_model: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class no_final_norm:
    """the head reads the last layer's output as it is; apply norm after the layers"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            self.norm.forward = lambda x: x


class norm_after_every_layer:
    """norm is applied after every layer; apply it once, after the last"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            rows = self._rows(_past_length(past_key_values), input_ids.shape[1])
            hidden, presents = self._embed(input_ids), []
            for layer, past in zip(self.layers, self._pasts(past_key_values), strict=True):
                hidden, present = layer(hidden, rows, past, use_cache, attention_mask)
                hidden = self.norm(hidden)
                presents.append(present)
            return hidden, tuple(presents) if use_cache else None, self._aux_loss(hidden)


class normalised_embeddings:
    """the embeddings go through norm before the first layer; they go in as they are"""

    class MiniMindModel(MiniMindModel):
        def _embed(self, input_ids):
            return self.norm(self.embed_tokens(input_ids))


class scaled_embeddings:
    """the embeddings are multiplied by the square root of C, as in Gemma; use them as they are"""

    class MiniMindModel(MiniMindModel):
        def _embed(self, input_ids):
            return self.embed_tokens(input_ids) * self.config.hidden_size**0.5


class padding_idx_set:
    """nn.Embedding has padding_idx, so that the padding token never gets a gradient; leave it
    out"""

    class MiniMindModel(MiniMindModel):
        def _embed(self, input_ids):
            return F.embedding(input_ids, self.embed_tokens.weight, self.config.pad_token_id)


class eps_left_at_its_default:
    """the final norm is created without eps, so that 1e-5 is used; pass config.rms_norm_eps to
    it"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            self.norm = RMSNorm(config.hidden_size)


class eps_always_1e_6:
    """the eps of the final norm is always 1e-6, the default of the config; use
    config.rms_norm_eps"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            self.norm = RMSNorm(config.hidden_size, eps=1e-6)


class layer_norm_at_the_end:
    """the final norm is nn.LayerNorm, which subtracts the mean; use RMSNorm"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            self.norm = nn.LayerNorm(config.hidden_size, eps=config.rms_norm_eps, bias=False)


class one_block_for_all_layers:
    """all layers are one block under several names; make a MiniMindBlock for each"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            self.layers = nn.ModuleList([self.layers[0]] * config.num_hidden_layers)


class layers_in_a_list:
    """the layers are in a Python list, so that their weights are neither trained nor saved; use
    nn.ModuleList"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            layers = list(self.layers)
            del self.layers
            self.layers = layers


class last_layer_skipped:
    """the last layer is never run; run all of them"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            rows = self._rows(_past_length(past_key_values), input_ids.shape[1])
            hidden, presents = self._embed(input_ids), []
            for layer, past in zip(self.layers[:-1], self._pasts(past_key_values), strict=False):
                hidden, present = layer(hidden, rows, past, use_cache, attention_mask)
                presents.append(present)
            aux_loss = self._aux_loss(hidden)
            return self.norm(hidden), tuple(presents) if use_cache else None, aux_loss


class layers_backwards:
    """the layers run from the last to the first; begin with layer 0"""

    class MiniMindModel(MiniMindModel):
        def forward(self, *args, **kwargs):
            layers = self.layers
            self.layers = nn.ModuleList(reversed(layers))
            try:
                return super().forward(*args, **kwargs)
            finally:
                self.layers = layers


class every_layer_reads_the_embeddings:
    """every layer is given the embeddings; give it what the layer before returned"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            rows = self._rows(_past_length(past_key_values), input_ids.shape[1])
            embedded, presents = self._embed(input_ids), []
            for layer, past in zip(self.layers, self._pasts(past_key_values), strict=True):
                hidden, present = layer(embedded, rows, past, use_cache, attention_mask)
                presents.append(present)
            aux_loss = self._aux_loss(hidden)
            return self.norm(hidden), tuple(presents) if use_cache else None, aux_loss


class residual_around_layers:
    """each layer's input is added to its output; the block has added it already"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            rows = self._rows(_past_length(past_key_values), input_ids.shape[1])
            hidden, presents = self._embed(input_ids), []
            for layer, past in zip(self.layers, self._pasts(past_key_values), strict=True):
                out, present = layer(hidden, rows, past, use_cache, attention_mask)
                hidden = hidden + out
                presents.append(present)
            aux_loss = self._aux_loss(hidden)
            return self.norm(hidden), tuple(presents) if use_cache else None, aux_loss


class positions_start_at_zero:
    """new tokens get the positions from 0 on even with a past; they go on where the past
    ends, at P"""

    class MiniMindModel(MiniMindModel):
        def _rows(self, first, count):
            _check_length(first, count, self.config.max_position_embeddings)
            return self.freqs_cos[:count], self.freqs_sin[:count]


class positions_one_late:
    """positions with a past start at P + 1; they should start at P"""

    class MiniMindModel(MiniMindModel):
        def _rows(self, first, count):
            _check_length(first, count, self.config.max_position_embeddings)
            first = first + (first > 0)
            return self.freqs_cos[first : first + count], self.freqs_sin[first : first + count]


class positions_one_early:
    """positions with a past start at P - 1; they should start at P"""

    class MiniMindModel(MiniMindModel):
        def _rows(self, first, count):
            _check_length(first, count, self.config.max_position_embeddings)
            first = max(first - 1, 0)
            return self.freqs_cos[first : first + count], self.freqs_sin[first : first + count]


class past_length_from_the_heads:
    """P is read from the axis of the heads, shape[2] or shape[-2]; the keys are [B, T, K, d], so it
    is shape[1]"""

    def _past_length(past_key_values):
        return 0 if past_key_values is None else past_key_values[0][0].shape[2]


class past_length_from_the_batch:
    """P is len(past_key_values[0][0]), the size of the batch; the keys are [B, T, K, d], so it is
    shape[1]"""

    def _past_length(past_key_values):
        return 0 if past_key_values is None else len(past_key_values[0][0])


class past_length_from_the_layers:
    """P is len(past_key_values), the number of layers; it should be the length of a layer's keys,
    shape[1]"""

    def _past_length(past_key_values):
        return 0 if past_key_values is None else len(past_key_values)


class theta_left_at_its_default:
    """the tables are made with rope_base left at 1e6; pass config.rope_theta"""

    class MiniMindModel(MiniMindModel):
        def _tables(self, config):
            return precompute_freqs_cis(config.head_dim, config.max_position_embeddings)


class theta_always_1e4:
    """the tables are made with base 10000; pass config.rope_theta"""

    class MiniMindModel(MiniMindModel):
        def _tables(self, config):
            return precompute_freqs_cis(config.head_dim, config.max_position_embeddings, 1e4)


class tables_of_hidden_size_over_heads:
    """the tables are hidden_size // num_attention_heads wide; use config.head_dim"""

    class MiniMindModel(MiniMindModel):
        def _tables(self, config):
            width = config.hidden_size // config.num_attention_heads // 2 * 2
            return precompute_freqs_cis(width, config.max_position_embeddings, config.rope_theta)


class sin_and_cos_swapped:
    """the layers are given (sin, cos); they should get (cos, sin)"""

    class MiniMindModel(MiniMindModel):
        def _rows(self, first, count):
            cos, sin = super()._rows(first, count)
            return sin, cos


class tables_in_the_state_dict:
    """the tables are saved in the state dict; register them with persistent=False"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            for name in ("freqs_cos", "freqs_sin"):
                table = getattr(self, name)
                delattr(self, name)
                self.register_buffer(name, table)


class tables_are_parameters:
    """the tables are nn.Parameters, which are trained and saved; use buffers with
    persistent=False"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            for name in ("freqs_cos", "freqs_sin"):
                table = getattr(self, name)
                delattr(self, name)
                setattr(self, name, nn.Parameter(table))


class positions_without_an_end:
    """positions past max_position_embeddings are accepted, with longer tables, the last row or the
    first ones again; raise a ValueError"""

    class MiniMindModel(MiniMindModel):
        def _rows(self, first, count):
            width, base = self.config.head_dim, self.config.rope_theta
            cos, sin = precompute_freqs_cis(width, first + count, base)
            return cos[first:], sin[first:]


class last_position_refused:
    """P + S = max_position_embeddings is refused; only more than that should be"""

    def _check_length(first, count, most):
        if first + count >= most:
            raise ValueError(f"input_ids: got {first + count} tokens, want less than {most}")


class length_as_an_assertion:
    """too many positions are an AssertionError; raise a ValueError"""

    def _check_length(first, count, most):
        assert first + count <= most, f"{first + count} tokens are more than {most}"


class past_only_with_use_cache:
    """the past is used only with use_cache; use it always: use_cache decides what is returned"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            past_key_values = past_key_values if use_cache else None
            return super().forward(input_ids, attention_mask, past_key_values, use_cache)


class positions_only_with_use_cache:
    """P is 0 without use_cache, although there is a past; read P from the past always"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            self._cached = use_cache
            return super().forward(input_ids, attention_mask, past_key_values, use_cache)

        def _rows(self, first, count):
            return super()._rows(first if self._cached else 0, count)


class first_layers_past_for_all:
    """every layer continues from the past of layer 0; give each its own"""

    class MiniMindModel(MiniMindModel):
        def _pasts(self, past_key_values):
            if past_key_values is None:
                return super()._pasts(None)
            return [past_key_values[0]] * len(self.layers)


class pasts_backwards:
    """the presents are returned from the last layer to the first; begin with layer 0's"""

    class MiniMindModel(MiniMindModel):
        def forward(self, *args, **kwargs):
            hidden, presents, aux_loss = super().forward(*args, **kwargs)
            return hidden, presents and presents[::-1], aux_loss


class only_the_last_present_returned:
    """past_key_values is the (k, v) of the last layer; return one per layer"""

    class MiniMindModel(MiniMindModel):
        def forward(self, *args, **kwargs):
            hidden, presents, aux_loss = super().forward(*args, **kwargs)
            return hidden, presents and presents[-1], aux_loss


class list_of_none_without_use_cache:
    """past_key_values is a list of None without use_cache; it should be None"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            hidden, presents, aux_loss = super().forward(
                input_ids, attention_mask, past_key_values, use_cache
            )
            return hidden, presents or [None] * len(self.layers), aux_loss


class always_returns_the_cache:
    """past_key_values holds keys and values without use_cache, too; it should be None then"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            return super().forward(input_ids, attention_mask, past_key_values, True)


class old_past_returned:
    """the past that came in is returned; return what the layers gave"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            hidden, presents, aux_loss = super().forward(
                input_ids, attention_mask, past_key_values, use_cache
            )
            return hidden, presents and (past_key_values or presents), aux_loss


class presents_put_into_the_callers_list:
    """the caller's list of pasts is overwritten layer by layer, so that it cannot be continued a
    second time; collect the presents in a new list"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            rows = self._rows(_past_length(past_key_values), input_ids.shape[1])
            hidden = self._embed(input_ids)
            pasts = past_key_values or [None] * len(self.layers)
            pasts = pasts if isinstance(pasts, list) else list(pasts)
            for number, layer in enumerate(self.layers):
                hidden, pasts[number] = layer(hidden, rows, pasts[number], True, attention_mask)
            aux_loss = self._aux_loss(hidden)
            return self.norm(hidden), pasts if use_cache else None, aux_loss


class mask_not_handed_on:
    """attention_mask is not handed to the layers; pass it on to each"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            return super().forward(input_ids, None, past_key_values, use_cache)


class mask_for_the_first_layer_alone:
    """only layer 0 gets attention_mask; give it to every layer"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            rows = self._rows(_past_length(past_key_values), input_ids.shape[1])
            hidden, presents, mask = self._embed(input_ids), [], attention_mask
            for layer, past in zip(self.layers, self._pasts(past_key_values), strict=True):
                hidden, present = layer(hidden, rows, past, use_cache, mask)
                presents.append(present)
                mask = None
            aux_loss = self._aux_loss(hidden)
            return self.norm(hidden), tuple(presents) if use_cache else None, aux_loss


class padding_token_masked:
    """without an attention_mask, tokens equal to pad_token_id are taken for padding; without a mask
    every token is real"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            if attention_mask is None and past_key_values is None:
                attention_mask = input_ids != self.config.pad_token_id
            return super().forward(input_ids, attention_mask, past_key_values, use_cache)


class mask_made_for_new_tokens:
    """without an attention_mask one of ones is made for the new tokens alone; with a past it would
    have to be [B, T]: leave None as it is"""

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            if attention_mask is None:
                attention_mask = torch.ones_like(input_ids)
            return super().forward(input_ids, attention_mask, past_key_values, use_cache)


class hidden_states_before_the_norm:
    """hidden_states are those before the final norm; return what the head reads"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, **kwargs):
            kept = []
            handle = self.model.norm.register_forward_pre_hook(lambda _, x: kept.append(x[0]))
            out = super().forward(*args, **kwargs)
            handle.remove()
            out.hidden_states = kept[-1]
            return out


class norm_in_the_causal_model:
    """MiniMindModel returns what is before the norm, and the causal model normalises it; the norm
    belongs into MiniMindModel.forward"""

    class MiniMindModel(MiniMindModel):
        def forward(self, *args, **kwargs):
            kept = []
            handle = self.norm.register_forward_pre_hook(lambda _, x: kept.append(x[0]))
            _, presents, aux_loss = super().forward(*args, **kwargs)
            handle.remove()
            return kept[-1], presents, aux_loss

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(
            self,
            input_ids,
            attention_mask=None,
            past_key_values=None,
            use_cache=False,
            logits_to_keep=0,
            labels=None,
        ):
            hidden, presents, aux_loss = self.model(
                input_ids, attention_mask, past_key_values, use_cache
            )
            hidden = self.model.norm(hidden)
            loss = None if labels is None else _loss(self._logits(hidden), labels)
            logits = self._logits(self._kept(hidden, logits_to_keep))
            return CausalLMOutput(loss, logits, aux_loss, presents, hidden)


class normalised_twice:
    """norm is applied in the model and once more before the head; once is enough"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _logits(self, hidden):
            return self.lm_head(self.model.norm(hidden))


class labels_not_shifted:
    """the logits of a position are judged by its own token; compare logits[:, :-1] with
    labels[:, 1:]"""

    def _predicted(logits):
        return logits

    def _wanted(labels):
        return labels


class shifted_the_other_way:
    """the logits of a position are judged by the token before it; compare logits[:, :-1] with
    labels[:, 1:]"""

    def _predicted(logits):
        return logits[:, 1:]

    def _wanted(labels):
        return labels[:, :-1]


class cut_but_not_shifted:
    """the last position is cut off logits and labels alike; cut the first label instead"""

    def _wanted(labels):
        return labels[:, :-1]


class shifted_twice:
    """the labels are shifted twice, so that the token after the next is predicted; shift once"""

    def _predicted(logits):
        return logits[:, :-2]

    def _wanted(labels):
        return labels[:, 2:]


class flattened_then_shifted:
    """the batch is flattened before the shift, so that the end of a text is judged by the start of
    the next; shift each row first"""

    def _loss(logits, labels):
        wide, wanted = _widen(logits).flatten(0, 1)[:-1], labels.flatten()[1:]
        total = F.cross_entropy(wide, wanted, ignore_index=-100, reduction="sum")
        return total / (wanted != -100).sum().clamp(min=1)


class labels_rolled:
    """the labels are rolled by one, so that the last position is judged by the first token; cut it
    off"""

    def _predicted(logits):
        return logits

    def _wanted(labels):
        return labels.roll(-1, dims=1)


class mean_of_row_means:
    """the loss is the mean of one mean per text; take one mean over all labels that count"""

    def _loss(logits, labels):
        wide, wanted = _widen(_predicted(logits)), _wanted(labels)
        each = F.cross_entropy(wide.transpose(1, 2), wanted, reduction="none")
        counted = (wanted != -100).sum(dim=1).clamp(min=1)
        return (each.sum(dim=1) / counted).mean()


class divided_by_all_labels:
    """the sum is divided by the number of all positions; divide by that of labels that count"""

    def _loss(logits, labels):
        wide, wanted = _widen(_predicted(logits)).flatten(0, 1), _wanted(labels).flatten()
        return F.cross_entropy(wide, wanted, reduction="sum") / max(wanted.numel(), 1)


class loss_summed:
    """the losses of all labels are summed; take their mean"""

    def _loss(logits, labels):
        wide, wanted = _widen(_predicted(logits)).flatten(0, 1), _wanted(labels).flatten()
        return F.cross_entropy(wide, wanted, reduction="sum")


class nan_of_nothing:
    """the mean over no labels is 0 / 0, NaN; divide by 1 at least"""

    def _loss(logits, labels):
        wide, wanted = _widen(_predicted(logits)).flatten(0, 1), _wanted(labels).flatten()
        return F.cross_entropy(wide, wanted)


class zero_apart_from_the_graph:
    """where no label counts the loss is a new zero tensor, without a graph, so that
    backward fails or gradients are missing; let it come from the logits"""

    def _loss(logits, labels):
        wide, wanted = _widen(_predicted(logits)).flatten(0, 1), _wanted(labels).flatten()
        if not (wanted != -100).any():
            return torch.zeros((), dtype=wide.dtype)
        return F.cross_entropy(wide, wanted)


class minus_100_counts_as_a_label:
    """labels of -100 are counted in the denominator's place of a token, as id 0; leave them out"""

    def _loss(logits, labels):
        wide, wanted = _widen(_predicted(logits)).flatten(0, 1), _wanted(labels).flatten()
        return F.cross_entropy(wide, wanted.clamp(min=0), reduction="sum") / max(wanted.numel(), 1)


class padding_token_not_counted:
    """labels equal to pad_token_id are left out; only -100 should be"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, labels=None, **kwargs):
            if labels is not None:
                labels = labels.masked_fill(labels == self.config.pad_token_id, -100)
            return super().forward(*args, labels=labels, **kwargs)


class loss_in_the_dtype_of_the_logits:
    """the loss has the dtype of the logits; widen them to float32 first, and do not cast back"""

    def _loss(logits, labels):
        rows, wanted = _predicted(logits).flatten(0, 1), _wanted(labels).flatten()
        total = F.cross_entropy(rows, wanted, ignore_index=-100, reduction="sum")
        return total / (wanted != -100).sum().clamp(min=1)


class loss_widened_too_late:
    """the loss is computed in the dtype of the logits and widened afterwards; widen the logits"""

    def _loss(logits, labels):
        rows, wanted = _predicted(logits).flatten(0, 1), _wanted(labels).flatten()
        total = F.cross_entropy(rows, wanted, ignore_index=-100, reduction="sum")
        return _widen(total / (wanted != -100).sum().clamp(min=1))


class logits_in_float32:
    """the logits are returned in float32 whatever the weights are; widen them only for the loss"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _logits(self, hidden):
            return self.lm_head(hidden).float()


class loss_with_aux_loss:
    """aux_loss is added to loss; leave that to whoever trains"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            if out.loss is not None:
                out.loss = out.loss + out.aux_loss
            return out


class loss_detached:
    """the loss has no gradient; do not detach it, and no .item()"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            out.loss = None if out.loss is None else out.loss.detach()
            return out


class zero_loss_without_labels:
    """loss is a zero tensor without labels; it should be None"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            out.loss = torch.zeros(()) if out.loss is None else out.loss
            return out


class first_logits_kept:
    """logits_to_keep keeps the first positions; keep the last"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _kept(self, hidden, logits_to_keep):
            return hidden[:, :logits_to_keep] if logits_to_keep else hidden


class one_position_kept:
    """logits_to_keep=n gives only the position -n, by an index; slice from -n on"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _kept(self, hidden, logits_to_keep):
            return hidden[:, -logits_to_keep, None] if logits_to_keep else hidden


class only_the_last_logits_kept:
    """one position is kept whatever logits_to_keep is; keep so many"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _kept(self, hidden, logits_to_keep):
            return hidden[:, -1:] if logits_to_keep else hidden


class logits_to_keep_ignored:
    """all logits are returned whatever logits_to_keep is; keep only so many last positions"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _kept(self, hidden, logits_to_keep):
            return hidden


class all_logits_with_labels:
    """all logits are returned with labels, whatever logits_to_keep is; cut them after the loss"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, logits_to_keep=0, labels=None, **kwargs):
            keep = logits_to_keep if labels is None else 0
            return super().forward(*args, logits_to_keep=keep, labels=labels, **kwargs)


class zero_keeps_nothing:
    """logits_to_keep=0 keeps no position, by a slice from S - 0 on; 0 should keep all"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _kept(self, hidden, logits_to_keep):
            return hidden[:, hidden.shape[1] - logits_to_keep :]


class too_many_kept_give_none:
    """a slice from S - logits_to_keep on starts below 0 where that is more than S, and gives
    other positions; keep all then"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _kept(self, hidden, logits_to_keep):
            first = hidden.shape[1] - logits_to_keep if logits_to_keep else 0
            return hidden[:, first:]


class loss_of_kept_logits:
    """the loss is only over the kept positions; it should be over all"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, logits_to_keep=0, labels=None, **kwargs):
            out = super().forward(*args, logits_to_keep=logits_to_keep, **kwargs)
            if labels is not None:
                out.loss = _loss(out.logits, labels[:, -out.logits.shape[1] :])
            return out


class hidden_states_kept_with_the_logits:
    """hidden_states are cut to logits_to_keep as well; return those of all positions"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, logits_to_keep=0, **kwargs):
            out = super().forward(*args, logits_to_keep=logits_to_keep, **kwargs)
            out.hidden_states = self._kept(out.hidden_states, logits_to_keep)
            return out


class probabilities_for_logits:
    """the logits have gone through a softmax; return what lm_head gives"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _logits(self, hidden):
            return self.lm_head(hidden).softmax(dim=-1)


class scaled_logits:
    """the logits are divided by the square root of C; return what lm_head gives"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _logits(self, hidden):
            return self.lm_head(hidden) * self.config.hidden_size**-0.5


class head_with_bias:
    """lm_head has a bias; create it with bias=False"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def __init__(self, config):
            super().__init__(config)
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
            if config.tie_word_embeddings:
                self._tie()


class aux_loss_of_the_last_layer:
    """aux_loss is that of the last layer; sum those of all layers"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            return getattr(self.layers[-1].mlp, "aux_loss", _widen(hidden.new_zeros(())))


class aux_loss_of_the_first_layer:
    """aux_loss is that of the first layer; sum those of all layers"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            return getattr(self.layers[0].mlp, "aux_loss", _widen(hidden.new_zeros(())))


class aux_loss_averaged:
    """aux_loss is the mean over the layers; take the sum"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            return super()._aux_loss(hidden) / len(self.layers)


class coefficient_twice:
    """aux_loss is multiplied by router_aux_loss_coef again; the router has done that"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            return super()._aux_loss(hidden) * self.config.router_aux_loss_coef


class aux_loss_of_the_call_before:
    """the layers' losses are summed before they have run, so that they are those of the call
    before; sum them after the loop"""

    class MiniMindModel(MiniMindModel):
        def _embed(self, input_ids):
            embedded = super()._embed(input_ids)
            self._early = super()._aux_loss(embedded)
            return embedded

        def _aux_loss(self, hidden):
            return self._early


class aux_loss_adds_up:
    """aux_loss grows from call to call; start each sum at 0"""

    class MiniMindModel(MiniMindModel):
        so_far = 0.0

        def _aux_loss(self, hidden):
            self.so_far = self.so_far + super()._aux_loss(hidden)
            return self.so_far


class aux_loss_detached:
    """aux_loss is detached or a number, so that the routers learn nothing from it; leave its graph
    alone"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            return super()._aux_loss(hidden).detach()


class aux_loss_is_a_number:
    """aux_loss is the number 0 in a dense model; it should be a tensor without axes"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            losses = [layer.mlp.aux_loss for layer in self.layers if hasattr(layer.mlp, "aux_loss")]
            return sum(losses)


class aux_loss_none:
    """aux_loss is None in a dense model; it should be a tensor 0 without axes"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            losses = [layer.mlp.aux_loss for layer in self.layers if hasattr(layer.mlp, "aux_loss")]
            return sum(losses) if losses else None


class aux_loss_with_an_axis:
    """aux_loss is zeros of shape [1] in a dense model; it should have no axes"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            return super()._aux_loss(hidden).reshape(1)


class never_tied:
    """embedding and head are two parameters whatever tie_word_embeddings says; assign the one to
    the other"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _tie(self):
            pass


class always_tied:
    """embedding and head are one parameter whatever tie_word_embeddings says; without it make
    two"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def __init__(self, config):
            super().__init__(config)
            self._tie()


class tied_by_copying:
    """the head starts with a copy of the embedding, and the two part at the first step; assign the
    parameter itself"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _tie(self):
            self.lm_head.weight = nn.Parameter(self.model.embed_tokens.weight.detach().clone())


class tied_by_data:
    """embedding and head share their memory, by .data, but are two parameters with a gradient each;
    assign the parameter itself"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _tie(self):
            self.lm_head.weight = nn.Parameter(self.model.embed_tokens.weight.data)


class head_without_a_name:
    """the head is computed with embed_tokens.weight and has no entry in the state dict; make an
    lm_head and tie it"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _tie(self):
            del self.lm_head

        def _logits(self, hidden):
            if self.config.tie_word_embeddings:
                return F.linear(hidden, self.model.embed_tokens.weight)
            return self.lm_head(hidden)


class head_detached:
    """the head reads the embedding's weight detached, so that it gets no gradient there; use it as
    it is"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _logits(self, hidden):
            weight = self.lm_head.weight
            return F.linear(hidden, weight.detach() if self.config.tie_word_embeddings else weight)


class torchs_own_start:
    """the weights keep what nn.Linear and nn.Embedding start with, so that tied logits are
    huge; give every matrix a standard deviation of 0.02"""

    def _initialise(module):
        pass


class embedding_left_out:
    """the embedding keeps its start of standard deviation 1, and the head with it; give it 0.02"""

    def _initialise(module):
        for part in module.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=INITIAL_STD)
            elif getattr(part, "weight", None) is not None and not isinstance(part, nn.Embedding):
                if part.weight.dim() > 1:
                    nn.init.normal_(part.weight, std=INITIAL_STD)


class linear_layers_left_out:
    """the linear layers keep torch's own start; give every matrix a standard deviation of 0.02"""

    def _initialise(module):
        for part in module.modules():
            if isinstance(part, nn.Embedding) or not isinstance(part, nn.Linear):
                if getattr(part, "weight", None) is not None and part.weight.dim() > 1:
                    nn.init.normal_(part.weight, std=INITIAL_STD)


class routers_left_out:
    """the routers of the mixtures keep their own start, since they are no nn.Linear; give them a
    standard deviation of 0.02, too"""

    def _initialise(module):
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=INITIAL_STD)


class head_left_out:
    """a head that is not tied keeps torch's own start; give it a standard deviation of 0.02"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _start(self):
            pass


class started_with_variance_002:
    """0.02 is taken for the variance; it should be the standard deviation"""

    def _initialise(module):
        for parameter in module.parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=INITIAL_STD**0.5)


class started_uniformly:
    """the weights are uniform between -0.02 and 0.02, whose standard deviation is 0.0115; make that
    0.02"""

    def _initialise(module):
        for parameter in module.parameters():
            if parameter.dim() >= 2:
                nn.init.uniform_(parameter, -INITIAL_STD, INITIAL_STD)


class started_by_xavier:
    """the matrices start by Xavier's rule, from their sizes; give all a standard deviation of
    0.02"""

    def _initialise(module):
        for parameter in module.parameters():
            if parameter.dim() >= 2:
                nn.init.xavier_uniform_(parameter)


class outputs_start_smaller:
    """o_proj and down_proj start with 0.02 / sqrt(2 · layers), as in GPT-2; give every matrix
    0.02"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _start(self):
            super()._start()
            for name, parameter in self.named_parameters():
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    std = INITIAL_STD / math.sqrt(2 * self.config.num_hidden_layers)
                    nn.init.normal_(parameter, std=std)


class norms_start_as_noise:
    """the weights of the norms start with random numbers of 0.02 as well; leave them at 1"""

    def _initialise(module):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=INITIAL_STD)


class tied_parameter_counted_twice:
    """the tied parameter is counted twice, as state_dict() names it; model.parameters() has it
    once"""

    def count_parameters(model, config):
        total = sum(value.numel() for value in model.state_dict().values())
        if not config.use_moe:
            return total, total
        idle = config.num_experts - config.num_experts_per_tok
        expert = 3 * config.hidden_size * config.moe_intermediate_size
        return total, total - config.num_hidden_layers * idle * expert


class frozen_parameters_left_out:
    """frozen parameters are not counted; count all"""

    def _size(module):
        return sum(p.numel() for p in module.parameters() if p.requires_grad)


class idle_experts_counted:
    """active is the total; take off the experts that a token does not pass through"""

    def count_parameters(model, config):
        return _size(model), _size(model)


class idle_experts_of_one_layer:
    """the idle experts of one layer are taken off; take off those of every layer"""

    def count_parameters(model, config):
        total = _size(model)
        if not config.use_moe:
            return total, total
        idle = config.num_experts - config.num_experts_per_tok
        return total, total - idle * 3 * config.hidden_size * config.moe_intermediate_size


class one_expert_active:
    """one expert per token is counted as active; num_experts_per_tok of them are"""

    def count_parameters(model, config):
        total = _size(model)
        if not config.use_moe:
            return total, total
        expert = 3 * config.hidden_size * config.moe_intermediate_size
        return total, total - config.num_hidden_layers * (config.num_experts - 1) * expert


class chosen_experts_taken_off:
    """the experts that a token passes through are taken off; take off the others"""

    def count_parameters(model, config):
        total = _size(model)
        if not config.use_moe:
            return total, total
        expert = 3 * config.hidden_size * config.moe_intermediate_size
        chosen = config.num_experts_per_tok
        return total, total - config.num_hidden_layers * chosen * expert


class experts_of_intermediate_size:
    """an expert's size is computed from intermediate_size; it should be from
    moe_intermediate_size"""

    def count_parameters(model, config):
        total = _size(model)
        if not config.use_moe:
            return total, total
        idle = config.num_experts - config.num_experts_per_tok
        expert = 3 * config.hidden_size * config.intermediate_size
        return total, total - config.num_hidden_layers * idle * expert


class two_matrices_per_expert:
    """an expert is counted with two matrices; it should be three: gate, up and down"""

    def count_parameters(model, config):
        total = _size(model)
        if not config.use_moe:
            return total, total
        idle = config.num_experts - config.num_experts_per_tok
        expert = 2 * config.hidden_size * config.moe_intermediate_size
        return total, total - config.num_hidden_layers * idle * expert


class shared_experts_taken_off:
    """the shared experts are taken off as well; every token passes through them"""

    def count_parameters(model, config):
        total = _size(model)
        if not config.use_moe:
            return total, total
        idle = config.num_experts - config.num_experts_per_tok + config.n_shared_experts
        expert = 3 * config.hidden_size * config.moe_intermediate_size
        return total, total - config.num_hidden_layers * idle * expert


class experts_counted_without_a_mixture:
    """experts are taken off although use_moe is off; a dense model uses all it has"""

    def count_parameters(model, config):
        total = _size(model)
        idle = config.num_experts - config.num_experts_per_tok
        expert = 3 * config.hidden_size * config.moe_intermediate_size
        return total, total - config.num_hidden_layers * idle * expert


class counted_in_millions:
    """the numbers are millions; return whole numbers of parameters"""

    def count_parameters(model, config):
        total = _size(model)
        if not config.use_moe:
            return total / 1e6, total / 1e6
        idle = config.num_experts - config.num_experts_per_tok
        expert = 3 * config.hidden_size * config.moe_intermediate_size
        return total / 1e6, (total - config.num_hidden_layers * idle * expert) / 1e6


class model_without_gradient:
    """the model runs under no_grad or inference_mode, so that nothing can be trained; leave
    gradients on"""

    class MiniMindModel(MiniMindModel):
        @torch.no_grad()
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)


class only_the_body_trained:
    """the embeddings are detached before the first layer, so that they get no gradient there; leave
    them in the graph"""

    class MiniMindModel(MiniMindModel):
        def _embed(self, input_ids):
            return super()._embed(input_ids).detach()


class names_without_model:
    """the parts of MiniMindModel are parts of the causal model itself, so that their names lack the
    prefix model.; keep a MiniMindModel in self.model"""

    class MiniMindForCausalLM(MiniMindModel):
        def __init__(self, config):
            super().__init__(config)
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            _initialise(self.lm_head)
            if config.tie_word_embeddings:
                self.lm_head.weight = self.embed_tokens.weight

        def forward(self, input_ids, *args, logits_to_keep=0, labels=None, **kwargs):
            hidden, presents, aux_loss = MiniMindModel.forward(self, input_ids, *args, **kwargs)
            logits = self.lm_head(hidden)
            loss = None if labels is None else _loss(logits, labels)
            return CausalLMOutput(loss, logits[:, -logits_to_keep:], aux_loss, presents, hidden)


class body_called_transformer:
    """the body is called transformer; call it model"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def __init__(self, config):
            super().__init__(config)
            self.transformer = self._modules.pop("model")

        @property
        def body(self):
            return self.transformer

        def forward(self, input_ids, *args, logits_to_keep=0, labels=None, **kwargs):
            hidden, presents, aux_loss = self.transformer(input_ids, *args, **kwargs)
            logits = self.lm_head(hidden)
            loss = None if labels is None else _loss(logits, labels)
            return CausalLMOutput(loss, logits[:, -logits_to_keep:], aux_loss, presents, hidden)


class tuple_returned:
    """a tuple is returned; return an object with the names loss, logits, aux_loss, past_key_values
    and hidden_states"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, *args, **kwargs):
            out = super().forward(*args, **kwargs)
            return out.logits, out.loss


class body_returns_hidden_states_alone:
    """MiniMindModel returns the hidden states alone; return (hidden, past_key_values, aux_loss)"""

    class MiniMindModel(MiniMindModel):
        def forward(self, *args, **kwargs):
            self.rest = super().forward(*args, **kwargs)
            return self.rest[0]

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def forward(self, input_ids, *args, logits_to_keep=0, labels=None, **kwargs):
            hidden = self.model(input_ids, *args, **kwargs)
            _, presents, aux_loss = self.model.rest
            logits = self.lm_head(hidden)
            loss = None if labels is None else _loss(logits, labels)
            return CausalLMOutput(loss, logits[:, -logits_to_keep:], aux_loss, presents, hidden)


class aux_loss_of_a_dense_model_in_half:
    """a dense model's aux_loss of 0 has the dtype of the hidden states; it should be float32 at
    least, as the sum of a mixture's losses is"""

    class MiniMindModel(MiniMindModel):
        def _aux_loss(self, hidden):
            aux_loss = super()._aux_loss(hidden)
            return aux_loss if self.config.use_moe else hidden.new_zeros(())


class seeded_at_the_start:
    """the model sets a seed when it is made, so that all models start with the same numbers; leave
    seeding to the caller"""

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def _start(self):
            torch.manual_seed(42)
            super()._start()
