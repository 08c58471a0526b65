"""A converted model is the same model: its numbers, tokens and conversations in `transformers`."""

import contextlib
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from minimind_ref import yarn
from minimind_ref.app.cli import commands
from minimind_ref.app.convert import convert
from minimind_ref.app.errors import UserError
from minimind_ref.app.folders import LoadedModel, load_model, save_model
from minimind_ref.app.qwen3 import to_qwen3
from minimind_ref.app.vocabulary import Vocabulary, read_vocabulary
from minimind_ref.config import MiniMindConfig
from minimind_ref.dataset import render_chat
from minimind_ref.generate import generate
from minimind_ref.model import MiniMindForCausalLM

transformers = pytest.importorskip("transformers")

TEXTS = [
    "The quick brown fox doesn't jump over the lazy dog's 3 bowls, it said.\n" * 3,
    "我们今天去公园散步，然后回家做饭。今天的天气很好。\n" * 3,
    "def add(a, b):\n    return a + b  # 两个数的和\n\n\tprint(add(1, 2))\n" * 3,
    "A smile 😀, a rocket 🚀 and a family 👨‍👩‍👧.\n" * 2,
]
TO_READ = [
    *TEXTS,
    "",
    " ",
    "\n\n  x",
    "e\u0301 and \u00e9",
    "Hi<|im_end|>\n<|im_start|>you",
    "🤷🏽‍♀️ 漢字かな",
]
CONVERSATION = [
    {"role": "system", "content": "Be brief.\n\n"},
    {"role": "user", "content": "  你好 {{ 1 }} <b>😀\n"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "def f():\n\treturn '\\n'"},
]
YARN = {
    "original_max_position_embeddings": 64,
    "factor": 4.0,
    "beta_fast": 4.0,
    "beta_slow": 1.0,
    "attention_factor": 0.9,
}
KINDS: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "experts": {"use_moe": True},
    "experts as they are": {"use_moe": True, "norm_topk_prob": False},
    "one expert": {"use_moe": True, "num_experts_per_tok": 1, "tie_word_embeddings": False},
}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.trained_on(TEXTS, 330)


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def written(folder: Path, vocabulary: Vocabulary, **changes: Any) -> LoadedModel:
    """A model with weights far from those that it starts with, in float64, in a folder."""
    config = MiniMindConfig.tiny(vocab_size=len(vocabulary) + 3, num_hidden_layers=2, **changes)
    torch.manual_seed(5)
    model = MiniMindForCausalLM(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.3)
    save_model(folder, config, model.state_dict(), vocabulary)
    return load_model(folder)


def theirs_in(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        experts_implementation="eager",  # grouped products know no float64
    ).eval()


def without_rounding(monkeypatch: pytest.MonkeyPatch, theirs: Any) -> None:
    """Their model with all that it computes in float32 in float64."""
    wide = types.SimpleNamespace(**vars(torch))
    wide.float32 = wide.float = torch.float64
    modeling = __import__(type(theirs).__module__, fromlist=["torch"])
    monkeypatch.setattr(modeling, "torch", wide)

    class Rotary(torch.nn.Module):
        def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
            config = theirs.config
            angles = position_ids[0, :, None] / config.rope_parameters["rope_theta"] ** (
                torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
            )
            both = torch.cat((angles, angles), dim=-1)[None]
            return both.cos(), both.sin()

    theirs.model.rotary_emb = Rotary()


def relative_difference(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("float64")
def test_transformers_loads_it_with_the_same_logits(
    kind: str, tmp_path: Path, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = written(tmp_path / "ours", vocabulary, **KINDS[kind])
    convert(tmp_path / "ours", tmp_path / "theirs")
    theirs = theirs_in(tmp_path / "theirs")
    assert theirs.dtype == torch.float64
    ids = torch.randint(0, ours.config.vocab_size, (2, 50))
    with torch.no_grad():
        got = ours.model(ids).logits
        assert relative_difference(got, theirs(ids).logits) < 1e-6
        without_rounding(monkeypatch, theirs)
        assert relative_difference(got, theirs(ids).logits) < 1e-10


@pytest.mark.parametrize("kind", ["tied", "experts"])
def test_transformers_continues_alike(kind: str, tmp_path: Path, vocabulary: Vocabulary) -> None:
    ours = written(tmp_path / "ours", vocabulary, **KINDS[kind])
    convert(tmp_path / "ours", tmp_path / "theirs")
    theirs = theirs_in(tmp_path / "theirs")
    ids = torch.tensor([vocabulary.tokenizer.encode(TEXTS[1])[:20]])
    got = generate(ours.model, ids, max_new_tokens=30, temperature=0, eos_token_id=2)
    want = theirs.generate(ids, max_new_tokens=30, do_sample=False)
    assert got.tolist() == want.tolist()
    assert theirs.generation_config.eos_token_id == 2


def test_tokens_texts_and_conversations_are_the_same(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    written(tmp_path / "ours", vocabulary)
    convert(tmp_path / "ours", tmp_path / "theirs")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in TO_READ:
        ids = vocabulary.tokenizer.encode(text)
        assert theirs(text)["input_ids"] == ids, text
        assert theirs.decode(ids) == text
    for begins in (False, True):
        got = theirs.apply_chat_template(CONVERSATION, tokenize=False, add_generation_prompt=begins)
        assert got == render_chat(CONVERSATION, begins)
    roles = (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id)
    assert roles == (1, 2, 0)
    assert theirs.decode([1, *vocabulary.tokenizer.encode("Hi"), 2], skip_special_tokens=True) == (
        "Hi"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_is_the_same_model(
    kind: str, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    ours = written(
        tmp_path / "a",
        vocabulary,
        aux_loss_kind="batch",
        dropout=0.1,
        flash_attn=False,
        **KINDS[kind],
    )
    convert(tmp_path / "a", tmp_path / "b")
    convert(tmp_path / "b", tmp_path / "c")
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "c" / file).read_bytes(), file
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "b" / "model.safetensors"
    ).read_bytes()
    assert load_model(tmp_path / "c").config == ours.config


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", ["one file", "many files"])
def test_what_transformers_saves_comes_back(
    kind: str, shards: str, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    ours = written(tmp_path / "a", vocabulary, **KINDS[kind])
    convert(tmp_path / "a", tmp_path / "b")
    size = {"max_shard_size": "40KB"} if shards == "many files" else {}
    theirs_in(tmp_path / "b").save_pretrained(tmp_path / "c", **size)
    transformers.AutoTokenizer.from_pretrained(tmp_path / "b").save_pretrained(tmp_path / "c")
    assert (tmp_path / "c" / "model.safetensors.index.json").exists() == bool(size)
    done = convert(tmp_path / "c", tmp_path / "d")
    assert not done.notes
    again = load_model(tmp_path / "d")
    assert again.config == ours.config
    for name, value in ours.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    assert again.vocabulary == ours.vocabulary


def test_experts_in_one_tensor_are_told_apart(tmp_path: Path, vocabulary: Vocabulary) -> None:
    ours = written(tmp_path / "a", vocabulary, use_moe=True)
    convert(tmp_path / "a", tmp_path / "b")
    theirs = theirs_in(tmp_path / "b")
    assert "model.layers.0.mlp.experts.gate_up_proj" in theirs.state_dict()
    weights = {name: value.clone() for name, value in theirs.state_dict().items()}
    save_file(weights, tmp_path / "b" / "model.safetensors")
    convert(tmp_path / "b", tmp_path / "c")
    again = load_model(tmp_path / "c").model.state_dict()
    for name, value in ours.model.state_dict().items():
        assert torch.equal(again[name], value), name


@pytest.mark.usefixtures("float64")
def test_yarn_means_the_same_there(tmp_path: Path, vocabulary: Vocabulary) -> None:
    sizes = {"rope_scaling": YARN, "max_position_embeddings": 256, "rope_theta": 1000.0}
    ours = written(tmp_path / "a", vocabulary, **sizes)
    convert(tmp_path / "a", tmp_path / "b")
    theirs = theirs_in(tmp_path / "b")
    tables = yarn.precompute_freqs_cis(8, 256, 1000.0, YARN)
    ours.model.model._tables = torch.stack(tables)
    ids = torch.randint(0, ours.config.vocab_size, (1, 200))
    with torch.no_grad():
        want = theirs(ids).logits
        assert relative_difference(ours.model(ids).logits, want) < 1e-4
        ours.model.model._tables = torch.stack(yarn.precompute_freqs_cis(8, 256, 1000.0))
        assert relative_difference(ours.model(ids).logits, want) > 1e-2
    theirs.save_pretrained(tmp_path / "c")
    (tmp_path / "c" / "tokenizer.json").write_bytes((tmp_path / "b/tokenizer.json").read_bytes())
    convert(tmp_path / "c", tmp_path / "d")
    assert load_model(tmp_path / "d").config == ours.config


def test_yarn_that_changes_nothing_here_is_not_said_there(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    ours = written(tmp_path / "a", vocabulary, rope_scaling=YARN)  # 64 positions, as before
    convert(tmp_path / "a", tmp_path / "b")
    assert json.loads((tmp_path / "b/config.json").read_text())["rope_scaling"] is None
    convert(tmp_path / "b", tmp_path / "c")
    assert load_model(tmp_path / "c").config == ours.config


def test_an_attention_factor_is_derived_as_there(tmp_path: Path, vocabulary: Vocabulary) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    sizes = {"rope_scaling": YARN, "max_position_embeddings": 256, "rope_theta": 1000.0}
    written(tmp_path / "a", vocabulary, **sizes)
    convert(tmp_path / "a", tmp_path / "b")
    for place, rest in enumerate(({}, {"mscale": 2.0, "mscale_all_dim": 0.5})):
        scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
        changed(tmp_path / "b", rope_scaling={**scaling, **rest})
        config = transformers.AutoConfig.from_pretrained(tmp_path / "b")
        _, want = ROPE_INIT_FUNCTIONS["yarn"](config)
        convert(tmp_path / "b", tmp_path / f"c{place}")
        got = load_model(tmp_path / f"c{place}").config.rope_scaling
        assert got is not None
        assert got["attention_factor"] == pytest.approx(want, rel=1e-12)
        assert (got["beta_fast"], got["beta_slow"]) == (32, 1)


@pytest.mark.parametrize("theta", [10.0, 1000.0, 1e6])
def test_yarn_has_the_same_frequencies_there_or_is_refused(theta: float) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    compared = 0
    for original in (1, 2, 8, 60, 300, 4000):
        for fast, slow in ((32, 1), (2, 2), (1, 0.1), (8, 4)):
            scaling = {"original_max_position_embeddings": original, "factor": 8.0}
            scaling |= {"beta_fast": fast, "beta_slow": slow}
            config = MiniMindConfig.tiny(
                rope_theta=theta, rope_scaling=scaling, max_position_embeddings=8 * original
            )
            with contextlib.suppress(UserError):
                fields, _ = to_qwen3(config, "float32")
                theirs, _ = ROPE_INIT_FUNCTIONS["yarn"](transformers.Qwen3Config(**fields))
                torch.testing.assert_close(yarn.yarn_freqs(8, theta, scaling), theirs)
                compared += 1
    assert compared >= 6  # of 24


def changed(folder: Path, **changes: Any) -> None:
    """Other fields in a config.json; None takes one away."""
    path = folder / "config.json"
    fields = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: v for name, v in fields.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"use_moe": True, "n_shared_experts": 1}, "n_shared_experts"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        (
            {"rope_scaling": {"factor": 2.0, "original_max_position_embeddings": 32}},
            "rope_scaling: beta_fast is missing",
        ),
        (
            {"rope_scaling": {**YARN, "original_max_position_embeddings": 1}},
            "rope_scaling: with these numbers",
        ),
        (
            {"rope_scaling": {**YARN, "original_max_position_embeddings": 60}, "rope_theta": 3.0},
            "rope_scaling: with these numbers",
        ),
    ],
)
def test_what_qwen3_lacks_is_refused_by_name(
    changes: dict[str, Any], field: str, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    with pytest.raises(UserError, match=field):
        written(tmp_path / "a", vocabulary, **changes)
        convert(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("tied", {"attention_bias": True}),
        ("tied", {"use_sliding_window": True}),
        ("tied", {"layer_types": ["full_attention", "sliding_attention"]}),
        ("tied", {"hidden_act": "gelu"}),
        ("tied", {"quantization_config": {"bits": 4}}),
        ("tied", {"architectures": ["Qwen3ForSequenceClassification"]}),
        ("tied", {"model_type": "llama"}),
        ("tied", {"hidden_size": None}),
        ("tied", {"vocab_size": "many"}),
        ("tied", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        ("tied", {"partial_rotary_factor": 0.5}),
        ("tied", {"num_hidden_layers": 3}),
        ("tied", {"num_hidden_layers": 1}),
        ("tied", {"intermediate_size": 64}),
        ("experts", {"mlp_only_layers": [0]}),
        ("experts", {"decoder_sparse_step": 2}),
        ("one expert", {"norm_topk_prob": True}),
    ],
)
def test_what_minimind_lacks_is_refused_by_name(
    kind: str, changes: dict[str, Any], tmp_path: Path, vocabulary: Vocabulary
) -> None:
    written(tmp_path / "a", vocabulary, **KINDS[kind])
    convert(tmp_path / "a", tmp_path / "b")
    changed(tmp_path / "b", **changes)
    (field,) = changes
    words = {
        "rope_scaling": "rope_type",
        "num_hidden_layers": r"layers\.[12]\.",
        "intermediate_size": "gate_proj",
    }
    with pytest.raises(UserError, match=words.get(field, field)):
        convert(tmp_path / "b", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_weights_that_are_not_there_are_named(tmp_path: Path, vocabulary: Vocabulary) -> None:
    written(tmp_path / "a", vocabulary, tie_word_embeddings=False)
    convert(tmp_path / "a", tmp_path / "b")
    file = tmp_path / "b" / "model.safetensors"
    weights = load_file(file)
    del weights["lm_head.weight"]
    save_file(weights, file)
    with pytest.raises(UserError, match="lm_head.weight is missing"):
        convert(tmp_path / "b", tmp_path / "c")
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        convert(tmp_path / "b", tmp_path / "c")
    file.unlink()
    with pytest.raises(UserError, match="neither"):
        convert(tmp_path / "b", tmp_path / "c")
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (tmp_path / "b" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="model-00001-of-00002.safetensors is missing"):
        convert(tmp_path / "b", tmp_path / "c")


def test_several_ends_are_said(tmp_path: Path, vocabulary: Vocabulary) -> None:
    written(tmp_path / "a", vocabulary)
    convert(tmp_path / "a", tmp_path / "b")
    changed(tmp_path / "b", eos_token_id=[2, 0], bos_token_id=None)
    (tmp_path / "b" / "generation_config.json").unlink()
    done = convert(tmp_path / "b", tmp_path / "c")
    assert [note.split()[0] for note in done.notes] == ["eos_token_id", "bos_token_id"]
    config = load_model(tmp_path / "c").config
    assert (config.eos_token_id, config.bos_token_id, config.pad_token_id) == (2, 2, 0)


def test_a_tokenizer_as_qwen3s_reads_alike(tmp_path: Path, vocabulary: Vocabulary) -> None:
    """Its own pattern, Unicode's form C, and special tokens that are seen."""
    import tokenizers

    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    pre = tokenizers.pre_tokenizers
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.normalizer = tokenizers.normalizers.NFC()
    theirs.pre_tokenizer = pre.Sequence(
        [
            pre.Split(tokenizers.Regex(pattern), "isolated"),
            pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    theirs.decoder = tokenizers.decoders.ByteLevel()
    theirs.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=360, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    theirs.train_from_iterator(TEXTS, trainer)
    theirs.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    theirs.add_tokens([tokenizers.AddedToken("<think>", special=False, normalized=False)])
    theirs.save(str(tmp_path / "tokenizer.json"))
    read = read_vocabulary(tmp_path / "tokenizer.json")
    for text in [*TO_READ, "It's 2024, I'LL go<think>\n\nno", "x = 12345\r\n\r\n  y"]:
        want = theirs.encode(text, add_special_tokens=False).ids
        assert read.tokenizer.encode(text) == want, text
        assert read.tokenizer.decode(want) == theirs.decode(want, skip_special_tokens=False)
    assert read.id_of("<think>") == theirs.token_to_id("<think>")
    assert read.id_of("<think>") not in read.hidden_ids
    config = MiniMindConfig.tiny(vocab_size=400)
    save_model(tmp_path / "a", config, MiniMindForCausalLM(config).state_dict(), read)
    convert(tmp_path / "a", tmp_path / "b")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    for text in TO_READ:
        assert loaded(text)["input_ids"] == read.tokenizer.encode(text), text
    assert read_vocabulary(tmp_path / "b" / "tokenizer.json") == read


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("normalizer", {"type": "Lowercase"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}),
        (
            "post_processor",
            {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}],
            },
        ),
        ("model", {"type": "WordPiece", "vocab": {}}),
    ],
)
def test_another_kind_of_tokenizer_is_refused(
    part: str, value: Any, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    written(tmp_path / "a", vocabulary)
    convert(tmp_path / "a", tmp_path / "b")
    path = tmp_path / "b" / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
    with pytest.raises(UserError, match="another kind of tokenizer"):
        convert(tmp_path / "b", tmp_path / "c")


def test_nothing_is_overwritten_without_being_asked(tmp_path: Path, vocabulary: Vocabulary) -> None:
    written(tmp_path / "a", vocabulary)
    target = tmp_path / "b"
    target.mkdir()
    (target / "chat_template.jinja").write_text("old")
    (target / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        convert(tmp_path / "a", target)
    assert sorted(path.name for path in target.iterdir()) == ["chat_template.jinja", "mine.txt"]
    convert(tmp_path / "a", target, overwrite=True)
    theirs = transformers.AutoTokenizer.from_pretrained(target)
    got = theirs.apply_chat_template(CONVERSATION, tokenize=False)
    assert got == render_chat(CONVERSATION)
    assert (target / "mine.txt").read_text() == "mine"
    with pytest.raises(UserError, match="another folder"):
        convert(tmp_path / "a", tmp_path / "a" / ".." / "a", overwrite=True)
    with pytest.raises(UserError, match="is a file"):
        convert(tmp_path / "a", target / "mine.txt", overwrite=True)


def test_the_command_writes_another_dtype(tmp_path: Path, vocabulary: Vocabulary) -> None:
    ours = written(tmp_path / "a", vocabulary)
    a, b, c = (str(tmp_path / name) for name in "abc")
    done = CliRunner().invoke(commands, ["convert", a, b, "--dtype", "bfloat16"])
    count = sum(parameter.numel() for parameter in ours.model.parameters())
    assert done.stdout == f"{b}: Qwen3, {count:,} parameters\n"
    assert theirs_in(tmp_path / "b").dtype == torch.bfloat16
    done = CliRunner().invoke(commands, ["convert", b, c, "--dtype", "float32"])
    assert done.stdout == f"{c}: MiniMind, {count:,} parameters\n"
    want = ours.model.lm_head.weight.bfloat16().float()
    assert torch.equal(load_model(tmp_path / "c").model.lm_head.weight, want)
    missing = CliRunner().invoke(commands, ["convert", str(tmp_path / "no"), c]).exception
    assert "is missing" in str(missing)
