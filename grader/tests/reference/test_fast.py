"""The fast model and the decoder give what the model of the exercises gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minimind_ref.app import products
from minimind_ref.app.decoder import LAYOUTS, FastDecoder, fastest_layout
from minimind_ref.app.fast import FastForCausalLM
from minimind_ref.app.products import grouped_linear, linear
from minimind_ref.config import MiniMindConfig
from minimind_ref.model import CausalLMOutput, MiniMindForCausalLM
from tests.support import default_dtype

YARN = {
    "original_max_position_embeddings": 16,
    "factor": 4.0,
    "beta_fast": 8.0,
    "beta_slow": 1.0,
    "attention_factor": 1.2,
}

SHAPES = {
    "dense": {},
    "untied, written attention": {"tie_word_embeddings": False, "flash_attn": False},
    "experts": {"use_moe": True},
    "one expert and a shared one": {
        "use_moe": True,
        "num_experts_per_tok": 1,
        "n_shared_experts": 1,
        "aux_loss_kind": "sequence",
    },
}


def model(kind: type[MiniMindForCausalLM], dtype: torch.dtype, **settings: object):
    """A model whose weights are large enough, and norms unequal enough, that errors show."""
    with default_dtype(dtype):
        made = kind(MiniMindConfig.tiny(**settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * drawn if parameter.dim() == 1 else 0.1 * drawn)
    return made


def text(length: int = 23, rows: int = 3) -> Tensor:
    return torch.randint(0, 97, (rows, length), generator=torch.Generator().manual_seed(1))


def trained(one: MiniMindForCausalLM) -> tuple[CausalLMOutput, dict[str, Tensor]]:
    ids = text()
    labels = ids.clone()
    labels[0, 5:9] = -100
    out = one(ids, labels=labels)
    (out.loss + out.aux_loss).backward()
    return out, {name: parameter.grad for name, parameter in one.named_parameters()}


def error(got: Tensor, want: Tensor) -> float:
    got, want = got.detach(), want.detach()
    return float((got - want).abs().max() / want.abs().max().clamp(min=1e-12))


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_the_fast_model_is_the_model(settings):
    slow = model(MiniMindForCausalLM, torch.float64, **settings)
    fast = model(FastForCausalLM, torch.float64, **settings)
    assert list(fast.state_dict()) == list(slow.state_dict())
    assert error(fast(text()).logits, slow(text()).logits) < 1e-12
    got, gradients = trained(fast)
    want, wanted = trained(slow)
    assert error(got.loss, want.loss) < 1e-12
    assert error(got.aux_loss, want.aux_loss) < 1e-12
    assert error(got.hidden_states, want.hidden_states) < 1e-12
    for name, gradient in gradients.items():
        assert error(gradient, wanted[name]) < 1e-11, name


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
def test_the_loss_in_chunks_is_the_loss(settings, monkeypatch):
    """In float32 the head's gradients are formed in the forward pass, a few rows at a time."""
    monkeypatch.setattr("minimind_ref.app.fast._LOSS_ROWS", 7)
    got, gradients = trained(model(FastForCausalLM, torch.float32, **settings))
    want, wanted = trained(model(MiniMindForCausalLM, torch.float64, **settings))
    assert error(got.loss.double(), want.loss) < 1e-5
    assert got.logits.shape == (3, 0, 97)
    for name, gradient in gradients.items():
        assert error(gradient.double(), wanted[name]) < 1e-4, name


def test_nothing_counted_is_a_loss_of_zero():
    fast = model(FastForCausalLM, torch.float32)
    out = fast(text(), labels=torch.full_like(text(), -100))
    out.loss.backward()
    assert out.loss == 0
    assert all(not parameter.grad.any() for parameter in fast.parameters())


@pytest.mark.parametrize("native", [True, False], ids=["native", "by float32"])
def test_training_in_bfloat16_stays_near(native, monkeypatch):
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda kind: native)
    monkeypatch.setattr("minimind_ref.app.fast.multiplies_bfloat16", lambda kind: native)
    with torch.autocast("cpu", torch.bfloat16):
        got, gradients = trained(model(FastForCausalLM, torch.float32))
    want, wanted = trained(model(MiniMindForCausalLM, torch.float64))
    assert got.loss.dtype == torch.float32
    assert 1e-6 < error(got.loss.double(), want.loss) < 1e-2
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        assert error(gradient.double(), wanted[name]) < 0.1, name


@pytest.mark.parametrize("grouped", [False, True])
def test_products_in_bfloat16_without_its_instructions_are_those_with_them(grouped, monkeypatch):
    sizes = (3, 0, 5)
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(2))
    weights = [torch.randn(6, 16, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    results = []
    for native in (True, False):
        monkeypatch.setattr(products, "multiplies_bfloat16", lambda kind, native=native: native)
        inputs = [one.clone().requires_grad_() for one in (x, *weights)]
        with torch.autocast("cpu", torch.bfloat16):
            out = (
                grouped_linear(inputs[0], sizes, inputs[1:])
                if grouped
                else linear(inputs[0], inputs[1])
            )
        assert out.dtype == torch.bfloat16
        out.float().square().sum().backward()
        results.append([out.float(), *(one.grad for one in inputs if one.grad is not None)])
    assert len(results[0]) == (5 if grouped else 3)
    for got, want in zip(*results, strict=True):
        assert got.dtype == want.dtype
        assert error(got, want) < 0.02


def test_an_expert_without_tokens_has_a_gradient_of_zeros():
    weights = [torch.ones(2, 3, requires_grad=True) for _ in range(2)]
    grouped_linear(torch.ones(4, 3), (4, 0), weights).sum().backward()
    assert weights[0].grad.eq(4).all() and weights[1].grad.eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "settings", [*SHAPES.values(), {"rope_scaling": YARN}], ids=[*SHAPES, "YaRN"]
)
def test_the_decoder_reads_as_the_model_does(settings, dtype):
    fast = model(FastForCausalLM, torch.float32, **settings).to(dtype).eval()
    ids = text(length=40, rows=1)
    want = fast(ids).logits[0]
    decoder = FastDecoder(fast)
    decoder.prefill(ids[0, :9].tolist())  # another text, which is forgotten
    got = [decoder.prefill(ids[0, :20].tolist()), *map(decoder.step, ids[0, 20:].tolist())]
    if dtype == torch.bfloat16:  # rounding may lead a token to another expert
        assert (torch.stack(got) - want[19:]).abs().mean() < 0.02 * want.abs().max()
    else:
        assert (
            error(torch.stack(got), want[19:]) < {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]
        )


def test_the_decoders_memory_grows(monkeypatch):
    monkeypatch.setattr("minimind_ref.app.cache._FIRST_ROOM", 4)
    fast = model(FastForCausalLM, torch.float64).eval()
    ids = text(length=64, rows=1)
    decoder = FastDecoder(fast)
    got = [decoder.prefill(ids[0, :3].tolist()), *map(decoder.step, ids[0, 3:].tolist())]
    assert error(torch.stack(got), fast(ids).logits[0, 2:]) < 1e-6  # its tables are float32
    with pytest.raises(ValueError, match="max_position_embeddings, 64"):
        decoder.step(0)


@pytest.mark.parametrize("threads", [1, 3, 4])
def test_one_row_is_multiplied_alike_by_every_layout(monkeypatch, threads):
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    fast = model(FastForCausalLM, torch.float64).eval()
    rows = []
    for name in LAYOUTS:
        monkeypatch.setattr("minimind_ref.app.decoder.fastest_layout", lambda *_, name=name: name)
        rows.append(FastDecoder(fast).prefill([5]))
    assert error(rows[0], fast(torch.tensor([[5]])).logits[0, -1]) < 1e-6  # its tables are float32
    assert all(error(row, rows[0]) < 1e-12 for row in rows)


def test_the_fastest_layout_is_one_that_was_timed():
    weight = (96, 64, torch.float32)
    assert fastest_layout(*weight, torch.device("cpu")) in LAYOUTS
    assert fastest_layout(*weight, torch.device("cuda")) == "as it is"


def test_positions_beyond_the_context_are_refused():
    with pytest.raises(ValueError, match="max_position_embeddings, 64"):
        model(FastForCausalLM, torch.float32)(text(length=65))


def test_yarn_is_followed():
    plain, scaled = (
        model(FastForCausalLM, torch.float64, rope_scaling=scaling)(text()).logits
        for scaling in (None, YARN)
    )
    assert error(scaled, plain) > 1e-3
