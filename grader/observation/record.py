"""What is asked of an answer and everything that was seen of it, as plain data.

Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grader.observation.bans import BanHit
from grader.observation.calls import Call
from grader.observation.conditions import Condition
from grader.observation.cost import Cost
from grader.observation.kind import Kind

DEEPEST = 20
"""How deep a plain output may nest."""
LARGEST = 1 << 22
"""The bytes of the largest output that is copied; no scenario wants one nearly as large."""
MOST_DIMENSIONS = 16
"""The dimensions of an output that is copied."""
MOST_VALUES = 10_000
"""The plain values that one observation may hold, those inside others too."""
MOST_CHARACTERS = 100_000
"""The characters that they may have between them, digits too."""
MOST_PRINTED = 20_000
"""The characters that are kept of what an answer prints."""
MOST_HITS = 100
"""The uses of something banned that are kept of one run."""
LONGEST_TEXT = 2_000
"""The characters of any other text of an observation."""
FRAMES_LIMIT = 6
"""The frames that are kept of where an answer was interrupted."""
DTYPES = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex128),
        *(torch.complex64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
        torch.bool,
    }
)
"""What outputs are copied in; torch can do too little with numbers of any other kind."""
SINGLE = "result"
"""The name of the output of a scenario that returns one value and no dict."""


Plain = None | bool | int | float | str | bytes | list[Any] | tuple[Any, ...] | dict[Any, Any]
"""The keys of a dict are texts, bytes and whole numbers."""


@dataclass(frozen=True)
class Request:
    """A scenario with everything it needs; inputs are named by the scenario's parameters.

    An input is a tensor, a plain value, or dicts and sequences of them.

    With `cotangents` the gradients of the outputs they name are taken with respect to the inputs
    in `differentiate`. `draws` says that random generators may move where modules are made; calls
    must leave them alone. The scenario is run under `conditions`.
    """

    scenario: Callable[..., Any]
    inputs: Mapping[str, Any]
    cotangents: Mapping[str, Tensor] | None = None
    differentiate: tuple[str, ...] = ()
    draws: bool = False
    seed: int = 0
    default_dtype: torch.dtype = torch.float32
    device: str = "cpu"
    bans: tuple[str, ...] = ()
    meter: bool = False
    conditions: frozenset[Condition] = frozenset()


@dataclass(frozen=True)
class Frame:
    """One of the learner's own frames."""

    path: str
    line: int
    function: str
    text: str


@dataclass(frozen=True)
class Opaque:
    """An output that is neither a plain value nor a plain tensor of a reasonable size.

    Only a description of it is kept.
    """

    description: str


@dataclass(frozen=True)
class Interruption:
    """Why there are no outputs: the answer could not be run, or not to its end.

    `how` is set where time ran out: "too slow", or "waiting" for an answer that used no processor;
    it is empty for a loop that seems to have no end. `context` holds what
    `grader.observation.context` found around the error.
    """

    kind: Kind
    type_name: str = ""
    message: str = ""
    frames: tuple[Frame, ...] = ()
    in_backward: bool = False
    at_load: bool = False
    context: str = ""
    how: str = ""


@dataclass(frozen=True)
class Observation:
    """Everything seen of one run of a scenario."""

    outputs: Mapping[str, Tensor | Plain | Opaque] = field(default_factory=dict)
    gradients: Mapping[str, Tensor | None] = field(default_factory=dict)
    interruption: Interruption | None = None
    modified: tuple[str, ...] = ()
    disturbed: tuple[str, ...] = ()
    banned: tuple[BanHit, ...] = ()
    calls: tuple[Call, ...] = ()
    cost: Cost | None = None
    printed: str = ""
