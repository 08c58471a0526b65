"""Independent oracles for ex20: Qwen3's `generate` in transformers, and one row at a time."""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind_ref.config import MiniMindConfig
from minimind_ref.model import MiniMindForCausalLM

CONFIG = MiniMindConfig.tiny(num_hidden_layers=2)
PAD = 5
SEEDS = range(3)
BOTH_WAYS = pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no cache"])


@pytest.fixture(params=["minimind_ref.generate", "solutions.ex20_generate"])
def lm(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def ours(seed: int) -> MiniMindForCausalLM:
    torch.manual_seed(seed)
    model = MiniMindForCausalLM(CONFIG).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.3)
    return model


def qwen3(model: MiniMindForCausalLM) -> Any:
    pytest.importorskip("transformers")
    from transformers import Qwen3Config, Qwen3ForCausalLM

    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    same += ("num_key_value_heads", "head_dim", "intermediate_size", "rms_norm_eps")
    same += ("max_position_embeddings",)
    config = Qwen3Config(
        **{name: getattr(CONFIG, name) for name in same},
        rope_parameters={"rope_type": "default", "rope_theta": CONFIG.rope_theta},
        tie_word_embeddings=True,
        attn_implementation="sdpa",  # the eager one has NaN at padding in float64
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=PAD,
    )
    theirs = Qwen3ForCausalLM(config).double().eval()
    theirs.load_state_dict(model.state_dict(), strict=True)
    return theirs


def prompts(seed: int) -> tuple[Tensor, Tensor]:
    """Prompts of 7, 5, 2 and 1 tokens, padded on the left."""
    torch.manual_seed(100 + seed)
    mask = (torch.arange(7) >= torch.tensor([0, 2, 5, 6])[:, None]).long()
    ids = torch.randint(PAD + 1, CONFIG.vocab_size, (4, 7))
    return torch.where(mask == 1, ids, PAD), mask


def written(model: MiniMindForCausalLM, lm: ModuleType, steps: int, seed: int) -> Tensor:
    ids, mask = prompts(seed)
    text: Tensor = lm.generate(
        model, ids, attention_mask=mask, max_new_tokens=steps, temperature=0.0, pad_token_id=PAD
    )
    return text


@BOTH_WAYS
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_writes_the_same_greedily(lm: ModuleType, seed: int, use_cache: bool) -> None:
    model = ours(seed)
    theirs, (ids, mask) = qwen3(model), prompts(seed)
    shared = {"max_new_tokens": 12, "use_cache": use_cache, "pad_token_id": PAD}
    got = lm.generate(model, ids, attention_mask=mask, temperature=0.0, **shared)
    want = theirs.generate(ids, attention_mask=mask, do_sample=False, **shared)
    assert got.tolist() == want.tolist()


@BOTH_WAYS
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_finishes_the_same(lm: ModuleType, seed: int, use_cache: bool) -> None:
    model = ours(seed)
    theirs, (ids, mask) = qwen3(model), prompts(seed)
    free = written(model, lm, 12, seed)[:, 7:]
    for eos in {int(free[0, 3]), int(free[2, 0]), int(free[1, 6]), PAD}:
        for pad in (PAD, eos):
            shared = {"max_new_tokens": 12, "use_cache": use_cache, "pad_token_id": pad}
            shared |= {"eos_token_id": eos, "attention_mask": mask}
            got = lm.generate(model, ids, temperature=0.0, **shared)
            assert got.tolist() == theirs.generate(ids, do_sample=False, **shared).tolist()


@BOTH_WAYS
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_penalises_the_same(lm: ModuleType, seed: int, use_cache: bool) -> None:
    """Without padding: theirs penalises pad tokens, too."""
    model = ours(seed)
    theirs, (ids, _) = qwen3(model), prompts(seed)
    ids = ids[:, -1:].repeat(1, 3) + torch.arange(3)
    ids = ids.clamp(max=CONFIG.vocab_size - 1)
    for penalty in (1.3, 3.0):
        shared = {"max_new_tokens": 12, "use_cache": use_cache, "repetition_penalty": penalty}
        got = lm.generate(model, ids, temperature=0.0, **shared)
        want = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=PAD, **shared
        )
        assert got.tolist() == want.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_has_its_copies_in_the_same_order(lm: ModuleType, seed: int) -> None:
    """Draws with a top-k of 1 are greedy, and transformers then allows several texts."""
    model = ours(seed)
    theirs, (ids, mask) = qwen3(model), prompts(seed)
    shared = {"max_new_tokens": 6, "num_return_sequences": 3, "top_k": 1, "pad_token_id": PAD}
    got = lm.generate(model, ids, attention_mask=mask, **shared)
    want = theirs.generate(ids, attention_mask=mask, do_sample=True, **shared)
    assert got.tolist() == want.tolist()


@BOTH_WAYS
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("penalty", [1.0, 1.8])
def test_rows_write_what_they_write_alone(
    lm: ModuleType, seed: int, use_cache: bool, penalty: float
) -> None:
    model = ours(seed)
    ids, mask = prompts(seed)
    shared = {"max_new_tokens": 9, "temperature": 0.0, "repetition_penalty": penalty}
    shared["use_cache"] = use_cache
    together = lm.generate(model, ids, attention_mask=mask, **shared)
    for row, real, text in zip(ids, mask.bool(), together, strict=True):
        alone = lm.generate(model, row[real][None], **shared)
        assert text[7:].tolist() == alone[0, int(real.sum()) :].tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_text_is_that_of_a_loop_without_a_cache(lm: ModuleType, seed: int) -> None:
    model, told = ours(seed), []
    ids, mask = prompts(seed)
    text = lm.generate(
        model, ids, attention_mask=mask, max_new_tokens=5, temperature=0.0, on_token=told.append
    )
    for row, (prompt, real) in enumerate(zip(ids.tolist(), mask.sum(dim=1).tolist(), strict=True)):
        own = prompt[7 - real :]
        for step in range(5):
            own.append(int(model(torch.tensor([own])).logits[0, -1].argmax()))
            assert own[-1] == int(text[row, 7 + step]) == int(told[step][row])
