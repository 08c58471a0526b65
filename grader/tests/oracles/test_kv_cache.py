"""ex05's two answers against code that shares nothing with them: plain loops, and transformers."""

import importlib
import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from minimind_ref.config import MiniMindConfig

ANSWERS = ["minimind_ref.kv_cache", "solutions.ex05_kv_cache"]
CONFIG = MiniMindConfig.tiny()
WIDTH, GROUP = CONFIG.head_dim, CONFIG.num_attention_heads // CONFIG.num_key_value_heads


@pytest.fixture(params=ANSWERS)
def kv(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture(autouse=True)
def double() -> object:
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def layer_of(kv: ModuleType, flash: bool) -> torch.nn.Module:
    layer = kv.Attention(MiniMindConfig.tiny(flash_attn=flash))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0.5 if parameter.dim() == 1 else 0.0, 0.3)
    return layer


def angles(position: int) -> Tensor:
    pairs = range(WIDTH // 2)
    return torch.tensor([position * CONFIG.rope_theta ** (-2 * i / WIDTH) for i in pairs])


def tables(count: int) -> tuple[Tensor, Tensor]:
    rows = torch.stack([angles(position).repeat(2) for position in range(count)])
    return rows.cos(), rows.sin()


def head(vector: Tensor, weight: Tensor, position: int) -> Tensor:
    """One query or key: normalised, then turned as complex numbers."""
    normed = vector / math.sqrt(vector.square().sum() / WIDTH + CONFIG.rms_norm_eps) * weight
    pairs = torch.complex(normed[: WIDTH // 2], normed[WIDTH // 2 :])
    turned = pairs * torch.exp(1j * angles(position))
    return torch.cat((turned.real, turned.imag))


def attention_in_loops(layer: torch.nn.Module, x: Tensor, pads: list[int]) -> Tensor:
    """The layer's outputs, one query head of one token at a time; zeros at padding."""
    w = {name.removesuffix(".weight"): value.detach() for name, value in layer.named_parameters()}
    out = torch.zeros(x.shape)
    for b, row in enumerate(x):
        q, k, v = ([(w[f"{n}_proj"] @ token).split(WIDTH) for token in row] for n in "qkv")
        for place in range(pads[b], len(row)):
            mixed = []
            for h, vector in enumerate(q[place]):
                query, shared = head(vector, w["q_norm"], place), h // GROUP
                grown, total = 0.0, torch.zeros(WIDTH)
                for t in range(pads[b], place + 1):
                    score = query @ head(k[t][shared], w["k_norm"], t) / math.sqrt(WIDTH)
                    grown += math.exp(score)
                    total += math.exp(score) * v[t][shared]
                mixed.append(total / grown)
            out[b, place] = w["o_proj"] @ torch.cat(mixed)
    return out


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("sizes", [(7,), (1,) * 7, (3, 4)])
@pytest.mark.parametrize("pads", [None, [0, 2, 4]])
def test_every_chunking_is_the_loops(
    kv: ModuleType, flash: bool, sizes: tuple[int, ...], pads: list[int] | None
) -> None:
    layer, x, (cos, sin) = layer_of(kv, flash), torch.randn(3, 7, CONFIG.hidden_size), tables(7)
    mask = None if pads is None else torch.arange(7) >= torch.tensor(pads)[:, None]
    past, outs, first = None, [], 0
    for size in sizes:
        last = first + size
        seen = None if mask is None else mask[:, :last]
        rows = cos[first:last], sin[first:last]
        out, past = layer(x[:, first:last], rows, past, True, seen)
        outs.append(out)
        first = last
    want = attention_in_loops(layer, x, pads or [0, 0, 0])
    real = torch.ones(3, 7, dtype=torch.bool) if mask is None else mask
    torch.testing.assert_close(torch.cat(outs, 1)[real], want[real], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("flash", [True, False])
def test_it_is_the_attention_of_qwen3(kv: ModuleType, flash: bool) -> None:
    pytest.importorskip("transformers")
    from transformers import DynamicCache, Qwen3Config
    from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention

    names = ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim")
    sizes = {name: getattr(CONFIG, name) for name in (*names, "rms_norm_eps")}
    config = Qwen3Config(**sizes, attn_implementation="eager", num_hidden_layers=1)
    theirs, ours = Qwen3Attention(config, layer_idx=0).eval(), layer_of(kv, flash)
    theirs.load_state_dict(ours.state_dict())
    x, (cos, sin) = torch.randn(2, 6, CONFIG.hidden_size), tables(6)
    cache, past = DynamicCache(), None
    for first, last in ((0, 4), (4, 5), (5, 6)):
        rows = cos[first:last], sin[first:last]
        hidden = torch.full((last - first, last), -torch.inf).triu(first + 1)
        batched = tuple(table.expand(2, -1, -1) for table in rows)
        want, _ = theirs(x[:, first:last], batched, hidden[None, None], cache)
        out, past = ours(x[:, first:last], rows, past, True)
        torch.testing.assert_close(out, want, rtol=1e-5, atol=1e-5)  # they round to float32
    keys = cache.layers[0].keys.transpose(1, 2)
    torch.testing.assert_close(past[0], keys, rtol=1e-5, atol=1e-5)


def test_a_static_cache_is_a_list_that_is_joined(kv: ModuleType) -> None:
    cache, parts, sizes = kv.StaticCache(2, 9, 3, 4, torch.float64, "cpu"), [], [2, 4, 1, 5, 2, 3]
    for size in sizes * 3:
        if sum(part.shape[1] for part in parts) + size > 9:
            with pytest.raises(ValueError):
                cache.append(torch.randn(2, size, 3, 4), torch.randn(2, size, 3, 4))
            cache.reset()
            parts = []
        parts.append(torch.randn(2, size, 3, 4))
        k, v = cache.append(parts[-1], -parts[-1])
        assert torch.equal(k, torch.cat(parts, 1)) and torch.equal(v, -k)
        assert cache.length == k.shape[1]
