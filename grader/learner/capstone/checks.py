"""Small questions to each part, from the bottom up: does it answer as the reference does?

Not the exercises' tests, which look at much more: this finds the part with which a training would
be in vain, in a second, before any time is spent. The first that differs is the one to look at,
since all that it rests on agreed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.learner.capstone.assemble import Parts, Unfit, named
from grader.learner.capstone.recipe import BOS, EOS, PAD, SPECIALS
from grader.messages.catalog import say
from minimind_ref.config import MiniMindConfig

_ALLOWED = 1e-3
"""The error allowed, relative to the largest number: rounding is far below, mistakes are above."""
_TEXTS = ["Tom had 12 red apples. ", "小红有两个苹果。", "3 + 4 = 7\n", "naïve café 🙂 don't"]

Answer = Mapping[str, Any]


def checked(parts: Parts, reference: Parts, course: Course) -> Iterator[Exercise]:
    """Check one part after another, and yield each that is right.

    Raises Unfit for the first that is not.
    """
    right: set[str] = set()
    for exercise in course.exercises:
        if (question := QUESTIONS.get(exercise.name)) is None:
            continue
        want = question(reference)
        with named(course, exercise, right), torch.random.fork_rng(devices=[]):
            got = question(parts)
            different = next((name for name in want if not _same(got[name], want[name])), None)
        if different is not None:
            raise Unfit(exercise, say("capstone.differs", what=different))
        right.add(exercise.id)
        yield exercise


def _same(got: Any, want: Any) -> bool:
    if isinstance(want, Tensor):
        if not isinstance(got, Tensor) or got.shape != want.shape:
            return False
        if not want.is_floating_point():
            return torch.equal(got.long(), want.long())
        largest = want.detach().abs().max().item()
        return bool((got.detach() - want.detach()).abs().max().item() <= _ALLOWED * largest)
    if isinstance(want, float):
        return isinstance(got, float) and abs(got - want) <= _ALLOWED * max(1.0, abs(want))
    return bool(got == want)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _filled(module: nn.Module) -> nn.Module:
    """A module with weights that depend on their names and shapes alone."""
    weights = module.state_dict()
    for name, old in weights.items():
        # Head and embedding are one parameter under two names.
        seed = sum(name.replace("lm_head.", "model.embed_tokens.").encode())
        around = 1.0 if old.dim() == 1 else 0.0
        weights[name] = around + 0.2 * _random(*old.shape, seed=seed)
    module.load_state_dict(weights, strict=True)
    return module.eval()


def _names(module: nn.Module) -> list[str]:
    return sorted(module.state_dict())


def _config() -> MiniMindConfig:
    return MiniMindConfig.tiny(num_hidden_layers=2)


def _ids(rows: int = 2, length: int = 9) -> Tensor:
    chance = torch.Generator().manual_seed(length)
    return torch.randint(3, _config().vocab_size, (rows, length), generator=chance)


def _rmsnorm(parts: Parts) -> Answer:
    norm = _filled(parts["rmsnorm"].RMSNorm(12, eps=0.5))
    return {"state_dict": _names(norm), "RMSNorm": norm(_random(2, 5, 12))}


def _rope(parts: Parts) -> Answer:
    cos, sin = parts["rope"].precompute_freqs_cis(8, 20, 100.0)
    q, k = parts["rope"].apply_rotary_pos_emb(
        _random(2, 7, 4, 8), _random(2, 7, 2, 8, seed=1), cos[3:10], sin[3:10]
    )
    return {"precompute_freqs_cis": cos + 2 * sin, "apply_rotary_pos_emb": torch.cat((q, k), 2)}


def _tables(config: MiniMindConfig) -> tuple[Tensor, Tensor]:
    """The rotary tables, written out here: what is asked is not ex02."""
    half = torch.arange(0, config.head_dim, 2).float() / config.head_dim
    angles = torch.outer(torch.arange(16).float(), config.rope_theta**-half).repeat(1, 2)
    return angles.cos(), angles.sin()


def _attention(parts: Parts) -> Answer:
    config = _config()
    layer = _filled(parts["kv_cache"].Attention(config))
    x, (cos, sin) = _random(2, 9, config.hidden_size), _tables(config)
    whole, _ = layer(x, (cos[:9], sin[:9]))
    first, past = layer(x[:, :6], (cos[:6], sin[:6]), use_cache=True)
    rest, _ = layer(x[:, 6:], (cos[6:9], sin[6:9]), past, use_cache=True)
    return {
        "state_dict": _names(layer),
        "Attention": whole,
        "Attention with a cache": torch.cat((first, rest), 1),
    }


def _feed_forward(parts: Parts) -> Answer:
    layer = _filled(parts["feed_forward"].FeedForward(_config()))
    return {"state_dict": _names(layer), "FeedForward": layer(_random(2, 5, 40))}


def _block(parts: Parts) -> Answer:
    config = _config()
    block = _filled(parts["block"].MiniMindBlock(0, config))
    cos, sin = _tables(config)
    hidden, _ = block(_random(2, 9, config.hidden_size), (cos[:9], sin[:9]))
    return {"state_dict": _names(block), "MiniMindBlock": hidden}


def _model(parts: Parts) -> nn.Module:
    return _filled(parts["model"].MiniMindForCausalLM(_config()))


def _logits(parts: Parts) -> Answer:
    model, ids = _model(parts), _ids()
    first = model(ids[:, :5], use_cache=True)
    rest = model(ids[:, 5:], past_key_values=first.past_key_values, use_cache=True)
    return {
        "state_dict": _names(model),
        "logits": model(ids).logits,
        "logits with a cache": torch.cat((first.logits, rest.logits), 1),
        "aux_loss": float(model(ids).aux_loss),
    }


def _tokenizer(parts: Parts) -> Answer:
    vocab, merges = parts["tokenizer"].train_bpe(_TEXTS * 2, 275, list(SPECIALS))
    tokenizer = parts["tokenizer"].Tokenizer(vocab, merges, list(SPECIALS))
    ids = [tokenizer.encode(text) for text in _TEXTS]
    return {
        "train_bpe": merges,
        "encode": ids,
        "decode": [tokenizer.decode(one) for one in ids],
        "decode_stream": ["".join(tokenizer.decode_stream(one)) for one in ids],
    }


def _dataset(parts: Parts) -> Answer:
    row, labels = parts["dataset"].pretrain_example([5, 6, 7], 8, bos=BOS, eos=EOS, pad=PAD)
    blocks = parts["dataset"].pack([[5, 6, 7], [8, 9]], 4, EOS)
    return {"pretrain_example": torch.stack((row, labels)), "pack": torch.cat(blocks)}


def _loss(parts: Parts) -> Answer:
    logits = _random(2, 6, 11).requires_grad_()
    labels = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, -100, -100, -100]])
    loss = parts["loss"].causal_lm_loss(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    return {"causal_lm_loss": loss, "its gradient": gradient}


def _optimizer(parts: Parts) -> Answer:
    part = parts["optimizer"]
    layer = _filled(nn.Linear(4, 3))
    groups = part.decay_groups(layer, 0.1)
    optimizer = part.AdamW(groups, lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for seed in range(3):
        layer(_random(5, 4, seed=seed)).square().sum().backward()
        norm = part.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return {
        "decay_groups": {len(g["params"]): g["weight_decay"] for g in groups},
        "clip_grad_norm_": norm,
        "AdamW": layer.weight,
        "get_lr": torch.tensor([part.get_lr(step, 10, 1.0) for step in range(11)]),
    }


class _Toy(nn.Module):
    """Gives what a training step looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(_random(4, 4))

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        loss = (self.weight[input_ids] - labels[..., None]).square().mean()
        return SimpleNamespace(loss=loss, aux_loss=0.01 * loss)


def _train_step(parts: Parts) -> Answer:
    model = _Toy()
    batches = [(torch.tensor([[n % 4, 1]]), torch.tensor([[n, 2]])) for n in range(5)]
    updates = parts["train_step"].train_epoch(
        model,
        batches,
        torch.optim.SGD(model.parameters(), lr=1.0),
        lr=0.1,
        total_steps=3,
        accumulation_steps=2,
    )
    results = list(updates)
    return {
        "train_epoch": torch.tensor([result.loss for result in results]),
        "the weights after train_epoch": model.weight,
    }


def _checkpoint(parts: Parts) -> Answer:
    part = parts["checkpoint"]
    model, other = _filled(nn.Linear(3, 2)), nn.Linear(3, 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.pt"
        part.save_checkpoint(file, model, torch.optim.SGD(model.parameters(), lr=0.1), step=7)
        step = part.load_checkpoint(file, other, torch.optim.SGD(other.parameters(), lr=0.1))
    batches = [list(batch) for batch in part.SkipBatchSampler(range(7), 2, 1)]
    return {"load_checkpoint": step, "its weights": other.weight, "SkipBatchSampler": batches}


def _sampling(parts: Parts) -> Answer:
    logits, sample = _random(6, 20), parts["sampling"].sample
    seen = logits.argsort(dim=1, descending=True)[:, :2]
    greedy = sample(logits, temperature=0)
    part = parts["sampling"]
    return {
        "apply_temperature": part.apply_temperature(logits, 0.5),
        "top_k_filter": part.top_k_filter(logits, 3).exp(),
        "top_p_filter": part.top_p_filter(logits, 0.7).exp(),
        "sample": torch.stack((greedy, sample(logits, temperature=0.5, top_k=1))),
        "the penalty": sample(logits + 5, temperature=0, repetition_penalty=5.0, seen_ids=seen),
    }


def _generate(parts: Parts) -> Answer:
    model, ids = _model(parts), _ids(2, 5)
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        texts = [
            parts["generate"].generate(
                model,
                ids,
                attention_mask=mask,
                max_new_tokens=6,
                temperature=0,
                use_cache=use_cache,
            )
            for use_cache in (True, False)
        ]
        ended = parts["generate"].generate(
            model,
            ids,
            attention_mask=mask,
            max_new_tokens=6,
            temperature=0,
            eos_token_id=int(texts[0][0, 7]),
            pad_token_id=PAD,
        )
    return {
        "generate": texts[0],
        "generate without a cache": texts[1],
        "generate up to eos_token_id": ended,
    }


QUESTIONS: Mapping[str, Callable[[Parts], Answer]] = {
    "rmsnorm": _rmsnorm,
    "rope": _rope,
    "kv_cache": _attention,
    "feed_forward": _feed_forward,
    "block": _block,
    "model": _logits,
    "tokenizer": _tokenizer,
    "dataset": _dataset,
    "loss": _loss,
    "optimizer": _optimizer,
    "train_step": _train_step,
    "checkpoint": _checkpoint,
    "sampling": _sampling,
    "generate": _generate,
}
"""What is asked of a part, by the name of its exercise."""
