"""Wrong answers to ex02_rope: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch


class neighbouring_pairs:
    """neighbouring pairs (x0, x1) are rotated; MiniMind pairs i with i + d/2"""

    def rotate_half(x):
        return torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)


class neighbouring_pairs_throughout:
    """neighbours are paired, in the tables and in rotate_half; MiniMind pairs i with i + d/2"""

    def rotate_half(x):
        return torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)

    def _for_both_halves(table):
        return table.repeat_interleave(2, dim=-1)


class interleaved_tables:
    """each angle stands twice in a row in the tables; list all angles, then all of them again"""

    def _for_both_halves(table):
        return table.repeat_interleave(2, dim=-1)


class exponent_without_two:
    """the exponent is i/d; it should be 2i/d"""

    def _inverse_frequencies(dim, base):
        return 1.0 / base ** (torch.arange(dim // 2, dtype=torch.float32) / dim)


class exponent_by_index_pairs:
    """the exponent is 2i/(d/2), since the step of two is divided by half the
    dimension; it should be 2i/d"""

    def _inverse_frequencies(dim, base):
        return 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.float32) / (dim // 2))


class exponent_reaches_one:
    """the exponents run from 0 to 1, as linspace gives them; they should be 2i/d, ending at 1 -
    2/d"""

    def _inverse_frequencies(dim, base):
        return base ** -torch.linspace(0, 1, dim // 2)


class pairs_from_one:
    """pairs are counted from i = 1; count from i = 0, so that the first pair turns by p itself"""

    def _inverse_frequencies(dim, base):
        return 1.0 / base ** (torch.arange(2, dim + 2, 2, dtype=torch.float32) / dim)


class base_always_1e6:
    """the base is always 1e6; use the argument rope_base (theta)"""

    def _inverse_frequencies(dim, base):
        return 1.0 / 1e6 ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)


class base_always_1e4:
    """the base is always 10000, as in the paper; use the argument rope_base (theta)"""

    def _inverse_frequencies(dim, base):
        return 1.0 / 1e4 ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)


class frequencies_not_inverted:
    """the frequencies grow as base^(2i/d); they should shrink as base^(-2i/d)"""

    def _inverse_frequencies(dim, base):
        return base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)


class default_base_1e4:
    """the default of rope_base is 10000; it should be 1e6, as in MiniMind"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e4):
        angles = _for_both_halves(_angles(dim, end, rope_base))
        return angles.cos(), angles.sin()


class positions_from_one:
    """positions are counted from 1; count from 0, so that the first token is not turned"""

    def _angles(dim, end, base):
        positions = torch.arange(1, end + 1, dtype=torch.float32)
        return positions[:, None] * _inverse_frequencies(dim, base)


class bfloat16_positions:
    """positions are created in bfloat16, which cannot tell 256 from 257; create them in float32"""

    def _angles(dim, end, base):
        positions = torch.arange(end, dtype=torch.bfloat16).float()
        return positions[:, None] * _inverse_frequencies(dim, base)


class positions_rounded_to_bfloat16:
    """positions are rounded to bfloat16, which cannot tell 256 from 257; keep them in float32"""

    def _angles(dim, end, base):
        positions = torch.arange(end, dtype=torch.float32).bfloat16().float()
        return positions[:, None] * _inverse_frequencies(dim, base)


class float16_positions:
    """positions are created in float16, which cannot tell 2048 from 2049; create them in float32"""

    def _angles(dim, end, base):
        positions = torch.arange(end, dtype=torch.float16).float()
        return positions[:, None] * _inverse_frequencies(dim, base)


class tables_in_float64:
    """the tables are float64; they should be float32, whatever the angles were computed in"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = _for_both_halves(_angles(dim, end, rope_base)).double()
        return angles.cos(), angles.sin()


class single_width_tables:
    """the tables have d/2 columns; list every angle twice, which makes d columns"""

    def _for_both_halves(table):
        return table


class tables_swapped:
    """sin is returned before cos; return cos first"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = _for_both_halves(_angles(dim, end, rope_base))
        return angles.sin(), angles.cos()


class angles_returned:
    """the angles themselves are returned; return their cosines and sines"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = _for_both_halves(_angles(dim, end, rope_base))
        return angles, angles


class tables_turn_backwards:
    """the sines are negative; use angles of p times the frequency, not -p"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = _for_both_halves(_angles(dim, end, rope_base))
        return angles.cos(), -angles.sin()


class turned_backwards:
    """rotate_half puts the minus on the wrong half, (b, -a), which turns backwards;
    it should give (-b, a)"""

    def rotate_half(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat((second, -first), dim=-1)


class no_minus:
    """rotate_half swaps the halves without a minus, which is no rotation; it should
    give (-second, first)"""

    def rotate_half(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat((second, first), dim=-1)


class halves_not_swapped:
    """rotate_half negates the first half and leaves both in place; it should give (-second,
    first)"""

    def rotate_half(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat((-first, second), dim=-1)


class second_half_negated:
    """rotate_half negates the second half and leaves both in place; it should give (-second,
    first)"""

    def rotate_half(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first, -second), dim=-1)


class neighbours_parted:
    """the odd features are negated and put before the even ones; swap the two halves instead"""

    def rotate_half(x):
        return torch.cat((-x[..., 1::2], x[..., 0::2]), dim=-1)


class joined_along_the_first_axis:
    """the halves are joined along the first axis; torch.cat needs dim=-1"""

    def rotate_half(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat((-second, first))


class rotate_half_in_place:
    """rotate_half writes into its argument; make a new tensor"""

    def rotate_half(x):
        half = x.shape[-1] // 2
        first = x[..., :half].clone()
        x[..., :half] = -x[..., half:]
        x[..., half:] = first
        return x


class rotate_half_always_float32:
    """rotate_half widens x and leaves the result in float32; the result should have the dtype of
    x"""

    def rotate_half(x):
        first, second = x.float().chunk(2, dim=-1)
        return torch.cat((-second, first), dim=-1)


class rotate_half_of_four_axes:
    """rotate_half works only for [B, S, H, d]; it should accept any number of leading axes"""

    def rotate_half(x):
        half = x.shape[3] // 2
        return torch.cat((-x[:, :, :, half:], x[:, :, :, :half]), dim=3)


class frequencies_rounded_to_bfloat16:
    """the frequencies are rounded to bfloat16, as in a model that is cast as a whole, so that
    angles go wrong along the text; keep them in float32"""

    def _inverse_frequencies(dim, base):
        exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
        return (1.0 / base**exponents).bfloat16().float()


class frequencies_rounded_in_cos_and_sin:
    """the frequencies of cos and sin are rounded to bfloat16, so that angles go wrong along the
    text; keep them in float32"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        rounded = _inverse_frequencies(dim, rope_base).bfloat16().float()
        angles = _for_both_halves(torch.arange(end, dtype=torch.float32)[:, None] * rounded)
        return angles.cos(), angles.sin()


class frequencies_in_float16:
    """the frequencies of cos and sin are rounded to float16, so that angles go wrong along the
    text; keep them in float32"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        rounded = _inverse_frequencies(dim, rope_base).half().float()
        angles = _for_both_halves(torch.arange(end, dtype=torch.float32)[:, None] * rounded)
        return angles.cos(), angles.sin()


class angles_rounded_to_bfloat16:
    """the angles are rounded to bfloat16, so that neighbouring positions share one; compute them
    in float32"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = _for_both_halves(_angles(dim, end, rope_base)).bfloat16().float()
        return angles.cos(), angles.sin()


class tables_made_in_bfloat16:
    """cos and sin are rounded to bfloat16 and come back as float32; leave them unrounded"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = _for_both_halves(_angles(dim, end, rope_base))
        return angles.cos().bfloat16().float(), angles.sin().bfloat16().float()


class tables_made_in_float16:
    """cos and sin are rounded to float16 and come back as float32; leave them unrounded"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
        angles = _for_both_halves(_angles(dim, end, rope_base))
        return angles.cos().half().float(), angles.sin().half().float()


class frequencies_rounded_in_the_complex_table:
    """the frequencies of the complex table are rounded to bfloat16, so that angles go wrong along
    the text; keep them in float32"""

    def precompute_pos_cis(dim, end, theta):
        rounded = _inverse_frequencies(dim, theta).bfloat16().float()
        angles = torch.arange(end, dtype=torch.float32)[:, None] * rounded
        return torch.polar(torch.ones_like(angles), angles)


class cos_and_sin_exchanged:
    """x is multiplied by sin and rotate_half(x) by cos; it should be x · cos + rotate_half(x) ·
    sin"""

    def _rotate(x, cos, sin):
        wide = _widen(x)
        return (wide * _over_heads(sin) + rotate_half(wide) * _over_heads(cos)).to(x.dtype)


class difference_of_terms:
    """the two terms are subtracted; add them, since rotate_half has the minus already"""

    def _rotate(x, cos, sin):
        wide = _widen(x)
        return (wide * _over_heads(cos) - rotate_half(wide) * _over_heads(sin)).to(x.dtype)


class rotate_half_forgotten:
    """x itself is multiplied by both tables; it should be x · cos + rotate_half(x) · sin"""

    def _rotate(x, cos, sin):
        wide = _widen(x)
        return (wide * _over_heads(cos) + wide * _over_heads(sin)).to(x.dtype)


class along_the_heads:
    """the tables are lined up with the axis of the heads; unsqueeze them so that
    they line up with S"""

    def _over_heads(table):
        return table.unsqueeze(0)


class no_cast_back:
    """the result is left in float32; cast it back to the dtype of q and k"""

    def _rotate(x, cos, sin):
        wide = _widen(x)
        return wide * _over_heads(cos) + rotate_half(wide) * _over_heads(sin)


class rounded_tables:
    """the tables are rounded to the dtype of q; leave them in float32 and widen q instead"""

    def _rotate(x, cos, sin):
        cos, sin = _over_heads(cos.to(x.dtype)), _over_heads(sin.to(x.dtype))
        return x * cos + rotate_half(x) * sin


class tables_rounded_before_widening:
    """the tables are cast to the dtype of q and then widened, which does not bring the lost digits
    back; leave them in float32"""

    def _rotate(x, cos, sin):
        wide = _widen(x)
        cos, sin = _widen(cos.to(x.dtype)), _widen(sin.to(x.dtype))
        return (wide * _over_heads(cos) + rotate_half(wide) * _over_heads(sin)).to(x.dtype)


class rounded_products:
    """x · cos and rotate_half(x) · sin are each cast back before they are added;
    cast their sum once"""

    def _rotate(x, cos, sin):
        wide = _widen(x)
        first = (wide * _over_heads(cos)).to(x.dtype)
        return first + (rotate_half(wide) * _over_heads(sin)).to(x.dtype)


class keys_not_turned:
    """queries are turned and keys are not; turn both"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        return _rotate(q, cos, sin), k


class queries_not_turned:
    """keys are turned and queries are not; turn both"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        return q, _rotate(k, cos, sin)


class keys_turned_backwards:
    """keys are turned the other way; turn them the same way as the queries"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        return _rotate(q, cos, sin), _rotate(k, cos, -sin)


class keys_returned_first:
    """the keys are returned before the queries; return the queries first"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        return _rotate(k, cos, sin), _rotate(q, cos, sin)


class keys_not_returned:
    """only the turned queries are returned; return both, (q, k)"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        return _rotate(q, cos, sin)


class keys_in_the_dtype_of_queries:
    """keys are cast to the dtype of the queries; each should keep its own dtype"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        return _rotate(q, cos, sin), _rotate(k, cos, sin).to(q.dtype)


class tables_made_again:
    """new tables for the positions 0 … S - 1 are made; use the rows that are passed in, since the
    caller decides each token's position"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        angles = _for_both_halves(_angles(q.shape[-1], q.shape[1], 1e6)).to(q.device)
        cos, sin = angles.cos(), angles.sin()
        return _rotate(q, cos, sin), _rotate(k, cos, sin)


class queries_turned_in_place:
    """q and k are turned in place, which changes the caller's tensors; make new ones"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        turned = _rotate(q, cos, sin), _rotate(k, cos, sin)
        with torch.no_grad():
            q.copy_(turned[0])
            k.copy_(turned[1])
        return turned


class without_gradient:
    """the turn runs under no_grad, so that no gradient reaches q and k; leave gradients on"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        with torch.no_grad():
            return _rotate(q, cos, sin), _rotate(k, cos, sin)


class no_row_check:
    """a table of one row is broadcast over all positions; compare its rows with S
    and raise a ValueError"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        return _rotate(q, cos, sin), _rotate(k, cos, sin)


class only_cos_is_checked:
    """only the rows of cos are compared with S; check sin as well"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("cos", cos, q)
        return _rotate(q, cos, sin), _rotate(k, cos, sin)


class only_sin_is_checked:
    """only the rows of sin are compared with S; check cos as well"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        _check_rows("sin", sin, q)
        return _rotate(q, cos, sin), _rotate(k, cos, sin)


class rows_asserted:
    """rows that do not match S end in an AssertionError; raise a ValueError"""

    def _check_rows(name, table, x):
        assert table.shape[0] == x.shape[1], f"{name}: {table.shape[0]} rows, want {x.shape[1]}"


class too_few_rows_are_accepted:
    """only tables that are too long are refused; refuse shorter ones too, since a single row would
    be broadcast over all positions"""

    def _check_rows(name, table, x):
        if table.shape[0] > x.shape[1]:
            raise ValueError(f"{name}: got {table.shape[0]} rows, want {x.shape[1]}")


class longer_tables_are_cut:
    """a table that is too long is silently cut to S rows; refuse it, since they may
    be the wrong rows"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos[: q.shape[1]], sin[: q.shape[1]]
        _check_rows("cos", cos, q)
        _check_rows("sin", sin, q)
        return _rotate(q, cos, sin), _rotate(k, cos, sin)


class tables_are_cut_and_broadcast:
    """tables are cut to S rows and never checked; refuse those that are too long,
    and those of one row"""

    def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos[: q.shape[1]], sin[: q.shape[1]]
        return _rotate(q, cos, sin), _rotate(k, cos, sin)


class too_many_rows_break:
    """only tables that are too short are refused; refuse those that are too long as well"""

    def _check_rows(name, table, x):
        if table.shape[0] < x.shape[1]:
            raise ValueError(f"{name}: got {table.shape[0]} rows, want {x.shape[1]}")


class complex_form_pairs_halves:
    """the complex form pairs i with i + d/2; it should pair neighbours, 2i with 2i + 1"""

    def _pairs_to_complex(x):
        return torch.complex(*x.chunk(2, dim=-1))

    def _complex_to_pairs(z):
        return torch.cat((z.real, z.imag), dim=-1)


class complex_form_reads_halves:
    """the complex form reads i and i + d/2 as a pair but writes it back as neighbours; it should
    read neighbours as well"""

    def _pairs_to_complex(x):
        return torch.complex(*x.chunk(2, dim=-1))


class complex_parts_left_apart:
    """real and imaginary parts come back as two halves; put each pair back where it was"""

    def _complex_to_pairs(z):
        return torch.cat((z.real, z.imag), dim=-1)


class complex_conjugate:
    """the complex form turns backwards; multiply by pos_cis, not by its conjugate"""

    def apply_rotary_complex(x, pos_cis):
        _check_rows("pos_cis", pos_cis, x)
        turned = _pairs_to_complex(_widen(x)) * _over_heads(pos_cis).conj()
        return _complex_to_pairs(turned).to(x.dtype)


class complex_no_cast_back:
    """the complex form leaves its result in float32; cast it back to the dtype of x"""

    def apply_rotary_complex(x, pos_cis):
        _check_rows("pos_cis", pos_cis, x)
        return _complex_to_pairs(_pairs_to_complex(_widen(x)) * _over_heads(pos_cis))


class complex_rounded_table:
    """the complex table is rounded to the dtype of x; leave it as it is"""

    def apply_rotary_complex(x, pos_cis):
        _check_rows("pos_cis", pos_cis, x)
        table = torch.complex(_widen(pos_cis.real.to(x.dtype)), _widen(pos_cis.imag.to(x.dtype)))
        turned = _pairs_to_complex(_widen(x)) * _over_heads(table)
        return _complex_to_pairs(turned).to(x.dtype)


class complex_no_row_check:
    """a complex table of one row is broadcast over all positions; compare its rows with S"""

    def apply_rotary_complex(x, pos_cis):
        turned = _pairs_to_complex(_widen(x)) * _over_heads(pos_cis)
        return _complex_to_pairs(turned).to(x.dtype)


class complex_rows_left_to_view:
    """the table is viewed as S rows, which ends in torch's own error; compare its
    rows and raise a ValueError"""

    def apply_rotary_complex(x, pos_cis):
        table = pos_cis.view(1, x.shape[1], 1, -1)
        return _complex_to_pairs(_pairs_to_complex(_widen(x)) * table).to(x.dtype)


class complex_longer_table_is_cut:
    """a complex table that is too long is silently cut to S rows; refuse it"""

    def apply_rotary_complex(x, pos_cis):
        pos_cis = pos_cis[: x.shape[1]]
        _check_rows("pos_cis", pos_cis, x)
        turned = _pairs_to_complex(_widen(x)) * _over_heads(pos_cis)
        return _complex_to_pairs(turned).to(x.dtype)


class complex_along_the_heads:
    """the complex table is lined up with the axis of the heads; unsqueeze it so
    that it lines up with S"""

    def apply_rotary_complex(x, pos_cis):
        _check_rows("pos_cis", pos_cis, x)
        turned = _pairs_to_complex(_widen(x)) * pos_cis
        return _complex_to_pairs(turned).to(x.dtype)


class complex_pairs_not_flattened:
    """the last axis is left as pairs, [d/2, 2]; flatten the two into [d]"""

    def _complex_to_pairs(z):
        return torch.view_as_real(z)


class complex_viewed_without_copy:
    """x.view(B, S, -1, 2) merges heads and pairs, which fails for a transposed x; use reshape"""

    def apply_rotary_complex(x, pos_cis):
        _check_rows("pos_cis", pos_cis, x)
        pairs = _widen(x).view(x.shape[0], x.shape[1], -1, 2)
        turned = torch.view_as_complex(pairs).unflatten(2, (x.shape[2], -1)) * _over_heads(pos_cis)
        return _complex_to_pairs(turned).to(x.dtype)


class complex_sin_first:
    """the complex table is sin t + j·cos t; it should be cos t + j·sin t"""

    def precompute_pos_cis(dim, end, theta):
        angles = _angles(dim, end, theta)
        return torch.complex(angles.sin(), angles.cos())


class complex_table_conjugated:
    """the complex table is cos t - j·sin t, which turns backwards; it should be cos t + j·sin t"""

    def precompute_pos_cis(dim, end, theta):
        angles = _angles(dim, end, theta)
        return torch.polar(torch.ones_like(angles), -angles)


class complex_table_in_complex128:
    """the complex table is complex128; it should be complex64, whatever the angles were computed
    in"""

    def precompute_pos_cis(dim, end, theta):
        angles = _angles(dim, end, theta).double()
        return torch.polar(torch.ones_like(angles), angles)


class complex_table_in_two:
    """the complex table is returned as (cos, sin); return one tensor of complex numbers"""

    def precompute_pos_cis(dim, end, theta):
        angles = _angles(dim, end, theta)
        return angles.cos(), angles.sin()


class across_heads:
    """the rows are reordered across all heads at once; reorder them within each head"""

    def interleaved_to_half(weight, n_heads):
        return torch.cat((weight[0::2], weight[1::2]))


class rows_left_in_place:
    """the rows stay where they are; within each head, put the even ones first, then the odd ones"""

    def interleaved_to_half(weight, n_heads):
        return weight.clone()


class the_way_back:
    """the rows are reordered from half-split to neighbours; it should be the other direction"""

    def interleaved_to_half(weight, n_heads):
        heads = weight.reshape(n_heads, 2, -1, weight.shape[-1])
        return heads.transpose(1, 2).reshape(weight.shape)


class odd_rows_first:
    """the odd rows come first; put the even ones first"""

    def interleaved_to_half(weight, n_heads):
        heads = weight.reshape(n_heads, -1, weight.shape[-1])
        return torch.cat((heads[:, 1::2], heads[:, 0::2]), dim=1).flatten(0, 1)


class columns_reordered:
    """the columns of the weight are reordered; reorder its rows, which are the features"""

    def interleaved_to_half(weight, n_heads):
        return torch.cat((weight[:, 0::2], weight[:, 1::2]), dim=1)


class heads_taken_for_the_inner_axis:
    """the rows are read as [d, n_heads]; they should be read as [n_heads, d], head after head"""

    def interleaved_to_half(weight, n_heads):
        features = weight.reshape(-1, n_heads, weight.shape[-1])
        return torch.cat((features[0::2], features[1::2])).reshape(weight.shape)


class heads_not_joined:
    """the heads are left on a separate axis, [n_heads, d, C]; join them again"""

    def interleaved_to_half(weight, n_heads):
        heads = weight.reshape(n_heads, -1, weight.shape[-1])
        return torch.cat((heads[:, 0::2], heads[:, 1::2]), dim=1)


class weight_always_float32:
    """the weight comes back in float32; it should keep its dtype"""

    def interleaved_to_half(weight, n_heads):
        heads = weight.float().reshape(n_heads, -1, weight.shape[-1])
        return torch.cat((heads[:, 0::2], heads[:, 1::2]), dim=1).flatten(0, 1)
