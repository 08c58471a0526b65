"""Known mistakes of ex02 as somebody else would write them, over `answers/right`.

Each class has the id of a mistake of the bank and holds whole public functions, none of which
was copied from the bank. The form is that of the bank; see `grader.course.variants`.
"""

import math

import torch


class neighbouring_pairs:
    """pairs are unflattened, turned and put back"""

    def rotate_half(x):
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([-b, a], dim=-1).reshape(x.shape)


class neighbouring_pairs_throughout:
    """each angle is written twice in a row by a loop, each pair turned by a loop"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        columns = []
        for i in range(dim // 2):
            column = torch.arange(end) * rope_base ** (-2 * i / dim)
            columns += [column, column]
        angles = torch.stack(columns, dim=1)
        return angles.cos(), angles.sin()

    def rotate_half(x):
        out = torch.zeros_like(x)
        for i in range(0, x.shape[-1], 2):
            out[..., i] = -x[..., i + 1]
            out[..., i + 1] = x[..., i]
        return out


class interleaved_tables:
    """the angles are expanded along a new last axis and flattened"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        speeds = torch.exp(torch.arange(0, dim, 2) * (-math.log(rope_base) / dim))
        angles = torch.arange(end)[:, None] * speeds
        angles = angles[:, :, None].expand(-1, -1, 2).reshape(end, dim)
        return torch.cos(angles), torch.sin(angles)


class exponent_without_two:
    """the exponents are counted 0, 1, 2 … over the dimension, in float64"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        speeds = torch.tensor([rope_base ** -(i / dim) for i in range(dim // 2)] * 2).double()
        angles = torch.outer(torch.arange(end).double(), speeds)
        return angles.cos().float(), angles.sin().float()

    def precompute_pos_cis(dim, end, theta):
        speeds = torch.tensor([theta ** -(i / dim) for i in range(dim // 2)])
        angles = torch.outer(torch.arange(end), speeds)
        return torch.exp(1j * angles)


class base_always_1e4:
    """the paper's constant by its logarithm"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        speeds = torch.exp(torch.arange(0, dim, 2) / dim * -math.log(10_000))
        angles = torch.outer(torch.arange(end), speeds).repeat(1, 2)
        return angles.cos(), angles.sin()

    def precompute_pos_cis(dim, end, theta):
        speeds = torch.exp(torch.arange(0, dim, 2) / dim * -math.log(10_000))
        return torch.exp(1j * torch.outer(torch.arange(end), speeds))


class default_base_1e4:
    """only the signature is wrong"""

    def precompute_freqs_cis(dim, end=32768, rope_base=10_000):
        speeds = rope_base ** (-torch.arange(0, dim, 2) / dim)
        angles = torch.outer(torch.arange(end), torch.cat([speeds, speeds]))
        return angles.cos(), angles.sin()


class positions_from_one:
    """the positions are a cumulative sum of ones"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        speeds = rope_base ** (-torch.arange(0, dim, 2) / dim)
        angles = torch.ones(end).cumsum(0)[:, None] * speeds
        return angles.repeat(1, 2).cos(), angles.repeat(1, 2).sin()

    def precompute_pos_cis(dim, end, theta):
        speeds = theta ** (-torch.arange(0, dim, 2) / dim)
        return torch.exp(1j * torch.ones(end).cumsum(0)[:, None] * speeds)


class tables_in_float64:
    """the angles are made in float64 and nobody thinks of it again"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        speeds = rope_base ** (-torch.arange(0, dim, 2).double() / dim)
        angles = torch.outer(torch.arange(end).double(), speeds)
        angles = torch.hstack([angles, angles])
        return angles.cos(), angles.sin()


class single_width_tables:
    """the second half is forgotten"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = torch.outer(torch.arange(end), rope_base ** (-torch.arange(0, dim, 2) / dim))
        return torch.cos(angles), torch.sin(angles)


class turned_backwards:
    """the halves are rolled and the wrong one is negated"""

    def rotate_half(x):
        half = x.shape[-1] // 2
        out = x.roll(half, dims=-1)
        out[..., half:] *= -1
        return out


class no_minus:
    """the halves are rolled, and that is all"""

    def rotate_half(x):
        return x.roll(x.shape[-1] // 2, dims=-1)


class halves_not_swapped:
    """a vector of signs"""

    def rotate_half(x):
        sign = torch.ones(x.shape[-1])
        sign[: x.shape[-1] // 2] = -1
        return x * sign.to(x.dtype)


class cos_and_sin_exchanged:
    """the names are exchanged where the terms are added"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if not len(cos) == len(sin) == q.shape[1]:
            raise ValueError("rows")
        s, c = (table.view(1, q.shape[1], 1, -1) for table in (cos, sin))
        return tuple(
            torch.addcmul(x.float() * c, rotate_half(x.float()), s).to(x.dtype) for x in (q, k)
        )


class along_the_heads:
    """the tables are broadcast from the left, and torch names the sizes the other way round"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
            raise ValueError("rows")
        q_wide, k_wide = q.float(), k.float()
        q_turned = cos * q_wide + sin * rotate_half(q_wide)
        k_turned = cos * k_wide + sin * rotate_half(k_wide)
        return q_turned.to(q.dtype), k_turned.to(k.dtype)

    def apply_rotary_complex(x, pos_cis):
        if len(pos_cis) != x.shape[1]:
            raise ValueError("rows")
        z = torch.complex(x.float()[..., 0::2], x.float()[..., 1::2])
        return torch.view_as_real(pos_cis * z).flatten(-2).to(x.dtype)


class no_cast_back:
    """tables promote the result, and it is left so"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
            raise ValueError("rows")
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


class keys_not_turned:
    """k goes out as it came in, as a copy"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
            raise ValueError("rows")
        wide = q.to(torch.float32)
        q = (wide * cos[:, None] + rotate_half(wide) * sin[:, None]).to(q.dtype)
        return q, k.clone()


class without_gradient:
    """everything is computed on detached tensors"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
            raise ValueError("rows")
        turned = []
        for x in (q.detach(), k.detach()):
            wide = x.float()
            out = wide * cos[:, None] + rotate_half(wide) * sin[:, None]
            turned.append(out.to(x.dtype))
        return tuple(turned)


class queries_turned_in_place:
    """the results are written into q and k themselves, which are then returned"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
            raise ValueError("rows")
        results = []
        for x in (q, k):
            wide = x.float()
            out = (wide * cos[:, None] + rotate_half(wide) * sin[:, None]).to(x.dtype)
            x.data[...] = out.data
            results.append(out)
        return tuple(results)


class no_row_check:
    """the check is left out"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos[None, :, None], sin[None, :, None]
        q_wide, k_wide = q.float(), k.float()
        q_turned = (q_wide * cos + rotate_half(q_wide) * sin).to(q.dtype)
        k_turned = (k_wide * cos + rotate_half(k_wide) * sin).to(k.dtype)
        return q_turned, k_turned


class complex_conjugate:
    """the minus sign of the imaginary part stands in the other place"""

    def apply_rotary_complex(x, pos_cis):
        if len(pos_cis) != x.shape[1]:
            raise ValueError("rows")
        c, s = pos_cis.real[:, None], pos_cis.imag[:, None]
        a, b = x.float()[..., 0::2], x.float()[..., 1::2]
        return torch.stack([a * c + b * s, b * c - a * s], -1).flatten(-2).to(x.dtype)


class complex_parts_left_apart:
    """the two parts of the product are joined end to end"""

    def apply_rotary_complex(x, pos_cis):
        if len(pos_cis) != x.shape[1]:
            raise ValueError("rows")
        c, s = pos_cis.real[:, None], pos_cis.imag[:, None]
        a, b = x.float()[..., 0::2], x.float()[..., 1::2]
        return torch.cat([a * c - b * s, a * s + b * c], dim=-1).to(x.dtype)


class complex_sin_first:
    """the arguments of torch.complex are exchanged"""

    def precompute_pos_cis(dim, end, theta):
        angles = torch.outer(torch.arange(end), theta ** (-torch.arange(0, dim, 2) / dim))
        return torch.complex(torch.sin(angles), torch.cos(angles))


class complex_viewed_without_copy:
    """heads and features are viewed as one axis"""

    def apply_rotary_complex(x, pos_cis):
        if len(pos_cis) != x.shape[1]:
            raise ValueError("rows")
        batch, rows, heads, size = x.shape
        z = torch.view_as_complex(x.float().view(batch, rows, heads * size // 2, 2))
        z = z.view(batch, rows, heads, size // 2) * pos_cis[:, None]
        return torch.view_as_real(z).reshape(x.shape).to(x.dtype)


class across_heads:
    """the rows of all heads are dealt into two piles"""

    def interleaved_to_half(weight, n_heads):
        rows = torch.arange(weight.shape[0])
        return weight[torch.cat([rows[rows % 2 == 0], rows[rows % 2 == 1]])]


class the_way_back:
    """an index that goes from the half-split layout to the neighbours"""

    def interleaved_to_half(weight, n_heads):
        size = weight.shape[0] // n_heads
        within = [i // 2 + (i % 2) * size // 2 for i in range(size)]
        return weight[[head * size + i for head in range(n_heads) for i in within]]


class odd_rows_first:
    """each head's rows are sorted by their parity, the wrong one first"""

    def interleaved_to_half(weight, n_heads):
        size = weight.shape[0] // n_heads
        order = sorted(range(weight.shape[0]), key=lambda row: (row // size, -(row % 2), row))
        return weight[order]
