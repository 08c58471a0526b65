"""What if the router has no balance loss?

A layer of eight experts, one a token, learns eight linear maps, one for each of eight clusters of
vectors. The vectors share a mean, as activations often do: whichever expert likes that mean gets
everything, learns from everything, and is liked more. Without a shared mean the collapse is weaker,
and in the small language model of the other experiments there was none.

Seeds 11 to 15 (`python -m experiments no_aux_loss 11 12 13 14 15`):
6 to 8 experts used with, 1 to 2 without; the busiest gets 22 to 34 % with, 76 to 100 % without. The
error is higher with it (0.26 to 0.51 against 0.11 to 0.12), so nothing is claimed of that.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.table import Claim, Table, Trial
from experiments.task import at_the_end, small_config
from minimind_ref.config import MiniMindConfig
from minimind_ref.moe import MoEFeedForward
from minimind_ref.optimizer import AdamW

STEPS, COEFFICIENT, LR = 200, 0.2, 1e-2
_EXPERTS, _WIDTH, _TOKENS, _MANY = 8, 32, 128, 1024
_USED = 0.01
"""The share of the tokens that an expert gets at least, to be called used."""


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """Both arms under one seed."""
    for arm, coefficient in (("with", COEFFICIENT), ("without", 0.0)):
        torch.manual_seed(seed)
        layer = MoEFeedForward(_config(coefficient))
        torch.nn.init.normal_(layer.gate.weight, std=0.02)
        clusters = _Clusters(seed)
        optimizer = AdamW(layer.parameters(), lr=LR, weight_decay=0.0)
        curve = []
        for _ in range(steps):
            x, wanted = clusters.draw(_TOKENS)
            error = (layer(x) - wanted).square().mean()
            (error + layer.aux_loss).backward()
            optimizer.step()
            optimizer.zero_grad()
            curve.append(error.item())
        chosen, _, _ = layer.gate(clusters.draw(_MANY)[0])
        shares = torch.bincount(chosen.flatten(), minlength=_EXPERTS) / chosen.numel()
        measures = {
            "experts_used": float((shares >= _USED).sum()),
            "busiest": float(shares.max()),
            "error": at_the_end(tuple(curve)),
        }
        yield Trial(arm, seed, measures, tuple(curve))


def claims(table: Table) -> list[Claim]:
    used, busiest = (
        list(zip(table.values("with", name), table.values("without", name), strict=True))
        for name in ("experts_used", "busiest")
    )
    return [
        Claim(
            "without it fewer experts are used, under every seed",
            all(without < with_it for with_it, without in used),
        ),
        Claim("without it at most 4 of 8 are", table.high("without", "experts_used") <= 4),
        Claim(
            "without it the busiest expert gets more of the tokens, under every seed",
            all(without > with_it for with_it, without in busiest),
        ),
    ]


class _Clusters:
    """Vectors around eight centres that share a mean, each cluster with its own linear map."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._mean = self._normal(_WIDTH)
        self._centres = self._normal(_EXPERTS, _WIDTH)
        self._maps = 0.2 * self._normal(_EXPERTS, _WIDTH, _WIDTH)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """``[1, count, width]`` twice: vectors, and what should become of them."""
        which = torch.randint(_EXPERTS, (count,), generator=self._generator)
        x = self._centres[which] + 0.3 * self._normal(count, _WIDTH)
        wanted = torch.einsum("ni,nij->nj", x, self._maps[which])
        return (x + self._mean)[None], wanted[None]

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator)


def _config(coefficient: float) -> MiniMindConfig:
    return small_config(
        use_moe=True,
        num_experts=_EXPERTS,
        num_experts_per_tok=1,
        moe_intermediate_size=16,
        router_aux_loss_coef=coefficient,
    )
