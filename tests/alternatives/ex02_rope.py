"""Right answers to ex02_rope, written differently: each must pass every test."""

import math

import torch


class rotation_matrices:
    """every pair meets its 2 × 2 matrix, one pair after the other"""

    def rotate_half(x):
        out = torch.empty_like(x)
        half = x.shape[-1] // 2
        for i in range(half):
            out[..., i] = -x[..., half + i]
            out[..., half + i] = x[..., i]
        return out

    def _turn(x, cos, sin):
        half = x.shape[-1] // 2
        wide = x.float()
        columns = [None] * (2 * half)
        for i in range(half):
            c, s = cos[:, i].view(1, -1, 1), sin[:, i].view(1, -1, 1)
            matrix = torch.stack((torch.stack((c, -s), -1), torch.stack((s, c), -1)), -2)
            pair = torch.stack((wide[..., i], wide[..., half + i]), -1).unsqueeze(-1)
            columns[i], columns[half + i] = (matrix @ pair).squeeze(-1).unbind(-1)
        return torch.stack(columns, dim=-1).to(x.dtype)

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        rows = q.size(1)
        if cos.size(0) != rows or sin.size(0) != rows:
            raise ValueError(f"cos, sin: {cos.size(0)} and {sin.size(0)} rows, want {rows}")
        return _turn(q, cos, sin), _turn(k, cos, sin)


class through_complex_numbers:
    """the half form by complex products, the tables by complex powers in float64"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        pairs = torch.arange(dim // 2, dtype=torch.float64)
        angle = torch.arange(end, dtype=torch.float64).outer(rope_base ** (-2 * pairs / dim))
        turn = torch.exp(1j * angle)
        return (
            torch.cat([turn.real, turn.real], 1).to(torch.float32),
            torch.cat([turn.imag, turn.imag], 1).to(torch.float32),
        )

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
            raise ValueError(f"cos and sin have {len(cos)} rows, q has {q.shape[1]} positions")
        half = q.shape[-1] // 2
        turn = torch.complex(cos[:, :half], sin[:, :half]).unsqueeze(unsqueeze_dim)
        turned = []
        for x in (q, k):
            z = torch.complex(x[..., :half].float(), x[..., half:].float()) * turn
            turned.append(torch.cat((z.real, z.imag), -1).type_as(x))
        return tuple(turned)

    def precompute_pos_cis(dim, end, theta):
        frequencies = 1.0 / (theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim))
        return torch.exp(1j * torch.outer(torch.arange(end), frequencies))

    def apply_rotary_complex(x, pos_cis):
        if pos_cis.shape[0] != x.shape[1]:
            raise ValueError(f"pos_cis has {pos_cis.shape[0]} rows, x has {x.shape[1]} positions")
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        table = pos_cis.view(1, x.shape[1], 1, -1)
        return torch.view_as_real(pairs * table).flatten(3).type_as(x)

    def interleaved_to_half(weight, n_heads):
        rows, columns = weight.shape
        per_head = weight.reshape(n_heads, rows // n_heads // 2, 2, columns)
        return per_head.transpose(1, 2).reshape(rows, columns)


class by_index:
    """permutations as index tensors and signs, the half form in float64"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        column = torch.arange(dim) % (dim // 2)
        log_frequency = column.double() * (-2.0 * math.log(rope_base) / dim)
        angle = torch.arange(end).double().unsqueeze(1) * log_frequency.exp()
        return torch.cos(angle).float(), torch.sin(angle).float()

    def rotate_half(x):
        size = x.shape[-1]
        partner = (torch.arange(size, device=x.device) + size // 2) % size
        sign = torch.ones(size, dtype=x.dtype, device=x.device)
        sign[: size // 2] = -1
        return x[..., partner] * sign

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        for name, table in (("cos", cos), ("sin", sin)):
            if table.shape[0] != q.shape[1]:
                raise ValueError(f"{name} has {table.shape[0]} rows, want {q.shape[1]}")
        cos, sin = cos[None, :, None, :].double(), sin[None, :, None, :].double()
        q_turned = q.double() * cos + rotate_half(q.double()) * sin
        k_turned = k.double() * cos + rotate_half(k.double()) * sin
        return q_turned.to(q.dtype), k_turned.to(k.dtype)

    def apply_rotary_complex(x, pos_cis):
        positions = x.shape[1]
        if positions != pos_cis.shape[0]:
            raise ValueError(f"pos_cis: got {tuple(pos_cis.shape)}, want {positions} rows")
        angle_cos, angle_sin = pos_cis.real[:, None, :], pos_cis.imag[:, None, :]
        pairs = x.to(torch.float32).unflatten(-1, (-1, 2))
        a, b = pairs.unbind(-1)
        out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        out[..., 0::2] = a * angle_cos - b * angle_sin
        out[..., 1::2] = a * angle_sin + b * angle_cos
        return out.to(x.dtype)

    def interleaved_to_half(weight, n_heads):
        size = weight.shape[0] // n_heads
        order = []
        for head in range(n_heads):
            start = head * size
            order += list(range(start, start + size, 2))
            order += list(range(start + 1, start + size, 2))
        return weight[order]


class on_fresh_memory:
    """results are written into copies with in-place operations"""

    def rotate_half(x):
        half = x.shape[-1] // 2
        out = x.roll(half, -1)
        out[..., :half].neg_()
        return out

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if not (cos.shape[0] == sin.shape[0] == q.shape[1] == k.shape[1]):
            raise ValueError("cos/sin must have exactly one row per position")
        turned = []
        for x in (q, k):
            wide = x.to(torch.promote_types(x.dtype, torch.float32), copy=True)
            rolled = rotate_half(wide)
            turned.append(torch.addcmul(wide * cos[:, None], rolled, sin[:, None]).to(x.dtype))
        return turned[0], turned[1]

    def interleaved_to_half(weight, n_heads):
        heads = torch.stack(weight.chunk(n_heads))
        out = torch.empty_like(heads)
        half = heads.shape[1] // 2
        out[:, :half] = heads[:, ::2]
        out[:, half:] = heads[:, 1::2]
        return torch.cat(list(out))
