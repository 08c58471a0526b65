"""ex12_yarn: facts about rotary tables for texts longer than those of the training."""

import math

import pytest
import torch

from tests.support import default_dtype


def place(beta, dim, base, original):
    """The pair that turns `beta` times within the original length, with its fraction."""
    return dim * math.log(original / (2 * math.pi * beta)) / (2 * math.log(base))


def is_clear(fraction):
    """Whether rounding up or down is beyond doubt, whatever the logarithms are computed in."""
    return 0.1 < fraction % 1 < 0.9


def number(rng, low, high):
    return round(float(rng.uniform(1, low=low, high=high)), 2)


def whole(rng, low, high):
    return int(rng.integers(int(low), int(high), 1))


def settings(rng, dims, bases, originals, fasts=(20, 40), slows=(0.6, 2.4)):
    """A random dim, base and rope_scaling; no place is so near to a pair that rounding matters."""
    while True:
        dim, base = 2 * whole(rng, *dims), number(rng, *bases)
        original = whole(rng, *originals)
        scaling = {
            "original_max_position_embeddings": original,
            "factor": number(rng, 2.5, 9),
            "beta_fast": number(rng, *fasts),
            "beta_slow": number(rng, *slows),
        }
        places = [place(scaling[beta], dim, base, original) for beta in ("beta_fast", "beta_slow")]
        if all(map(is_clear, places)):
            return {"dim": dim, "base": base, "scaling": scaling}


def some(rng, count, **ranges):
    return [settings(rng, **ranges) for _ in range(count)]


def short(rng, attention_factor=True):
    """Settings of a short original length, for tables of a few dozen rows."""
    ranges = {"dims": (7, 11), "bases": (60, 300), "originals": (31, 44)}
    case = settings(rng, **ranges, fasts=(2.2, 3.1), slows=(0.6, 0.9))
    if attention_factor:
        case["scaling"]["attention_factor"] = number(rng, 1.1, 1.5)
    return case


def frequencies(yarn, cases):
    """The frequencies in several settings, and each as a part of what it is without YaRN."""
    found = {}
    for index, case in enumerate(cases):
        freqs = yarn.yarn_freqs(case["dim"], case["base"], case["scaling"])
        pairs = torch.arange(case["dim"] // 2, dtype=torch.float64)
        found[f"frequencies {index}"] = freqs
        if freqs.shape == pairs.shape:
            part = freqs.double() * case["base"] ** (2 * pairs / case["dim"])
            found[f"frequencies {index} over base^(-2i/dim)"] = part
    return found


def tables(yarn, case, ends):
    """cos and sin of tables of several lengths."""
    found = {}
    for end in ends:
        made = yarn.precompute_freqs_cis(case["dim"], end, case["base"], case["scaling"])
        found[f"cos of {end} positions"], found[f"sin of {end} positions"] = made
    return found


def dtypes_beside_bfloat16(yarn, case, end):
    """The dtypes of frequencies and tables that are made while bfloat16 is the default."""
    with default_dtype(torch.bfloat16):
        freqs = yarn.yarn_freqs(case["dim"], case["base"], case["scaling"])
        cos, sin = yarn.precompute_freqs_cis(case["dim"], end, case["base"], case["scaling"])
    return {
        f"dtype of {name} where the default is bfloat16": str(made.dtype)
        for name, made in (("frequencies", freqs), ("cos", cos), ("sin", sin))
    }


def per_position(rows, magnitude=1.0):
    """What float32 angles may cost in row p of a table: 4e-7 · (1 + p)."""
    return 4e-7 * (1 + rows.double()[:, None]) * magnitude


def allowed_in(ends, magnitude=1.0):
    return {
        f"{table} of {end} positions": per_position(torch.arange(end), magnitude)
        for end in ends
        for table in ("cos", "sin")
    }


@pytest.mark.weight(4)
def test_a_ramp_leads_from_fast_to_slow_pairs(check, rng):
    """Fast pairs keep their frequency, slow ones are divided by factor, a ramp is between them."""
    usual = some(rng, 2, dims=(16, 28), bases=(9e3, 2e4), originals=(3000, 9000))
    # Even the first pair turns fewer than beta_fast times: low is 0 then.
    short = some(rng, 2, dims=(15, 25), bases=(60, 500), originals=(50, 90))
    check(frequencies, usual + short)


@pytest.mark.weight(2)
def test_the_ramp_ends_at_the_last_pair_at_the_latest(check, rng):
    """high is at most dim/2 - 1, where even the last pair turns more than beta_slow times."""
    # The place of beta_slow is not far behind the last pair in some, and beyond dim in others.
    near = some(rng, 2, dims=(10, 15), bases=(9e3, 12e3), originals=(65e3, 80e3), fasts=(60, 90))
    far = some(rng, 2, dims=(7, 10), bases=(5, 8), originals=(300, 500), fasts=(25, 30))
    check(frequencies, near + far)


@pytest.mark.weight(2)
def test_a_ramp_without_width_is_a_step(check, rng):
    """Where low is not below high, pairs up to low keep their frequency and all others change."""
    # Even the last pair turns more than beta_fast times: nothing changes.
    all_fast = some(rng, 2, dims=(4, 9), bases=(20, 40), originals=(20e3, 40e3))
    # Not even the first pair turns beta_slow times: low is 0 and high is 0, or below it.
    ranges = {"dims": (5, 9), "bases": (30, 60), "fasts": (8, 12), "slows": (3, 4)}
    almost_once = some(rng, 2, originals=(15, 18), **ranges)
    never = some(rng, 2, originals=(4, 6), **ranges)
    check(frequencies, all_fast + almost_once + never)


@pytest.mark.weight(4)
def test_longer_tables_turn_by_the_new_frequencies(check, rng):
    """Tables beyond the original length hold the angles of yarn_freqs, times attention_factor."""
    case = short(rng)
    scaling = case["scaling"]
    ends = [scaling["original_max_position_embeddings"] + more for more in (1, 30)]

    def with_and_without(yarn, case, ends, attention_factor):
        found = tables(yarn, case, ends)
        given = {"attention_factor": attention_factor}
        # A factor of 1 leaves the frequencies alone, but not the tables.
        for name, changes in (("multiplied", given), ("of factor 1", given | {"factor": 1.0})):
            other = tables(yarn, case | {"scaling": case["scaling"] | changes}, ends)
            found |= {f"{table}, {name}": numbers for table, numbers in other.items()}
        return found | dtypes_beside_bfloat16(yarn, case, ends[1])

    allowed = allowed_in(ends)
    for table, error in allowed_in(ends, scaling["attention_factor"]).items():
        allowed |= {f"{table}, multiplied": error, f"{table}, of factor 1": error}
    check(with_and_without, case, ends, scaling.pop("attention_factor"), allowed=allowed)


@pytest.mark.weight(2)
def test_tables_within_the_original_length_are_plain(check, rng):
    """Up to the original length the tables are those without YaRN, and not multiplied either."""
    case = short(rng)
    original = case["scaling"]["original_max_position_embeddings"]
    ends = [original, original - 7]
    check(tables, case, ends, allowed=allowed_in(ends))


@pytest.mark.weight(2)
def test_default_tables_reach_position_32767(check, rng):
    """By default there are 32768 positions and base 1e6, and no YaRN without rope_scaling."""
    rows = torch.cat((rng.integers(0, 32767, 255), torch.tensor([32767])))

    def sampled(yarn, dim, scaling, rows):
        found = {}
        for name, given in (("plain", {}), ("longer", {"rope_scaling": scaling})):
            cos, sin = yarn.precompute_freqs_cis(dim, **given)
            found |= {
                f"rows, {name}": len(cos),
                f"cos, {name}": cos[rows],
                f"sin, {name}": sin[rows],
            }
        return found

    case = settings(rng, dims=(9, 13), bases=(1e6, 1e6), originals=(2000, 4000))
    names = [f"{table}, {name}" for table in ("cos", "sin") for name in ("plain", "longer")]
    allowed = dict.fromkeys(names, per_position(rows))
    check(sampled, case["dim"], case["scaling"], rows, allowed=allowed)


def test_the_settings_are_left_as_they_were(check, rng):
    """Neither function changes rope_scaling, and keys that mean nothing here do not matter."""
    cases = [short(rng, attention_factor=False), short(rng)]
    cases[1]["scaling"] |= {"type": "linear", "rope_theta": number(rng, 1e3, 1e4)}

    def afterwards(yarn, cases):
        found = {}
        for index, case in enumerate(cases):
            scaling = case["scaling"]
            found |= frequencies(yarn, [case]) | tables(yarn, case, [64 + index])
            found[f"rope_scaling {index} after both calls"] = scaling
        return found

    magnitude = cases[1]["scaling"]["attention_factor"]
    check(afterwards, cases, allowed=allowed_in([64]) | allowed_in([65], magnitude))
