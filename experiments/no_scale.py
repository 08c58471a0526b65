"""What if the scores are not divided by the root of d?

The product of two random vectors of d features has a standard deviation of sqrt(d). Undivided,
the softmax of such scores gives nearly all weight to one key, and then has almost no slope left
through which queries and keys could learn. Nothing is trained: attention is asked once.

Seeds 11 to 15 (`python -m experiments no_scale 11 12 13 14 15`):
40 to 41 keys with, 1.01 to 1.03 without; gradient 3.8 with, 0.02 to 0.08 without.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from experiments.table import Claim, Table, Trial
from minimind_ref.attention import attention, softmax

STEPS = 512
"""Features of a head; large enough that the effect is seen at a glance."""

_HEADS, _QUERIES, _KEYS = 8, 64, 64


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """Both arms under one seed."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((_QUERIES, steps), (_KEYS, steps), (_KEYS, steps), (_QUERIES, steps))
    q, k, v, cotangent = (torch.randn(1, _HEADS, *shape, generator=generator) for shape in shapes)
    for arm, factor in (("with", 1.0), ("without", math.sqrt(steps))):
        # The reference divides; a factor of the root of d takes that back.
        scores = (q * factor) @ k.transpose(2, 3) / math.sqrt(steps)
        query = q.clone().requires_grad_()
        mixed = attention(query * factor, k, v, is_causal=False)
        (slope,) = torch.autograd.grad(mixed, query, cotangent)
        measures = {
            "keys": _keys_in_use(softmax(scores)),
            # Divided by the factor, so that it is that of the scores and no larger for being q's.
            "gradient": float(slope.norm(dim=-1).median()) / factor,
        }
        yield Trial(arm, seed, measures)


def claims(table: Table) -> list[Claim]:
    return [
        Claim(
            "with the division a query looks at more than 20 of 64 keys",
            table.low("with", "keys") > 20,
        ),
        Claim("without it, at fewer than 2", table.high("without", "keys") < 2),
        Claim(
            "without it, most queries have less than a tenth of the gradient",
            table.high("without", "gradient") < table.low("with", "gradient") / 10,
        ),
    ]


def _keys_in_use(weights: torch.Tensor) -> float:
    """The median over the queries of exp(entropy): n for an even share of n keys."""
    entropy = -(weights * weights.clamp(min=1e-30).log()).sum(-1)
    return float(entropy.median().exp())
