"""What if the weight of a single chosen expert is divided by the sum of all chosen weights?

With one expert a token, that sum is the weight itself, and the quotient is 1 whatever the router
says: no gradient comes back to it, so it never learns whom to choose. The reference leaves the
division out in this case. There is no balance loss here, which would reach the router otherwise.

Seeds 11 to 15 (`python -m experiments renormalised_router 11 12 13 14 15`): the router's gradient
is 2e-4 to 3e-4 long as it is, and 2e-11 to 3e-11 divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from experiments.table import Claim, Table, Trial
from experiments.task import batches, small_model
from minimind_ref.moe_gate import MoEGate

STEPS = 4
"""Batches over which gradients are averaged."""


def run(seed: int, steps: int = STEPS) -> Iterator[Trial]:
    """Both arms under one seed."""
    for arm in ("with", "divided"):
        model = small_model(
            seed,
            use_moe=True,
            num_experts=8,
            num_experts_per_tok=1,
            moe_intermediate_size=32,
            router_aux_loss_coef=0.0,
        )
        gates = [module for module in model.modules() if isinstance(module, MoEGate)]
        for gate in gates:
            # A start at which choices differ; at 0.02, the scores are all alike.
            torch.nn.init.normal_(gate.weight, std=32**-0.5)
            gate.renormalise = arm == "divided"
        for ids, labels in batches(seed, steps):
            model(ids, labels=labels).loss.backward()
        experts = [p for name, p in model.named_parameters() if "experts" in name]
        measures = {
            "router": _length(gate.weight for gate in gates) / steps,
            "experts": _length(experts) / steps,
        }
        yield Trial(arm, seed, measures)


def claims(table: Table) -> list[Claim]:
    return [
        Claim(
            "renormalised, the router's gradient is rounding",
            table.high("divided", "router") < 1e-7,
        ),
        Claim(
            "otherwise it is at least ten thousand times as long",
            table.low("with", "router") > 1e4 * table.high("divided", "router"),
        ),
        Claim(
            "the experts learn in both cases",
            min(table.low(arm, "experts") for arm in table.arms) > 1e-4,
        ),
    ]


def _length(parameters: Iterable[Tensor]) -> float:
    """The length of all their gradients, as of one long vector."""
    gradients = [p.grad.flatten() for p in parameters if p.grad is not None]
    return float(torch.cat(gradients).norm())
