"""Wrong answers to ex12_yarn: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import math

import torch


class ramp_inverted:
    """the ramp is the wrong way round and fast pairs are divided by factor; divide the slow ones,
    where the ramp is 1"""

    def _blended(frequencies, ramp, factor):
        return frequencies * (ramp + (1 - ramp) / factor)


class multiplied_by_factor:
    """slow frequencies are multiplied by factor; divide by it, so that they turn more slowly"""

    def _blended(frequencies, ramp, factor):
        return frequencies * (1 - ramp + ramp * factor)


class factor_ignored_where_the_ramp_is_one:
    """the frequencies are multiplied by 1 - ramp alone, so that slow pairs stand still; add
    ramp / factor"""

    def _blended(frequencies, ramp, factor):
        return frequencies * (1 - ramp)


class every_pair_divided:
    """all frequencies are divided by factor (position interpolation); divide only as far as the
    ramp says"""

    def _blended(frequencies, ramp, factor):
        return frequencies / factor


class no_pair_divided:
    """the frequencies are the ones without YaRN; divide those of slow pairs by factor"""

    def _blended(frequencies, ramp, factor):
        return frequencies


class wavelengths_blended:
    """the ramp is between the wavelengths, so that the frequency is divided by 1 - ramp + ramp ·
    factor; blend the frequencies: multiply by 1 - ramp + ramp / factor"""

    def _blended(frequencies, ramp, factor):
        return frequencies / (1 - ramp + ramp * factor)


class factor_blended_in_logarithms:
    """the ramp is in the exponent of factor; it should be linear in the frequencies"""

    def _blended(frequencies, ramp, factor):
        return frequencies * factor**-ramp


class factor_inside_the_power:
    """factor multiplies the base inside the power, so that it divides each pair by another number;
    divide the finished frequencies by it"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        ramp = _ramp(
            dim,
            _first_place(dim, rope_base, rope_scaling),
            _last_place(dim, rope_base, rope_scaling),
        )
        divided = _inverse_frequencies(dim, rope_base * rope_scaling["factor"])
        return _inverse_frequencies(dim, rope_base) * (1 - ramp) + divided * ramp


class larger_base:
    """the base is enlarged to base · factor^(d/(d-2)) (NTK-aware scaling); leave the base as it is
    and divide slow pairs by factor"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        enlarged = rope_base * rope_scaling["factor"] ** (dim / (dim - 2))
        return _inverse_frequencies(dim, enlarged)


class larger_base_for_fast_pairs:
    """fast pairs get the frequencies of an enlarged base, base · factor^(d/(d-2)); leave them as
    they are"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        ramp = _ramp(
            dim,
            _first_place(dim, rope_base, rope_scaling),
            _last_place(dim, rope_base, rope_scaling),
        )
        enlarged = rope_base * rope_scaling["factor"] ** (dim / (dim - 2))
        fast = _inverse_frequencies(dim, enlarged)
        slow = _inverse_frequencies(dim, rope_base) / rope_scaling["factor"]
        return fast * (1 - ramp) + slow * ramp


class betas_swapped:
    """beta_fast and beta_slow are swapped; low comes from beta_fast and high from beta_slow"""

    def _first_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return max(math.floor(_place(rope_scaling["beta_slow"], dim, base, original)), 0)

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(math.ceil(_place(rope_scaling["beta_fast"], dim, base, original)), dim // 2 - 1)


class betas_always_32_and_1:
    """beta_fast and beta_slow are always 32 and 1; take them from rope_scaling"""

    def _first_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return max(math.floor(_place(32, dim, base, original)), 0)

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(math.ceil(_place(1, dim, base, original)), dim // 2 - 1)


class high_up_to_dim:
    """high is limited to dim - 1, which counts features; limit it to dim/2 - 1, the last pair"""

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(math.ceil(_place(rope_scaling["beta_slow"], dim, base, original)), dim - 1)


class high_without_limit:
    """high has no upper limit; limit it to dim/2 - 1, the last pair"""

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return math.ceil(_place(rope_scaling["beta_slow"], dim, base, original))


class high_up_to_the_number_of_pairs:
    """high is limited to dim/2; limit it to dim/2 - 1, the last pair"""

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(math.ceil(_place(rope_scaling["beta_slow"], dim, base, original)), dim // 2)


class low_without_limit:
    """low has no lower limit; it should be 0 at least"""

    def _first_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return math.floor(_place(rope_scaling["beta_fast"], dim, base, original))


class places_not_rounded:
    """the ends of the ramp are not rounded (as with truncate=False); low is rounded down and high
    up"""

    def _first_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return max(_place(rope_scaling["beta_fast"], dim, base, original), 0)

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(_place(rope_scaling["beta_slow"], dim, base, original), dim // 2 - 1)


class places_rounded_inwards:
    """low is rounded up and high down; low should be rounded down and high up"""

    def _first_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return max(math.ceil(_place(rope_scaling["beta_fast"], dim, base, original)), 0)

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(math.floor(_place(rope_scaling["beta_slow"], dim, base, original)), dim // 2 - 1)


class both_places_rounded_down:
    """low and high are both rounded down, as int() does; high should be rounded up"""

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(math.floor(_place(rope_scaling["beta_slow"], dim, base, original)), dim // 2 - 1)


class places_rounded_to_the_nearest:
    """low and high are rounded to the nearest whole number; round low down and high up"""

    def _first_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return max(round(_place(rope_scaling["beta_fast"], dim, base, original)), 0)

    def _last_place(dim, base, rope_scaling):
        original = rope_scaling["original_max_position_embeddings"]
        return min(round(_place(rope_scaling["beta_slow"], dim, base, original)), dim // 2 - 1)


class place_without_two_pi:
    """the place of a pair is computed without 2π; a turn is 2π of angle, so divide by 2π · beta"""

    def _place(turns, dim, base, original):
        return dim * math.log(original / turns) / (2 * math.log(base))


class place_without_the_two_below:
    """the place of a pair is divided by ln(base) alone; divide by 2 · ln(base)"""

    def _place(turns, dim, base, original):
        return dim * math.log(original / (2 * math.pi * turns)) / math.log(base)


class place_with_the_decadic_logarithm:
    """ln(base) is taken to base 10 and the other logarithm is natural; both should be natural"""

    def _place(turns, dim, base, original):
        return dim * math.log(original / (2 * math.pi * turns)) / (2 * math.log10(base))


class place_with_base_1e4:
    """the place of a pair is computed with the base 10000; use rope_base there, too"""

    def _place(turns, dim, base, original):
        return dim * math.log(original / (2 * math.pi * turns)) / (2 * math.log(1e4))


class place_from_the_new_length:
    """the turns are counted within the new length, original times factor; count them within
    original_max_position_embeddings"""

    def _first_place(dim, base, rope_scaling):
        longer = rope_scaling["original_max_position_embeddings"] * rope_scaling["factor"]
        return max(math.floor(_place(rope_scaling["beta_fast"], dim, base, longer)), 0)

    def _last_place(dim, base, rope_scaling):
        longer = rope_scaling["original_max_position_embeddings"] * rope_scaling["factor"]
        return min(math.ceil(_place(rope_scaling["beta_slow"], dim, base, longer)), dim // 2 - 1)


class place_of_features:
    """the place counts features, two for each pair, so that the ramp is twice as far back; divide
    dim by 2"""

    def _ramp(dim, low, high):
        features = torch.arange(0, dim, 2, dtype=torch.float32)
        return ((features - low) / max(high - low, 0.001)).clamp(0, 1)


class ramp_counts_from_one:
    """the pairs of the ramp are counted from 1; the first pair is i = 0"""

    def _ramp(dim, low, high):
        pairs = torch.arange(1, dim // 2 + 1, dtype=torch.float32)
        return ((pairs - low) / max(high - low, 0.001)).clamp(0, 1)


class ramp_not_clamped:
    """the ramp goes on below 0 and above 1; clamp it"""

    def _ramp(dim, low, high):
        pairs = torch.arange(dim // 2, dtype=torch.float32)
        return (pairs - low) / max(high - low, 0.001)


class ramp_over_all_pairs:
    """the ramp goes from the first pair to the last, whatever the betas are; it should begin at low
    and end at high"""

    def _ramp(dim, low, high):
        pairs = torch.arange(dim // 2, dtype=torch.float32)
        return pairs / (dim // 2 - 1)


class ramp_replaced_by_a_step:
    """all pairs from high on are divided by factor and none before them; a ramp should lead from
    low to high"""

    def _ramp(dim, low, high):
        return (torch.arange(dim // 2) >= high).float()


class ramp_linear_in_the_turns:
    """the ramp is linear in the number of turns, as in the paper's formula; it should be linear in
    the number of the pair, from low to high"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        frequencies = _inverse_frequencies(dim, rope_base)
        turns = rope_scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
        fast, slow = rope_scaling["beta_fast"], rope_scaling["beta_slow"]
        keep = ((turns - slow) / (fast - slow)).clamp(0, 1)
        return _blended(frequencies, 1 - keep, rope_scaling["factor"])


class minimind_2:
    """the frequencies are those of MiniMind-2, with a beta for each pair and a cut where a turn is
    longer than the original length; use the ramp between low and high"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        factor = rope_scaling["factor"]
        original = rope_scaling["original_max_position_embeddings"]
        frequencies = _inverse_frequencies(dim, rope_base)
        slow, fast = rope_scaling["beta_slow"], rope_scaling["beta_fast"]
        pairs = torch.arange(dim // 2)
        beta = slow + (fast - slow) * pairs.float() / max(dim // 2 - 1, 1)
        cut = int((2 * math.pi / frequencies <= original).sum())
        part = torch.where(pairs < cut, (beta * factor - beta + 1) / (beta * factor), 1 / factor)
        return frequencies * part


class width_may_be_zero:
    """the ramp is divided by high - low, which may be 0 or less; divide by max(high - low,
    0.001)"""

    def _ramp(dim, low, high):
        pairs = torch.arange(dim // 2, dtype=torch.float32)
        return ((pairs - low) / torch.tensor(float(high - low))).clamp(0, 1)


class width_may_be_negative:
    """0.001 is added where low and high are equal, and the ramp runs backwards where low is larger;
    divide by max(high - low, 0.001)"""

    def _ramp(dim, low, high):
        pairs = torch.arange(dim // 2, dtype=torch.float32)
        width = 0.001 if high == low else high - low
        return ((pairs - low) / width).clamp(0, 1)


class width_at_least_one:
    """the ramp is one pair more wide, since 1 is added to its width; its width should be
    max(high - low, 0.001)"""

    def _ramp(dim, low, high):
        pairs = torch.arange(dim // 2, dtype=torch.float32)
        return ((pairs - low) / max(high - low + 1, 0.001)).clamp(0, 1)


class ends_put_in_order:
    """low and high are exchanged where low is larger; where low is not below high, the ramp should
    be a step after low"""

    def _ramp(dim, low, high):
        low, high = min(low, high), max(low, high)
        pairs = torch.arange(dim // 2, dtype=torch.float32)
        return ((pairs - low) / max(high - low, 0.001)).clamp(0, 1)


class always_active:
    """YaRN is active at every length; it should be only where end is larger than the original
    length"""

    def _is_extended(end, rope_scaling):
        return rope_scaling is not None


class active_at_the_original_length:
    """YaRN is active where end equals the original length; it should be only where end is larger"""

    def _is_extended(end, rope_scaling):
        if rope_scaling is None:
            return False
        return end >= rope_scaling["original_max_position_embeddings"]


class active_beyond_the_new_length:
    """YaRN is active only beyond the original length times factor; it should be active beyond
    original_max_position_embeddings"""

    def _is_extended(end, rope_scaling):
        if rope_scaling is None:
            return False
        longest = rope_scaling["original_max_position_embeddings"] * rope_scaling["factor"]
        return end > longest


class never_active:
    """precompute_freqs_cis ignores rope_scaling; beyond the original length use yarn_freqs and
    attention_factor"""

    def _is_extended(end, rope_scaling):
        return False


class active_for_the_type_yarn_alone:
    """YaRN is left out where the key type has another value than yarn; keys that are not among the
    settings mean nothing here, so do not look at them"""

    def _is_extended(end, rope_scaling):
        if rope_scaling is None or rope_scaling.get("type", "yarn") != "yarn":
            return False
        return end > rope_scaling["original_max_position_embeddings"]


class factor_from_the_lengths:
    """the tables use end divided by the original length as factor; use the factor in
    rope_scaling"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None):
        if not _is_extended(end, rope_scaling):
            return _tables(_inverse_frequencies(dim, rope_base), end)
        stretched = end / rope_scaling["original_max_position_embeddings"]
        settings = {**rope_scaling, "factor": stretched}
        cos, sin = _tables(yarn_freqs(dim, rope_base, settings), end)
        factor = _attention_factor(rope_scaling)
        return cos * factor, sin * factor


class positions_divided_too:
    """positions are divided by factor as well; the frequencies alone should change"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None):
        if not _is_extended(end, rope_scaling):
            return _tables(_inverse_frequencies(dim, rope_base), end)
        freqs = yarn_freqs(dim, rope_base, rope_scaling) / rope_scaling["factor"]
        cos, sin = _tables(freqs, end)
        factor = _attention_factor(rope_scaling)
        return cos * factor, sin * factor


class table_only_beyond_the_original_length:
    """positions within the original length keep their old angles and only those beyond it get new
    ones; every row of a table should have the same frequencies"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None):
        plain = _tables(_inverse_frequencies(dim, rope_base), end)
        if not _is_extended(end, rope_scaling):
            return plain
        original = rope_scaling["original_max_position_embeddings"]
        longer = _tables(yarn_freqs(dim, rope_base, rope_scaling), end)
        factor = _attention_factor(rope_scaling)
        cos, sin = (
            torch.cat((a[:original], b[original:] * factor))
            for a, b in zip(plain, longer, strict=True)
        )
        return cos, sin


class attention_factor_ignored:
    """attention_factor is ignored, or looked up under another name; multiply both tables by it"""

    def _attention_factor(rope_scaling):
        return 1.0


class attention_factor_computed:
    """the tables are multiplied by 0.1 · ln(factor) + 1, whatever attention_factor is; use
    attention_factor, and 1.0 where it is missing"""

    def _attention_factor(rope_scaling):
        return 0.1 * math.log(rope_scaling["factor"]) + 1


class attention_factor_computed_where_missing:
    """a missing attention_factor is replaced by 0.1 · ln(factor) + 1, as transformers does; it
    should be 1.0"""

    def _attention_factor(rope_scaling):
        return rope_scaling.get("attention_factor", 0.1 * math.log(rope_scaling["factor"]) + 1)


class attention_factor_times_the_computed_one:
    """attention_factor is multiplied by 0.1 · ln(factor) + 1; multiply the tables by
    attention_factor alone"""

    def _attention_factor(rope_scaling):
        computed = 0.1 * math.log(rope_scaling["factor"]) + 1
        return rope_scaling.get("attention_factor", 1.0) * computed


class attention_factor_must_be_there:
    """a missing attention_factor raises KeyError; take 1.0 where it is missing"""

    def _attention_factor(rope_scaling):
        return rope_scaling["attention_factor"]


class attention_factor_on_cosines_alone:
    """only the cosines are multiplied by attention_factor; multiply both tables"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None):
        if not _is_extended(end, rope_scaling):
            return _tables(_inverse_frequencies(dim, rope_base), end)
        cos, sin = _tables(yarn_freqs(dim, rope_base, rope_scaling), end)
        return cos * _attention_factor(rope_scaling), sin


class attention_factor_divides:
    """the tables are divided by attention_factor; multiply them by it"""

    def _attention_factor(rope_scaling):
        return 1 / rope_scaling.get("attention_factor", 1.0)


class attention_factor_squared:
    """the tables are multiplied by the square of attention_factor; multiply each by
    attention_factor itself, the score has it twice already"""

    def _attention_factor(rope_scaling):
        return rope_scaling.get("attention_factor", 1.0) ** 2


class attention_factor_in_plain_tables:
    """attention_factor multiplies the tables of short texts, too; it should only where YaRN is
    active"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None):
        active = _is_extended(end, rope_scaling)
        freqs = (
            yarn_freqs(dim, rope_base, rope_scaling)
            if active
            else _inverse_frequencies(dim, rope_base)
        )
        cos, sin = _tables(freqs, end)
        factor = 1.0 if rope_scaling is None else _attention_factor(rope_scaling)
        return cos * factor, sin * factor


class attention_factor_on_the_angles:
    """attention_factor multiplies the angles; multiply the finished cosines and sines by it"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None):
        if not _is_extended(end, rope_scaling):
            return _tables(_inverse_frequencies(dim, rope_base), end)
        freqs = yarn_freqs(dim, rope_base, rope_scaling)
        return _tables(freqs * _attention_factor(rope_scaling), end)


class settings_used_up:
    """attention_factor is removed from rope_scaling when it is read; leave the caller's dict as it
    is"""

    def _attention_factor(rope_scaling):
        return rope_scaling.pop("attention_factor", 1.0)


class attention_factor_written_into_the_settings:
    """attention_factor is written into the caller's rope_scaling where it is missing; leave the
    dict as it is"""

    def _attention_factor(rope_scaling):
        return rope_scaling.setdefault("attention_factor", 1.0)


class base_always_1e6:
    """the base is always 1e6; use the argument rope_base"""

    def _inverse_frequencies(dim, base):
        return 1.0 / 1e6 ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)


class exponent_without_two:
    """the exponent is i/dim; it should be 2i/dim"""

    def _inverse_frequencies(dim, base):
        return 1.0 / base ** (torch.arange(dim // 2, dtype=torch.float32) / dim)


class default_base_1e4:
    """the default of rope_base is 10000; it should be 1e6"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e4, rope_scaling=None):
        if not _is_extended(end, rope_scaling):
            return _tables(_inverse_frequencies(dim, rope_base), end)
        cos, sin = _tables(yarn_freqs(dim, rope_base, rope_scaling), end)
        factor = _attention_factor(rope_scaling)
        return cos * factor, sin * factor


class interleaved_tables:
    """each angle stands twice in a row in the tables; list all angles, then all of them again"""

    def _tables(frequencies, end):
        angles = torch.outer(torch.arange(end, dtype=torch.float32), frequencies)
        angles = angles.repeat_interleave(2, dim=-1)
        return angles.cos(), angles.sin()


class single_width_tables:
    """the tables have dim/2 columns; list every angle twice, which makes dim columns"""

    def _tables(frequencies, end):
        angles = torch.outer(torch.arange(end, dtype=torch.float32), frequencies)
        return angles.cos(), angles.sin()


class tables_swapped:
    """the two tables are returned in the order (sin, cos); it should be (cos, sin)"""

    def _tables(frequencies, end):
        angles = torch.outer(torch.arange(end, dtype=torch.float32), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.sin(), angles.cos()


class positions_from_one:
    """positions are counted from 1; count from 0, so that the first token is not turned"""

    def _tables(frequencies, end):
        angles = torch.outer(torch.arange(1, end + 1, dtype=torch.float32), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()


class float16_positions:
    """positions are created in float16, which cannot tell 2048 from 2049; create them in float32"""

    def _tables(frequencies, end):
        positions = torch.arange(end, dtype=torch.float16).float()
        angles = torch.outer(positions, frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()


class float64_frequencies:
    """yarn_freqs returns float64; it should return float32, whatever it computes in"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        low = _first_place(dim, rope_base, rope_scaling)
        high = _last_place(dim, rope_base, rope_scaling)
        ramp = _ramp(dim, low, high)
        freqs = _blended(_inverse_frequencies(dim, rope_base), ramp, rope_scaling["factor"])
        return freqs.double()


class frequencies_rounded_to_bfloat16:
    """the frequencies are rounded to bfloat16, which costs slow turns after a few hundred
    positions; keep them in float32"""

    def yarn_freqs(dim, rope_base, rope_scaling):
        low = _first_place(dim, rope_base, rope_scaling)
        high = _last_place(dim, rope_base, rope_scaling)
        ramp = _ramp(dim, low, high)
        freqs = _blended(_inverse_frequencies(dim, rope_base), ramp, rope_scaling["factor"])
        return freqs.bfloat16().float()


class tables_kept_without_the_settings:
    """tables are kept for the next call with the same dim, end and rope_base, whatever its
    rope_scaling says; make them anew, or keep them by all settings"""

    def precompute_freqs_cis(dim, end=32768, rope_base=1e6, rope_scaling=None, kept={}):
        key = dim, end, rope_base, rope_scaling is None
        if key not in kept:
            factor, freqs = 1.0, _inverse_frequencies(dim, rope_base)
            if _is_extended(end, rope_scaling):
                factor = _attention_factor(rope_scaling)
                freqs = yarn_freqs(dim, rope_base, rope_scaling)
            cos, sin = _tables(freqs, end)
            kept[key] = cos * factor, sin * factor
        return kept[key]
