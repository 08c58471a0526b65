"""MiniMindConfig: MiniMind-3's defaults, every refusal by its field's name, and Qwen3's names."""

import dataclasses
import math
import subprocess
import sys

import pytest

from grader.course.syllabus import ROOT
from minimind_ref.config import MiniMindConfig

DEFAULTS = {
    "vocab_size": 6400,
    "hidden_size": 768,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 96,
    "intermediate_size": 2432,
    "max_position_embeddings": 32768,
    "rope_theta": 1e6,
    "rope_scaling": None,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "dropout": 0.0,
    "flash_attn": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "use_moe": False,
    "num_experts": 4,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 2432,
    "norm_topk_prob": True,
    "aux_loss_kind": "qwen",
    "router_aux_loss_coef": 5e-4,
    "n_shared_experts": 0,
}

POSITIVE = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "num_experts",
    "num_experts_per_tok",
]
DERIVED = ["head_dim", "intermediate_size", "moe_intermediate_size"]
SIZES = [*POSITIVE, *DERIVED]


def test_defaults_are_those_of_minimind_3() -> None:
    assert dataclasses.asdict(MiniMindConfig()) == DEFAULTS


@pytest.mark.parametrize(("hidden", "intermediate"), [(8, 64), (64, 256), (512, 1664), (768, 2432)])
def test_intermediate_size_is_pi_times_hidden_rounded_up(hidden: int, intermediate: int) -> None:
    config = MiniMindConfig(hidden_size=hidden, num_attention_heads=4)
    assert config.intermediate_size == intermediate >= math.pi * hidden
    assert config.intermediate_size % 64 == 0
    assert config.moe_intermediate_size == intermediate


def test_derived_sizes_give_way_to_given_ones() -> None:
    config = MiniMindConfig(head_dim=32, intermediate_size=100, moe_intermediate_size=50)
    assert [getattr(config, name) for name in DERIVED] == [32, 100, 50]
    only_dense = MiniMindConfig(intermediate_size=100)
    assert only_dense.moe_intermediate_size == 100


def test_replace_keeps_derived_sizes_until_0_asks_for_them_anew() -> None:
    wider = dataclasses.replace(MiniMindConfig(), hidden_size=1024)
    assert (wider.head_dim, wider.intermediate_size) == (96, 2432)
    anew = dataclasses.replace(wider, head_dim=0, intermediate_size=0)
    assert (anew.head_dim, anew.intermediate_size) == (128, 3264)


NAN, INFINITE = float("nan"), float("inf")

REFUSED = [
    *((name, bad, {}) for name in POSITIVE for bad in (0, -1, 2.0, "8", None, True)),
    *(
        (name, bad, {})
        for name in (*DERIVED, "n_shared_experts")
        for bad in (-1, 2.0, "8", None, True)
    ),
    *(("rope_theta", bad, {}) for bad in (0, -1.0, NAN, INFINITE)),
    *(
        (name, bad, {})
        for name in ("rms_norm_eps", "router_aux_loss_coef")
        for bad in (-1e-9, NAN, INFINITE)
    ),
    *(("dropout", bad, {}) for bad in (-0.1, 1, 1.5, NAN)),
    *(
        (name, bad, {})
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        for bad in (-1, 6400, 1.0, None)
    ),
    *(("aux_loss_kind", bad, {}) for bad in ("qwen3", "", None)),
    # Values that are right by themselves and impossible beside another.
    ("hidden_size", 100, {"num_attention_heads": 8}),
    ("num_key_value_heads", 3, {"num_attention_heads": 8}),
    ("num_key_value_heads", 16, {"num_attention_heads": 8}),
    ("head_dim", 7, {}),
    ("num_experts_per_tok", 5, {"num_experts": 4}),
    ("eos_token_id", 97, {"vocab_size": 97}),
]
SCALINGS = ["original_max_position_embeddings", "factor", "beta_fast", "beta_slow"]


@pytest.mark.parametrize(("name", "bad", "others"), REFUSED)
def test_an_impossible_value_is_refused_by_name(
    name: str, bad: object, others: dict[str, object]
) -> None:
    """The message starts with the field and holds what it got."""
    with pytest.raises(ValueError) as refusal:
        MiniMindConfig(**{name: bad, **others})
    assert str(refusal.value).startswith(f"MiniMindConfig.{name}: got {bad!r}, want ")


def test_a_derived_value_is_refused_like_a_given_one() -> None:
    with pytest.raises(ValueError, match=r"^MiniMindConfig\.head_dim: got 3, want an even number"):
        MiniMindConfig(hidden_size=24, num_attention_heads=8)


@pytest.mark.parametrize("key", SCALINGS)
@pytest.mark.parametrize("bad", [0, -1.0, NAN, INFINITE])
def test_an_impossible_rope_scaling_is_refused_by_its_key(key: str, bad: float) -> None:
    with pytest.raises(ValueError) as refusal:
        MiniMindConfig(rope_scaling={"factor": 4.0, key: bad})
    assert str(refusal.value).startswith(
        f"MiniMindConfig.rope_scaling[{key!r}]: got {bad!r}, want "
    )


def test_every_number_of_the_config_can_be_refused() -> None:
    """A field that is added without a check, or without a line above, shows up here."""
    switches = {"tie_word_embeddings", "flash_attn", "use_moe", "norm_topk_prob"}
    free = switches | {"rope_scaling", "hidden_act"}
    assert {name for name, _, _ in REFUSED} == set(DEFAULTS) - free


@pytest.mark.parametrize("value", [1, 5])
def test_the_ends_of_what_is_allowed_are_allowed(value: int) -> None:
    config = MiniMindConfig.tiny(num_experts_per_tok=value, dropout=0.0, rms_norm_eps=0)
    assert config.num_experts_per_tok == value
    assert MiniMindConfig(num_attention_heads=8, num_key_value_heads=8).num_key_value_heads == 8
    assert MiniMindConfig(vocab_size=97, eos_token_id=96).eos_token_id == 96


def test_tiny_has_no_two_sizes_alike() -> None:
    config = MiniMindConfig.tiny()
    sizes = {name: getattr(config, name) for name in SIZES}
    assert len(set(sizes.values())) == len(sizes), sizes
    assert 1 < config.num_key_value_heads < config.num_attention_heads
    assert config.num_attention_heads * config.head_dim != config.hidden_size
    assert 1 < config.num_experts_per_tok < config.num_experts


def test_tiny_shares_no_number_with_the_defaults() -> None:
    """What an answer takes from memory instead of from the config must come out wrong."""
    tiny, usual = MiniMindConfig.tiny(), MiniMindConfig()
    for name in (*SIZES, "rope_theta", "rms_norm_eps"):
        assert getattr(tiny, name) != getattr(usual, name), name


def test_tiny_takes_overrides() -> None:
    config = MiniMindConfig.tiny(use_moe=True, num_experts=7)
    assert (config.use_moe, config.num_experts, config.hidden_size) == (True, 7, 40)
    with pytest.raises(TypeError, match="n_experts"):
        MiniMindConfig.tiny(n_experts=7)


def test_a_config_is_a_value() -> None:
    """It cannot be changed, neither by assignment nor through the caller's dict, and hashes."""
    scaling = {"factor": 4.0}
    config = MiniMindConfig(rope_scaling=scaling)
    scaling["factor"] = 8.0
    assert config.rope_scaling == {"factor": 4.0}
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 1  # type: ignore[misc]
    assert config == MiniMindConfig(rope_scaling={"factor": 4.0})
    assert {config: "found"}[MiniMindConfig(rope_scaling={"factor": 4.0})] == "found"


def test_the_config_needs_the_standard_library_alone() -> None:
    """The grader sends this one file to the process of an answer."""
    file = ROOT / "minimind_ref" / "config.py"
    program = f"import sys, runpy; runpy.run_path({str(file)!r}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    foreign = {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names
    assert foreign <= {"__main__", "__mp_main__"}


DENSE_NAMES = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
]
MOE_NAMES = [
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "norm_topk_prob",
    "router_aux_loss_coef",
]


@pytest.mark.parametrize(
    ("config_name", "names"),
    [("Qwen3Config", DENSE_NAMES), ("Qwen3MoeConfig", [*DENSE_NAMES, *MOE_NAMES])],
)
def test_field_names_are_those_of_qwen3(config_name: str, names: list[str]) -> None:
    """A field that both have is spelled alike, so one config's values build the other."""
    theirs = getattr(pytest.importorskip("transformers"), config_name)
    # They keep any keyword as an attribute: only what stands there unasked is a field of theirs.
    # head_dim is read by the MoE model without being one of its config's fields.
    unasked = {name for name in names if hasattr(theirs(), name)} | {"head_dim"}
    assert unasked == set(names)
    ours = MiniMindConfig.tiny(norm_topk_prob=True, tie_word_embeddings=True)
    built = theirs(
        **{name: getattr(ours, name) for name in names},
        rope_parameters={"rope_type": "default", "rope_theta": ours.rope_theta},
    )
    assert {name: getattr(built, name) for name in names} == {
        name: getattr(ours, name) for name in names
    }


def test_fields_that_qwen3_spells_alike_are_compared() -> None:
    """Nothing that the two configs share is left out of the comparison above."""
    transformers = pytest.importorskip("transformers")
    shared = {name for name in DEFAULTS if hasattr(transformers.Qwen3MoeConfig(), name)}
    # The rotary settings stand in their `rope_parameters`; what was before is kept as an alias.
    assert shared - {"rope_theta", "rope_scaling"} <= {*DENSE_NAMES, *MOE_NAMES}
