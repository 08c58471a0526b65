"""What if the keys and values are not kept?

The same model writes the same tokens with and without its cache. Counted are the tokens that it
reads for that, and the processor time, which is told as a multiple of that with the cache.

Seeds 11 to 15 (`python -m experiments no_cache 11 12 13 14 15`):
199 tokens read with, 19872 without, 1.2 to 3.3 times the processor time, of which nothing is
claimed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from experiments.table import Claim, Table, Trial
from experiments.task import TOKENS, small_model
from minimind_ref.generate import generate

STEPS = 192
"""Tokens written."""

_PROMPT, _ROWS = 8, 4


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """Both arms under one seed."""
    model = small_model(seed).eval()
    fed: list[int] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, given: fed.append(_count(given)))
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.randint(TOKENS, (_ROWS, _PROMPT), generator=generator)
    found: dict[str, tuple[int, float, torch.Tensor]] = {}
    for arm, use_cache in (("with", True), ("without", False)):
        fed.clear()
        began = time.process_time()
        written = generate(
            model,
            prompt,
            max_new_tokens=steps,
            use_cache=use_cache,
            generator=torch.Generator().manual_seed(seed),
        )
        found[arm] = sum(fed) // _ROWS, time.process_time() - began, written
    (_, once, kept), (_, _, again) = found["with"], found["without"]
    same = float((kept == again).float().mean())
    yield from [
        Trial(arm, seed, {"tokens": float(tokens), "time": seconds / once, "same": same})
        for arm, (tokens, seconds, _) in found.items()
    ]


def claims(table: Table) -> list[Claim]:
    read, again = STEPS + _PROMPT - 1, sum(range(_PROMPT, STEPS + _PROMPT))
    with_cache, without = (set(table.values(arm, "tokens")) for arm in ("with", "without"))
    return [
        Claim(f"with the cache {read} tokens are read", with_cache == {read}),
        Claim(f"without it, {again}", without == {again}),
        Claim("the same text is written", table.low("with", "same") == 1),
    ]


def _count(given: tuple[Any, ...]) -> int:
    ids: torch.Tensor = given[0]
    return ids.numel()
