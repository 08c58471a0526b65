"""Right answers to ex11_model, written differently: each must pass every test."""

from collections import namedtuple
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from .ex08_moe_gate import MoEGate
from .ex09_moe import MoEFeedForward


class as_minimind_does:
    """the embedding takes the head's parameter, presents are a list, one hidden slice for all"""

    class MiniMindModel(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.vocab_size, self.num_hidden_layers = config.vocab_size, config.num_hidden_layers
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
            self.layers = nn.ModuleList(
                [MiniMindBlock(lid, config) for lid in range(self.num_hidden_layers)]
            )
            self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            cos, sin = precompute_freqs_cis(
                dim=config.head_dim,
                end=config.max_position_embeddings,
                rope_base=config.rope_theta,
            )
            self.register_buffer("freqs_cos", cos, persistent=False)
            self.register_buffer("freqs_sin", sin, persistent=False)

        def forward(
            self, input_ids, attention_mask=None, past_key_values=None, use_cache=False, **kwargs
        ):
            batch_size, seq_length = input_ids.shape
            past_key_values = past_key_values or [None] * len(self.layers)
            start_pos = past_key_values[0][0].shape[1] if past_key_values[0] is not None else 0
            if start_pos + seq_length > self.config.max_position_embeddings:
                raise ValueError(
                    f"input_ids: got {start_pos + seq_length} positions, want at most "
                    f"{self.config.max_position_embeddings}"
                )
            hidden_states = self.embed_tokens(input_ids)
            position_embeddings = (
                self.freqs_cos[start_pos : start_pos + seq_length],
                self.freqs_sin[start_pos : start_pos + seq_length],
            )
            presents = []
            for layer, past_key_value in zip(self.layers, past_key_values, strict=False):
                hidden_states, present = layer(
                    hidden_states,
                    position_embeddings,
                    past_key_value=past_key_value,
                    use_cache=use_cache,
                    attention_mask=attention_mask,
                )
                presents.append(present)
            hidden_states = self.norm(hidden_states)
            aux_loss = sum(
                [x.mlp.aux_loss for x in self.layers if isinstance(x.mlp, MoEFeedForward)],
                hidden_states.new_zeros(1, dtype=torch.float32).squeeze(),
            )
            return hidden_states, presents if use_cache else None, aux_loss

    class MiniMindForCausalLM(nn.Module):
        def __init__(self, config=None):
            super().__init__()
            self.config = config
            self.model = MiniMindModel(self.config)
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            if config.tie_word_embeddings:
                self.model.embed_tokens.weight = self.lm_head.weight
            self.apply(self._init_weights)

        def _init_weights(self, module):
            if isinstance(module, (nn.Linear, nn.Embedding, MoEGate)):
                nn.init.normal_(module.weight, mean=0.0, std=0.02)

        def forward(
            self,
            input_ids,
            attention_mask=None,
            past_key_values=None,
            use_cache=False,
            logits_to_keep=0,
            labels=None,
            **kwargs,
        ):
            hidden_states, past_key_values, aux_loss = self.model(
                input_ids, attention_mask, past_key_values, use_cache, **kwargs
            )
            keep = (
                slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
            )
            loss = None
            if labels is not None:
                x = self.lm_head(hidden_states)[..., :-1, :].contiguous()
                y = labels[..., 1:].contiguous()
                if bool((y != -100).any()):
                    loss = F.cross_entropy(
                        x.view(-1, x.size(-1)).float(), y.view(-1), ignore_index=-100
                    )
                else:
                    loss = x.float().sum() * 0.0
            logits = self.lm_head(hidden_states[:, keep, :])
            return SimpleNamespace(
                loss=loss,
                aux_loss=aux_loss,
                logits=logits,
                past_key_values=past_key_values,
                hidden_states=hidden_states,
            )

    def count_parameters(model, config):
        total = sum(p.numel() for p in model.parameters())
        names = [(n, p.numel()) for n, p in model.named_parameters()]
        expert = sum(size for n, size in names if "mlp.experts.0." in n)
        n_routed = config.num_experts if config.use_moe else 0
        n_active = config.num_experts_per_tok if config.use_moe else 0
        return total, total - expert * n_routed + expert * n_active


class as_transformers_does:
    """labels are padded and shifted, tables are made from frequencies as they are needed, the
    output is a dict with attributes, the weights are tied after the start"""

    class Output(dict):
        def __getattr__(self, name):
            return self[name]

    class Rotary(nn.Module):
        def __init__(self, config):
            super().__init__()
            exponents = torch.arange(0, config.head_dim, 2).double() / config.head_dim
            self.register_buffer("inv_freq", 1.0 / config.rope_theta**exponents, persistent=False)

        def forward(self, position_ids):
            angles = position_ids.double()[:, None] * self.inv_freq.double()
            angles = torch.cat((angles, angles), dim=-1)
            return angles.cos().float(), angles.sin().float()

    class MiniMindModel(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.layers = nn.ModuleList()
            for layer_idx in range(config.num_hidden_layers):
                self.layers.append(MiniMindBlock(layer_idx, config))
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
            self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            self.rotary_emb = Rotary(config)

        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            past_seen_tokens = past_key_values[0][0].size(1) if past_key_values is not None else 0
            position_ids = torch.arange(
                past_seen_tokens, past_seen_tokens + input_ids.shape[1], device=input_ids.device
            )
            if position_ids[-1] >= self.config.max_position_embeddings:
                raise ValueError("input_ids: too many positions")
            hidden_states = F.embedding(input_ids, self.embed_tokens.weight)
            tables = self.rotary_emb(position_ids)
            cache, losses = (), []
            for idx, decoder_layer in enumerate(self.layers):
                hidden_states, kv = decoder_layer(
                    hidden_states=hidden_states,
                    position_embeddings=tables,
                    attention_mask=attention_mask,
                    past_key_value=None if past_key_values is None else past_key_values[idx],
                    use_cache=use_cache,
                )
                cache += (kv,)
                if self.config.use_moe:
                    losses.append(decoder_layer.mlp.aux_loss)
            aux = torch.stack(losses).sum() if losses else torch.tensor(0.0).to(hidden_states)
            return self.norm(hidden_states), cache if use_cache else None, aux.float()

    class MiniMindForCausalLM(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.model = MiniMindModel(config)
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            for module in self.modules():
                self._init_weights(module)
            self.tie_weights()

        def _init_weights(self, module):
            with torch.no_grad():
                if isinstance(module, nn.Linear):
                    module.weight.data.normal_(mean=0.0, std=0.02)
                elif isinstance(module, nn.Embedding):
                    module.weight.data.normal_(0.0, 0.02)
                elif type(module).__name__ == "MoEGate":
                    nn.init.trunc_normal_(module.weight, std=0.02)

        def tie_weights(self):
            if self.config.tie_word_embeddings:
                self.lm_head.weight = self.model.embed_tokens.weight

        def forward(self, input_ids=None, *args, logits_to_keep=0, labels=None, **kwargs):
            hidden_states, cache, aux_loss = self.model(input_ids, *args, **kwargs)
            logits = self.lm_head(hidden_states)
            loss = None
            if labels is not None:
                shift_labels = F.pad(labels, (0, 1), value=-100)[..., 1:].reshape(-1)
                counted = (shift_labels != -100).sum()
                loss = F.cross_entropy(
                    logits.float().view(-1, self.config.vocab_size),
                    shift_labels,
                    ignore_index=-100,
                    reduction="sum",
                )
                loss = loss / torch.clamp(counted, min=1)
            return Output(
                loss=loss,
                logits=logits[:, max(logits.shape[1] - logits_to_keep, 0) :]
                if logits_to_keep
                else logits,
                past_key_values=cache,
                hidden_states=hidden_states,
                aux_loss=aux_loss,
            )

    def count_parameters(model, config):
        seen = {id(p): p.numel() for _, p in model.named_parameters(remove_duplicate=False)}
        total = active = sum(seen.values())
        if config.use_moe:
            for name, parameter in model.named_parameters():
                parts = name.split(".")
                if "experts" in parts:
                    number = int(parts[parts.index("experts") + 1])
                    if number >= config.num_experts_per_tok:
                        active -= parameter.numel()
        return total, active


class log_probabilities_by_hand:
    """the loss gathers from log_softmax and masks, the head is a module around the embedding's
    parameter, pasts are read with next, sizes are counted from the config"""

    Result = namedtuple("Result", "loss logits aux_loss past_key_values hidden_states")

    class Head(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = weight

        def forward(self, x):
            return torch.einsum("...c,vc->...v", x, self.weight)

    class MiniMindModel(MiniMindModel):
        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            past = iter(past_key_values) if past_key_values else None
            start = past_key_values[0][1].shape[1] if past_key_values else 0
            stop = start + input_ids.shape[-1]
            if stop > len(self.freqs_cos):
                raise ValueError(f"input_ids: position {stop - 1} has no row in the tables")
            rows = self.freqs_cos[start:stop].clone(), self.freqs_sin[start:stop].clone()
            x, cache, aux = self.embed_tokens.weight[input_ids], [], 0.0
            for layer in self.layers:
                x, kv = layer(x, rows, past and next(past), use_cache, attention_mask)
                cache.append(kv)
                aux = aux + getattr(layer.mlp, "aux_loss", 0.0)
            aux = torch.as_tensor(aux, dtype=torch.float32, device=x.device)
            return self.norm(x), cache if use_cache else None, aux

    class MiniMindForCausalLM(nn.Module):
        def __init__(self, config):
            super().__init__()
            if config.tie_word_embeddings:
                self.model = MiniMindModel(config)
                self.lm_head = Head(self.model.embed_tokens.weight)
            else:
                noise = torch.randn(config.vocab_size, config.hidden_size)
                self.lm_head = Head(nn.Parameter(noise * 0.02))
                self.model = MiniMindModel(config)

        def forward(
            self,
            input_ids,
            attention_mask=None,
            past_key_values=None,
            use_cache=False,
            logits_to_keep=0,
            labels=None,
        ):
            hidden, cache, aux = self.model(
                input_ids,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                use_cache=use_cache,
            )
            logits = self.lm_head(hidden)
            loss = None
            if labels is not None:
                counted = labels[:, 1:] != -100
                log_p = torch.log_softmax(logits[:, :-1], dim=-1, dtype=torch.float32)
                index = labels[:, 1:].clamp(min=0).unsqueeze(-1)
                chosen = torch.gather(log_p, 2, index).squeeze(-1)
                loss = -(chosen * counted).sum() / max(int(counted.sum()), 1)
            kept = logits[:, -logits_to_keep:] if logits_to_keep > 0 else logits
            return Result(loss, kept, aux, cache, hidden)

    def count_parameters(model, config):
        total = sum(map(torch.numel, model.parameters()))
        skipped = (config.num_experts - config.num_experts_per_tok) * config.use_moe
        expert = 3 * config.hidden_size * config.moe_intermediate_size
        return total, total - skipped * config.num_hidden_layers * expert


class rows_joined:
    """the counted rows alone are judged, position embeddings are picked by index, the balance
    losses are collected in the loop, the start goes by names"""

    class MiniMindModel(MiniMindModel):
        def __init__(self, config):
            nn.Module.__init__(self)
            self.config = config
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
            self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
            self.layers = nn.ModuleList(
                map(lambda i: MiniMindBlock(i, config), range(config.num_hidden_layers))
            )
            tables = precompute_freqs_cis(
                config.head_dim, config.max_position_embeddings, config.rope_theta
            )
            self.register_buffer("pos", torch.stack(tables), persistent=False)

        def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
            past = list(past_key_values or [None] * len(self.layers))
            first = past[-1][0].shape[1] if past_key_values else 0
            where = torch.arange(first, first + input_ids.shape[1], device=input_ids.device)
            if len(where) and int(where[-1]) > self.pos.shape[1] - 1:
                raise ValueError("input_ids reach past max_position_embeddings")
            cos, sin = self.pos.index_select(1, where).unbind(0)
            x = self.embed_tokens(input_ids)
            total = x.new_zeros([], dtype=torch.promote_types(x.dtype, torch.float32))
            for number, layer in enumerate(self.layers):
                x, past[number] = layer(x, (cos, sin), past[number], use_cache, attention_mask)
                if self.config.use_moe:
                    total = total + layer.mlp.aux_loss
            return self.norm(x), past if use_cache else None, total

    class MiniMindForCausalLM(MiniMindForCausalLM):
        def __init__(self, config):
            nn.Module.__init__(self)
            self.model = MiniMindModel(config)
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=None)
            for name, value in self.named_parameters():
                if "norm" not in name:
                    torch.nn.init.normal_(value, 0, 0.02)
            if config.tie_word_embeddings:
                self.model.embed_tokens.weight = self.lm_head.weight

        def forward(
            self,
            input_ids,
            attention_mask=None,
            past_key_values=None,
            use_cache=False,
            logits_to_keep=0,
            labels=None,
        ):
            hidden, cache, aux = self.model(input_ids, attention_mask, past_key_values, use_cache)
            loss = None
            if labels is not None:
                rows = labels[:, 1:].ne(-100)
                logits = self.lm_head(hidden[:, :-1][rows]).float()
                each = F.nll_loss(logits.log_softmax(-1), labels[:, 1:][rows], reduction="sum")
                loss = each / rows.sum().clamp_min(1)
            last = torch.arange(hidden.shape[1], device=hidden.device)[-logits_to_keep:]
            return SimpleNamespace(
                loss=loss,
                logits=self.lm_head(hidden.index_select(1, last)),
                aux_loss=aux,
                past_key_values=cache,
                hidden_states=hidden,
            )
