"""Right answers to ex05_kv_cache, written differently: each must pass every test."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class additive_masks:
    """scores get a triangle of -inf and -1e9 for padding; flash for plain prompts of many tokens"""

    class Attention(nn.Module):
        def __init__(self, args):
            super().__init__()
            self.n_rep = args.num_attention_heads // args.num_key_value_heads
            self.head_dim = args.head_dim
            width = args.num_key_value_heads * args.head_dim
            self.q_proj = nn.Linear(args.hidden_size, width * self.n_rep, bias=False)
            self.k_proj = nn.Linear(args.hidden_size, width, bias=False)
            self.v_proj = nn.Linear(args.hidden_size, width, bias=False)
            self.o_proj = nn.Linear(width * self.n_rep, args.hidden_size, bias=False)
            self.q_norm = RMSNorm(args.head_dim, args.rms_norm_eps)
            self.k_norm = RMSNorm(args.head_dim, args.rms_norm_eps)
            self.flash = args.flash_attn

        def forward(self, x, pos, past_key_value=None, use_cache=False, attention_mask=None):
            bsz, seq_len, _ = x.shape
            xq = self.q_norm(self.q_proj(x).view(bsz, seq_len, -1, self.head_dim))
            xk = self.k_norm(self.k_proj(x).view(bsz, seq_len, -1, self.head_dim))
            xv = self.v_proj(x).view(bsz, seq_len, -1, self.head_dim)
            xq, xk = apply_rotary_pos_emb(xq, xk, pos[0][:seq_len], pos[1][:seq_len])
            if past_key_value is not None:
                xk = torch.cat([past_key_value[0], xk], dim=1)
                xv = torch.cat([past_key_value[1], xv], dim=1)
            past_kv = (xk, xv) if use_cache else None
            if attention_mask is not None and tuple(attention_mask.shape) != (bsz, xk.size(1)):
                raise ValueError(f"attention_mask has shape {tuple(attention_mask.shape)}")
            xq = xq.transpose(1, 2)
            xk = repeat_kv(xk, self.n_rep).transpose(1, 2)
            xv = repeat_kv(xv, self.n_rep).transpose(1, 2)
            plain = past_key_value is None and attention_mask is None
            if self.flash and seq_len > 1 and plain:
                output = F.scaled_dot_product_attention(xq, xk, xv, dropout_p=0.0, is_causal=True)
            else:
                scores = (xq @ xk.transpose(-2, -1)) / math.sqrt(self.head_dim)
                triangle = torch.full((seq_len, seq_len), -math.inf, device=x.device).triu(1)
                scores = scores.float()
                scores[:, :, :, -seq_len:] += triangle
                if attention_mask is not None:
                    scores += (1.0 - attention_mask[:, None, None, :].float()) * -1e9
                output = F.softmax(scores, dim=-1).type_as(xq) @ xv
            output = output.transpose(1, 2).reshape(bsz, seq_len, -1)
            return self.o_proj(output), past_kv

    class StaticCache:
        def __init__(self, batch, max_len, kv_heads, head_dim, dtype, device):
            shape = (2, batch, kv_heads, max_len, head_dim)
            self.storage = torch.zeros(shape, dtype=dtype, device=device)
            self.length = 0

        def append(self, k, v):
            start, stop = self.length, self.length + k.size(1)
            if stop > self.storage.size(3):
                raise ValueError(f"{stop} tokens do not fit into {self.storage.size(3)}")
            self.storage[0, :, :, start:stop].copy_(k.transpose(1, 2))
            self.storage[1, :, :, start:stop].copy_(v.transpose(1, 2))
            self.length = stop
            k_all, v_all = self.storage[:, :, :, :stop].transpose(2, 3)
            return k_all, v_all

        def reset(self):
            self.length = 0


class always_fused:
    """flash attention with an explicit mask and grouped heads wherever the config allows it"""

    class Attention(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            d, n, m = config.head_dim, config.num_attention_heads, config.num_key_value_heads
            self.q_proj = nn.Linear(config.hidden_size, n * d, False)
            self.k_proj = nn.Linear(config.hidden_size, m * d, False)
            self.v_proj = nn.Linear(config.hidden_size, m * d, False)
            self.o_proj = nn.Linear(n * d, config.hidden_size, False)
            self.q_norm = nn.RMSNorm(d, eps=config.rms_norm_eps)
            self.k_norm = nn.RMSNorm(d, eps=config.rms_norm_eps)
            length = config.max_position_embeddings
            whole = torch.ones(length, length).tril().bool()
            self.register_buffer("triangle", whole, persistent=False)

        def forward(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            joined = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight))
            d, n = self.config.head_dim, self.config.num_attention_heads
            heads = F.linear(x, joined).unflatten(-1, (-1, d))
            q, k, v = heads.tensor_split((n, n + self.config.num_key_value_heads), dim=2)
            q, k = apply_rotary_pos_emb(self.q_norm(q), self.k_norm(k), *position_embeddings)
            if past_key_value:
                k = torch.cat((past_key_value[0], k), 1)
                v = torch.cat((past_key_value[1], v), 1)
            total = k.shape[1]
            visible = self.triangle[total - q.shape[1] : total, :total]
            if attention_mask is not None:
                if list(attention_mask.shape) != [len(x), total]:
                    raise ValueError(f"want [{len(x)}, {total}], got {attention_mask.shape}")
                visible = visible & attention_mask.bool().view(len(x), 1, 1, total)
            parts = [part.transpose(1, 2) for part in (q, k, v)]
            if self.config.flash_attn:
                mixed = F.scaled_dot_product_attention(*parts, visible, enable_gqa=True)
            else:
                mixed = self.written_out(*parts, visible)
            return self.o_proj(mixed.transpose(1, 2).flatten(-2)), (k, v) if use_cache else None

        def written_out(self, q, k, v, visible):
            group = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            scores = q.float() @ k.float().mT / q.shape[-1] ** 0.5
            scores = scores.masked_fill(visible.logical_not(), float("-inf"))
            return (torch.softmax(scores, -1).nan_to_num(0.0) @ v.float()).to(q.dtype)

    class StaticCache:
        def __init__(self, batch, max_len, kv_heads, head_dim, dtype, device):
            self.of_keys = torch.empty(
                (max_len, batch, kv_heads, head_dim), dtype=dtype, device=device
            )
            self.of_values = torch.empty_like(self.of_keys)
            self.filled = 0

        @property
        def length(self):
            return self.filled

        def append(self, k, v):
            positions = range(self.filled, self.filled + k.shape[1])
            if len(self.of_keys) < positions.stop:
                raise ValueError("no room")
            where = torch.tensor(list(positions), device=self.of_keys.device)
            self.of_keys.index_copy_(0, where, k.detach().movedim(1, 0).to(self.of_keys.dtype))
            self.of_values.index_copy_(0, where, v.detach().movedim(1, 0).to(self.of_keys.dtype))
            self.filled = positions.stop
            return tuple(m[: self.filled].movedim(0, 1) for m in (self.of_keys, self.of_values))

        def reset(self):
            self.of_keys.zero_()
            self.of_values.zero_()
            self.filled = 0


class grouped_einsum:
    """einsum over groups of heads, the softmax from logsumexp, everything by hand in float64"""

    class Attention(Attention):
        def _attend(self, q, k, v, mask):
            if self._may_flash(q.shape[1], k.shape[1], mask):
                grouped = [t.transpose(1, 2) for t in (q, k, v)]
                out = F.scaled_dot_product_attention(*grouped, is_causal=True, enable_gqa=True)
                return out.transpose(1, 2).flatten(2)
            grouped = q.double().unflatten(2, (self.kv_heads, -1))
            scores = torch.einsum("bskgd,btkd->bkgst", grouped, k.double()) / self.head_dim**0.5
            place = torch.arange(k.shape[1], device=q.device)
            later = place[None, :] > place[-q.shape[1] :, None]
            scores = scores.masked_fill(later, -1e300)
            if mask is not None:
                scores = scores.masked_fill((mask == 0)[:, None, None, None], -1e300)
            weights = (scores - scores.logsumexp(-1, keepdim=True)).exp()
            out = torch.einsum("bkgst,btkd->bskgd", weights, v.double())
            return out.flatten(2).to(q.dtype)

        def forward(
            self, x, position_embeddings, past_key_value=None, use_cache=False, attention_mask=None
        ):
            past = 0 if past_key_value is None else past_key_value[0].shape[1]
            if attention_mask is not None:
                if attention_mask.ndim != 2:
                    raise ValueError("attention_mask must have two axes")
                if attention_mask.size(0) != x.size(0):
                    raise ValueError("attention_mask must have a row per sequence")
                if attention_mask.size(1) != x.size(1) + past:
                    raise ValueError("attention_mask must cover cached and new tokens")
            return super().forward(
                x, position_embeddings, past_key_value, use_cache, attention_mask
            )

    class StaticCache:
        def __init__(self, batch, max_len, kv_heads, head_dim, dtype, device):
            self.memory, self.length = None, 0
            self.form = (batch, max_len, 2, kv_heads, head_dim), dtype, device

        def append(self, k, v):
            shape, dtype, device = self.form
            if self.length + k.shape[1] > shape[1]:
                raise ValueError(f"k: {k.shape[1]} more than {self.length} of {shape[1]}")
            if self.memory is None:
                self.memory = torch.full(shape, -7.0, dtype=dtype, device=device)
            for token in range(k.shape[1]):
                self.memory[:, self.length, 0] = k[:, token]
                self.memory[:, self.length, 1] = v[:, token]
                self.length += 1
            return self.memory[:, : self.length, 0], self.memory[:, : self.length, 1]

        def reset(self):
            self.length = 0


class one_head_at_a_time:
    """loops over sequences, heads and queries; each query is given exactly the keys it may see"""

    class Attention(Attention):
        def _attend(self, q, k, v, mask):
            if self._may_flash(q.shape[1], k.shape[1], mask) and q.shape[1] > 1:
                return super()._attend(q, k, v, mask)
            group, past = self.heads // self.kv_heads, k.shape[1] - q.shape[1]
            sequences = []
            for b in range(q.shape[0]):
                outs = []
                for h in range(self.heads):
                    scores = _widen(q[b, :, h]) @ _widen(k[b, :, h // group]).T
                    outs.append(self._head(scores, v[b, :, h // group], mask, b, past))
                sequences.append(torch.cat(outs, dim=-1))
            return torch.stack(sequences).to(q.dtype)

        def _head(self, scores, v, mask, b, past):
            mixed = []
            for s, row in enumerate(scores):
                keys = torch.arange(past + s + 1, device=v.device)
                if mask is not None:
                    keys = keys[mask[b, keys] != 0]
                weights = torch.softmax(row[keys] / math.sqrt(self.head_dim), dim=0)
                mixed.append(weights @ _widen(v[keys]))
            return torch.stack(mixed)


class on_fresh_memory:
    """keys are written into new memory and scores are masked and normalised in place"""

    def _append(past, new):
        whole = past.new_empty(past.shape[0], past.shape[1] + new.shape[1], *past.shape[2:])
        whole[:, : past.shape[1]] = past
        whole[:, past.shape[1] :] = new
        return whole

    def _by_hand(q, k, v, visible):
        batch, heads, queries, width = q.shape
        blank = q.new_zeros(batch * heads, queries, k.shape[2])
        scores = torch.baddbmm(blank, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=width**-0.5)
        scores = _widen(scores).view(batch, heads, queries, -1).masked_fill(~visible, -1e30)
        scores = scores - scores.amax(-1, keepdim=True).detach()
        grown = scores.exp_()
        weights = grown / grown.sum(-1, keepdim=True)
        return torch.bmm(weights.flatten(0, 1).to(v.dtype), v.flatten(0, 1)).view_as(q)
