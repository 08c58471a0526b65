"""A converted model is the same model: its numbers, tokens and conversations in `transformers`."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from minimind_ref import yarn
from minimind_ref.app.convert import convert
from minimind_ref.app.folders import LoadedModel, load_model, save_model
from minimind_ref.app.vocabulary import Vocabulary
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
