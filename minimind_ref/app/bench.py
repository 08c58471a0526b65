"""How fast the reference is: beside transformers and MiniMind, and beside what the machine can do.

Every comparison runs in one process, its contestants in turn. The machine's own rates, of products
and of reading memory, are measured in the same run, and results are given as fractions of them.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..config import MiniMindConfig
from ..loss import causal_lm_loss
from ..moe import MoEFeedForward
from .decoder import FastDecoder, FastMixture
from .errors import UserError
from .fast import FastForCausalLM, head_loss, mixture
from .memory import keep_freed_memory, peak_bytes
from .timing import Row, medians

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often.

    Attributes:
        device: where.
        rounds: of each comparison.
        layers: of the models.
        train: rows and tokens of a training step.
        lengths: tokens in the cache when a token is written.
        moe_tokens: of a batch for the experts.
        loss: tokens and vocabulary of the loss.
        product: rows and columns of the matrices that tell the machine's rate.
        minimind: a checkout of MiniMind, or None.
    """

    device: torch.device
    rounds: int = 5
    layers: int = 8
    train: tuple[int, int] = (4, 340)
    lengths: tuple[int, ...] = (64, 256, 1024, 4096)
    moe_tokens: int = 1360
    loss: tuple[int, int] = (4096, 6400)
    product: int = 2048
    minimind: Path | None = None

    def quick(self) -> Plan:
        """The same questions, asked of smaller models and less often."""
        return replace(
            self,
            rounds=2,
            layers=2,
            train=(1, 128),
            lengths=(64, 1024),
            moe_tokens=128,
            loss=(512, 6400),
            product=512,
        )


def rows(plan: Plan, parts: tuple[str, ...] | None = None) -> Iterator[Row]:
    """All figures of some of the parts in `PARTS`, each as soon as it is known."""
    keep_freed_memory()
    rates: dict[str, float] = {}
    for row in _machine(plan):
        rates[row.name] = row.value
        yield row
    for name, measure in PARTS.items():
        if parts is None or name in parts:
            yield from measure(plan, rates)


def _machine(plan: Plan) -> Iterator[Row]:
    """What this machine can do at best: products, and reading memory."""
    size = plan.product
    for name, dtype in DTYPES.items():
        a = torch.randn(size, size).to(plan.device, dtype)
        orders = {
            "a @ a": partial(torch.matmul, a, a),
            "a @ a.t()": partial(torch.matmul, a, a.t()),
        }
        seconds = min(medians(orders, plan.rounds, plan.device).values())
        yield Row(f"machine {name} product", 2 * size**3 / seconds / 1e9, "GFLOP/s")
    lot = torch.randn(2**25, device=plan.device)
    target = torch.empty_like(lot)
    ways = {"read": lambda: lot.sum(), "copy": lambda: target.copy_(lot)}
    moved = medians(ways, plan.rounds, plan.device)
    yield Row("machine read", lot.nbytes / moved["read"] / 1e9, "GB/s")
    yield Row("machine copy", 2 * lot.nbytes / moved["copy"] / 1e9, "GB/s")


def _training(plan: Plan, rates: Mapping[str, float]) -> Iterator[Row]:
    batch, tokens = plan.train
    config = MiniMindConfig(
        hidden_size=512,
        num_hidden_layers=plan.layers,
        num_key_value_heads=2,
        max_position_embeddings=max(tokens, 512),
    )
    ids = torch.randint(0, config.vocab_size, (batch, tokens), device=plan.device)
    models = {"ours": FastForCausalLM(config), **_others(config, plan)}
    steps = {
        name: _Step(model.to(plan.device).train(), ids, own_loss=name == "MiniMind")
        for name, model in models.items()
    }
    for name, dtype in DTYPES.items():
        seconds = medians(
            {who: partial(step, dtype) for who, step in steps.items()}, plan.rounds, plan.device
        )
        least_ratio, least_share = {"fp32": (1.0, 0.85), "bf16": (1.25, 0.6)}[name]
        for who, each in seconds.items():
            yield Row(f"train {name} {who}", batch * tokens / each, "tokens/s")
        share = _training_flops(config, batch, tokens) / seconds["ours"] / 1e9
        share /= rates[f"machine {name} product"]
        yield Row(f"train {name} ours / product rate", share, "x", least_share)
        yield from _ratios(f"train {name}", seconds, least_ratio)


class _Step:
    """A training step of a model."""

    def __init__(self, model: nn.Module, ids: Tensor, own_loss: bool) -> None:
        self._model, self._ids, self._own_loss = model, ids, own_loss
        fused = ids.device.type in ("cpu", "cuda")
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused)

    def __call__(self, dtype: torch.dtype) -> None:
        ids = self._ids
        with torch.autocast(ids.device.type, dtype, enabled=dtype != torch.float32):
            if self._own_loss:
                loss = causal_lm_loss(self._model(ids).logits, ids)
            else:
                loss = self._model(input_ids=ids, labels=ids).loss
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _training_flops(config: MiniMindConfig, batch: int, tokens: int) -> float:
    """Of forward and backward: six a weight and token, and attention under the diagonal."""
    layer = config.hidden_size * (
        2 * config.num_attention_heads * config.head_dim
        + 2 * config.num_key_value_heads * config.head_dim
        + 3 * config.intermediate_size
    )
    weights = config.num_hidden_layers * layer + config.vocab_size * config.hidden_size
    scores = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    return 6 * batch * tokens * (weights + scores * tokens)


def _decoding(plan: Plan, rates: Mapping[str, float]) -> Iterator[Row]:
    """A prompt read, and a token written after so many others."""
    config = MiniMindConfig(
        hidden_size=512,
        num_hidden_layers=plan.layers,
        num_key_value_heads=2,
        max_position_embeddings=max(plan.lengths) + 64,
    )
    for name, dtype in DTYPES.items():
        ours = FastForCausalLM(config).to(plan.device, dtype).eval()
        decoder = FastDecoder(ours)
        others = {
            who: model.to(plan.device, dtype).eval() for who, model in _others(config, plan).items()
        }
        weights = sum(p.numel() for p in ours.parameters()) * torch.finfo(dtype).bits / 8
        own: dict[int, float] = {}
        for length in plan.lengths:
            prompt = torch.randint(0, config.vocab_size, (1, length), device=plan.device)
            yield from _prefill(f"prefill {name} {length}", plan, decoder, others, prompt)
            contestants: dict[str, Callable[[], object]] = {"ours": _Writing(decoder, prompt)}
            contestants |= {who: _CachedWriting(model, prompt) for who, model in others.items()}
            seconds = medians(contestants, 4 * plan.rounds, plan.device)
            own[length] = seconds["ours"]
            for who, each in seconds.items():
                yield Row(f"decode {name} {length} {who}", each * 1e3, "ms/token")
            yield from _ratios(f"decode {name} {length}", seconds, 1.75 if length == 1024 else None)
            if length == 1024:
                rate = weights / seconds["ours"] / 1e9 / rates["machine read"]
                yield Row(
                    f"decode {name} {length} ours / read rate",
                    rate,
                    "x",
                    0.4 if name == "fp32" else None,
                )
        first, last = min(own), max(own)
        limit = 1.4 if last == 4096 else None
        yield Row(f"decode {name} {last} / {first} ours", own[last] / own[first], "x", limit, True)


class _Writing:
    """One token after another; the cache grows by as many tokens as there are rounds."""

    def __init__(self, decoder: FastDecoder, prompt: Tensor) -> None:
        self._decoder = decoder
        decoder.prefill(prompt[0].tolist())

    def __call__(self) -> None:
        int(self._decoder.step(7).argmax())


class _CachedWriting:
    def __init__(self, model: nn.Module, prompt: Tensor) -> None:
        self._model = model
        self._token = prompt[:, :1]
        with torch.inference_mode():
            self._past = model(prompt, use_cache=True).past_key_values

    @torch.inference_mode()
    def __call__(self) -> None:
        out = self._model(self._token, past_key_values=self._past, use_cache=True)
        self._past = out.past_key_values
        int(out.logits[0, -1].argmax())


def _prefill(
    name: str, plan: Plan, decoder: FastDecoder, others: Mapping[str, nn.Module], prompt: Tensor
) -> Iterator[Row]:
    ids = prompt[0].tolist()

    @torch.inference_mode()
    def read(model: nn.Module) -> None:
        model(prompt, use_cache=True, logits_to_keep=1)

    contestants: dict[str, Callable[[], object]] = {"ours": lambda: decoder.prefill(ids)}
    contestants |= {who: partial(read, model) for who, model in others.items()}
    seconds = medians(contestants, plan.rounds, plan.device)
    for who, each in seconds.items():
        yield Row(f"{name} {who}", prompt.shape[1] / each, "tokens/s")
    yield from _ratios(name, seconds, None)


def _experts(plan: Plan, rates: Mapping[str, float]) -> Iterator[Row]:
    """The experts sorted, against a loop over all of them that picks each one's tokens."""
    for experts, chosen, inner in ((4, 1, 1664), (64, 8, 256)):
        config = MiniMindConfig(
            hidden_size=512,
            use_moe=True,
            num_experts=experts,
            num_experts_per_tok=chosen,
            moe_intermediate_size=inner,
        )
        layer = MoEFeedForward(config).to(plan.device)
        for name, dtype in DTYPES.items():
            for tokens in (1, plan.moe_tokens):
                x = torch.randn(1, tokens, config.hidden_size, device=plan.device)
                runs = (_trained_experts if tokens > 1 else _read_experts)(layer, x, dtype)
                seconds = medians(runs, plan.rounds, plan.device)
                what = "training" if tokens > 1 else "reading"
                title = f"{experts} experts top-{chosen} {what} {tokens} {name}"
                for who, each in seconds.items():
                    yield Row(f"{title} {who}", each * 1e3, "ms")
                limit = 1.0 if experts == 4 else 4.0 if tokens == 1 else 1.2
                if experts == 64 and tokens > 1 and name == "fp32":
                    limit = 1.0
                yield Row(f"{title} loop / ours", seconds["loop"] / seconds["ours"], "x", limit)


def _trained_experts(
    layer: MoEFeedForward, x: Tensor, dtype: torch.dtype
) -> dict[str, Callable[[], object]]:
    """Forward and backward."""
    return {
        "ours": partial(_through, layer, mixture, x, dtype),
        "loop": partial(_through, layer, looped, x, dtype),
    }


def _read_experts(
    layer: MoEFeedForward, x: Tensor, dtype: torch.dtype
) -> dict[str, Callable[[], object]]:
    """One token, as a decoder reads it, with weights of that dtype."""
    layer = copy.deepcopy(layer).to(dtype).eval()
    ours = FastMixture(layer)
    x = x.to(dtype)

    @torch.no_grad()
    def loop() -> None:
        looped(layer, x)

    @torch.no_grad()
    def fast() -> None:
        ours(x[0])

    return {"ours": fast, "loop": loop}


def _through(
    layer: MoEFeedForward,
    run: Callable[[MoEFeedForward, Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    dtype: torch.dtype,
) -> None:
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
        out, loss = run(layer, x)
    torch.autograd.backward(out.float().sum() + loss)
    layer.zero_grad()


def looped(layer: MoEFeedForward, x: Tensor) -> tuple[Tensor, Tensor]:
    """A mixture of experts as it is often written: every expert looks for its tokens."""
    chosen, weights, aux_loss = layer.gate(x)
    tokens = x.reshape(-1, x.shape[-1])
    out = torch.zeros_like(tokens)
    for number, expert in enumerate(layer.experts):
        token, place = torch.where(chosen == number)
        if len(token) or torch.is_grad_enabled():
            result = expert(tokens[token]) * weights[token, place, None]
            out = out.index_add(0, token, result.to(out.dtype))
    return out.reshape(x.shape), aux_loss


def _loss(plan: Plan, rates: Mapping[str, float]) -> Iterator[Row]:
    tokens, vocabulary = plan.loss
    hidden = torch.randn(1, tokens, 512, device=plan.device).requires_grad_()
    weight = torch.randn(vocabulary, 512, device=plan.device).mul_(0.02).requires_grad_()
    labels = torch.randint(0, vocabulary, (1, tokens), device=plan.device)

    def run(loss: Callable[[], Tensor]) -> None:
        torch.autograd.grad(loss(), (hidden, weight))

    contestants: dict[str, Callable[[], object]] = {
        "ours": partial(run, lambda: head_loss(hidden, weight, labels)),
        "whole": partial(run, lambda: causal_lm_loss(hidden @ weight.t(), labels)),
    }
    seconds = medians(contestants, plan.rounds, plan.device)
    peaks = {who: peak_bytes(one, plan.device) for who, one in contestants.items()}
    for who in contestants:
        yield Row(f"loss {tokens} x {vocabulary} {who}", seconds[who] * 1e3, "ms")
        yield Row(f"loss {tokens} x {vocabulary} {who} peak", peaks[who] / 2**20, "MiB")
    limit = 0.25 if tokens >= 4096 else None
    yield Row("loss peak ours / whole", peaks["ours"] / peaks["whole"], "x", limit, True)
    yield Row("loss time ours / whole", seconds["ours"] / seconds["whole"], "x", 1.2, True)


def plot(measured: Sequence[Row], file: Path) -> None:
    """Draw how many times as fast as the others ours is, as SVG."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "--svg needs matplotlib: `pip install -c constraints.txt -e '.[report]'`"
        ) from None
    ratios = [row for row in measured if " ours / " in row.name and row.unit == "x"]
    figure = Figure(figsize=(8, 1 + 0.28 * len(ratios)), layout="constrained")
    axes = figure.subplots()
    axes.barh([row.name for row in ratios], [row.value for row in ratios], color="#4c72b0")
    for place, row in enumerate(ratios):
        if row.limit is not None:
            axes.plot([row.limit, row.limit], [place - 0.4, place + 0.4], color="#c44e52")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast, or share of the machine's rate; red: what is asked")
    figure.savefig(file, format="svg")


PARTS: dict[str, Callable[[Plan, Mapping[str, float]], Iterator[Row]]] = {
    "train": _training,
    "decode": _decoding,
    "moe": _experts,
    "loss": _loss,
}


def _ratios(name: str, seconds: Mapping[str, float], least: float | None) -> Iterator[Row]:
    """How many times as fast as each other one ours is; the limit is for transformers."""
    for who, each in seconds.items():
        if who != "ours":
            limit = least if who == "transformers" else None
            yield Row(f"{name} ours / {who}", each / seconds["ours"], "x", limit)


def _others(config: MiniMindConfig, plan: Plan) -> dict[str, nn.Module]:
    """Models of the same shape by others, as far as they are here."""
    others: dict[str, nn.Module] = {}
    if importlib.util.find_spec("transformers"):
        others["transformers"] = _qwen3(config)
    if plan.minimind is not None:
        others["MiniMind"] = _minimind(config, plan.minimind)
    return others


def _qwen3(config: MiniMindConfig) -> nn.Module:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model: nn.Module = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.rms_norm_eps,
            tie_word_embeddings=True,
        )
    )
    return model


def _minimind(config: MiniMindConfig, checkout: Path) -> nn.Module:
    """The model of a checkout of MiniMind, of the same shape.

    Raises:
        UserError: the folder is no such checkout.
    """
    file = checkout / "model" / "model_minimind.py"
    if not file.exists():
        raise UserError(f"--minimind: {file} is missing; give the folder of a checkout of MiniMind")
    module = _module(file)
    settings: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "max_position_embeddings": config.max_position_embeddings,
        "use_moe": False,
    }
    try:
        model: nn.Module = module.MiniMindForCausalLM(module.MiniMindConfig(**settings))
    except (AttributeError, TypeError) as error:
        raise UserError(
            f"--minimind: {file} has no model that can be built here: {error}"
        ) from None
    return model


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("minimind_of_the_checkout", file)
    if spec is None or spec.loader is None:
        raise UserError(f"--minimind: {file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
