"""What a picture is made of: requests to the learner's code, and a drawing of what came back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from grader.messages.catalog import reworded, say
from grader.observation.calls import describe
from grader.observation.record import Observation, Opaque, Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NothingToDraw(Exception):
    """What came back cannot be drawn; the message says what it is."""


class Seen:
    """What one request returned. Nothing in it is trusted until it has been checked."""

    def __init__(self, observation: Observation) -> None:
        self._observation = observation

    def array(self, name: str, *shape: int) -> Any:
        """An output as a NumPy array of float64; raises NothingToDraw if it is something else."""
        value = self._observation.outputs.get(name)
        if not isinstance(value, Tensor) or value.is_complex() or value.shape != shape:
            got = value.description if isinstance(value, Opaque) else describe(value)
            told = say("pictures.not_numbers", name=name, got=reworded(got), want=list(shape))
            raise NothingToDraw(told)
        wide = value.to(torch.float64)
        if not bool(torch.isfinite(wide).all()):
            raise NothingToDraw(say("pictures.not_finite", name=name))
        return wide.numpy()

    @property
    def flops(self) -> int:
        """How many operations the request took; raises NothingToDraw if they were not counted."""
        cost = self._observation.cost
        if cost is None:
            raise NothingToDraw(say("pictures.work_not_counted"))
        return cost.flops

    @property
    def peak_bytes(self) -> int:
        """The most memory the request held at one time; raises NothingToDraw if not measured."""
        cost = self._observation.cost
        if cost is None:
            raise NothingToDraw(say("pictures.memory_not_counted"))
        return cost.peak_bytes


@dataclass(frozen=True)
class PictureSpec:
    """How an exercise is shown: `draw` receives what each request returned, in order.

    It returns the caption, which says what the picture shows and gives the numbers that were
    measured. The title is a function: the language is known only when the picture is made.
    """

    title: Callable[[], str]
    height: float
    requests: Callable[[], Sequence[Request]]
    draw: Callable[[Figure, Sequence[Seen]], str]


@dataclass(frozen=True)
class Picture:
    """A picture that was made; where `svg` is empty, `caption` says why there is none."""

    title: str
    caption: str
    svg: str = ""


def seeded(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, the same in every report."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
