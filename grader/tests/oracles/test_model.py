"""ex11's two answers against Qwen3 of transformers, and against figures counted by hand."""

import importlib
import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from minimind_ref.config import MiniMindConfig

CONFIG = MiniMindConfig.tiny(num_hidden_layers=2)


@pytest.fixture(params=["minimind_ref.model", "solutions.ex11_model"])
def lm(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def with_random_weights(model: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(7)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.3)
    return model


def qwen3(tied: bool) -> torch.nn.Module:
    pytest.importorskip("transformers")
    from transformers import Qwen3Config, Qwen3ForCausalLM

    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    same += ("num_key_value_heads", "head_dim", "intermediate_size", "rms_norm_eps")
    same += ("max_position_embeddings",)
    sizes = {name: getattr(CONFIG, name) for name in same}
    rope = {"rope_type": "default", "rope_theta": CONFIG.rope_theta}
    config = Qwen3Config(
        **sizes, rope_parameters=rope, tie_word_embeddings=tied, attn_implementation="eager"
    )
    return with_random_weights(Qwen3ForCausalLM(config).eval())


def ids_and_padding() -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    mask = torch.arange(9) >= torch.tensor([0, 2, 5])[:, None]
    return torch.randint(0, CONFIG.vocab_size, (3, 9)), mask.long()


@pytest.mark.parametrize("tied", [True, False])
def test_it_loads_the_weights_of_qwen3_and_gives_its_logits(lm: ModuleType, tied: bool) -> None:
    theirs = qwen3(tied)
    config = MiniMindConfig.tiny(num_hidden_layers=2, tie_word_embeddings=tied)
    ours = lm.MiniMindForCausalLM(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ids, _ = ids_and_padding()
    labels = ids.masked_fill(ids % 5 == 0, -100)
    want, got = theirs(ids, labels=labels), ours(ids, labels=labels)
    torch.testing.assert_close(got.logits, want.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.loss, want.loss, rtol=1e-5, atol=1e-5)
    kept = ours(ids, logits_to_keep=2).logits
    torch.testing.assert_close(kept, theirs(ids, logits_to_keep=2).logits, rtol=1e-4, atol=1e-4)


def test_qwen3_loads_its_weights(lm: ModuleType) -> None:
    ours = with_random_weights(lm.MiniMindForCausalLM(CONFIG).eval())
    theirs = qwen3(True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ids, mask = ids_and_padding()
    real = mask.bool()
    # Positions count padding here and not there; only their distances matter.
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    want = theirs(ids, attention_mask=mask, position_ids=places).logits
    torch.testing.assert_close(ours(ids, mask).logits[real], want[real], rtol=1e-4, atol=1e-4)


def test_writing_with_the_cache_is_writing_without(lm: ModuleType) -> None:
    model = with_random_weights(lm.MiniMindForCausalLM(CONFIG)).double().eval()
    ids, mask = ids_and_padding()
    out = model(ids, mask, use_cache=True, logits_to_keep=1)
    written = ids
    for _ in range(5):
        token = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        written, mask = torch.cat((written, token), 1), torch.cat((mask, mask[:, -1:]), 1)
        whole = model(written, mask).logits[:, -1]
        out = model(token, mask, out.past_key_values, use_cache=True, logits_to_keep=1)
        torch.testing.assert_close(out.logits[:, -1], whole)


@pytest.mark.parametrize(
    "moe, total, active", [(False, 63_912_192, 63_912_192), (True, 198_416_640, 63_936_768)]
)
def test_the_defaults_have_the_sizes_of_minimind(
    lm: ModuleType, moe: bool, total: int, active: int
) -> None:
    config = MiniMindConfig(use_moe=moe)
    with torch.device("meta"):
        model = lm.MiniMindForCausalLM(config)
    assert lm.count_parameters(model, config) == (total, active)


def test_the_size_is_a_sum_by_hand(lm: ModuleType) -> None:
    config = MiniMindConfig.tiny(use_moe=True, n_shared_experts=1, tie_word_embeddings=False)
    attention = 40 * (6 + 3 + 3 + 6) * 8 + 2 * 8
    expert = 3 * 40 * 28
    layer = attention + 2 * 40 + 5 * 40 + (5 + 1) * expert
    total = 2 * 97 * 40 + 4 * layer + 40
    model = lm.MiniMindForCausalLM(config)
    assert lm.count_parameters(model, config) == (total, total - 4 * 3 * expert)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("moe", [True, False])
def test_the_first_loss_is_that_of_guessing(lm: ModuleType, seed: int, moe: bool) -> None:
    torch.manual_seed(seed)
    config = MiniMindConfig(num_hidden_layers=2, hidden_size=256, use_moe=moe)
    model = lm.MiniMindForCausalLM(config)
    ids = torch.randint(0, config.vocab_size, (2, 100))
    assert model(ids, labels=ids).loss.item() == pytest.approx(math.log(6400), abs=0.3)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.15), name
