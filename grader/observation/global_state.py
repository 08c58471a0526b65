"""What a right answer leaves alone: torch's, Python's and NumPy's global state.

Runs beside learner code: standard library, torch and numpy only.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
import torch


@dataclass(frozen=True)
class _Setting:
    """One piece of global state: how to read it, how to put it back, whether it is a generator."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    is_generator: bool = False


TORCH_GENERATOR = "torch's random generator"
"""What the settings call it."""


def _same_numpy_state(old: Any, new: Any) -> bool:
    return bool(old[2] == new[2] and (old[1] == new[1]).all())


def _set_threads(count: int) -> None:
    torch.set_num_threads(count)


def _set_autocast(enabled: bool) -> None:
    torch.set_autocast_enabled("cpu", enabled)


_OF_TORCH = (
    _Setting("the default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Setting("the default device", torch.get_default_device, torch.set_default_device),
    _Setting("the grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting("the number of threads", torch.get_num_threads, _set_threads),
    _Setting("autocast", lambda: torch.is_autocast_enabled("cpu"), _set_autocast),
    _Setting(
        "the float32 matmul precision",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    _Setting(
        "deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    _Setting(TORCH_GENERATOR, torch.get_rng_state, torch.set_rng_state, True),
)
_SETTINGS = (
    *_OF_TORCH,
    _Setting("Python's random generator", random.getstate, random.setstate, True),
    _Setting(
        "NumPy's random generator",
        lambda: numpy.random.get_state(legacy=True),
        numpy.random.set_state,
        True,
    ),
)


class GlobalState:
    """A snapshot of the global state, taken when it is made.

    With `of_torch_alone` Python's and NumPy's generators are left out, which take more time to
    read than all the rest.
    """

    def __init__(self, *, of_torch_alone: bool = False) -> None:
        self._settings = _OF_TORCH if of_torch_alone else _SETTINGS
        self._values = {setting.name: setting.read() for setting in self._settings}

    def restore(self, *, generators_may_move: bool = False) -> tuple[str, ...]:
        """Put everything back and return the names of what had changed.

        With `generators_may_move` the random generators are put back without being named:
        building a module or sampling draws from them.
        """
        changed = []
        for setting in self._settings:
            old, new = self._values[setting.name], setting.read()
            if _same(old, new):
                continue
            if setting.name == "the default device" and old == torch.device("cpu"):
                torch.set_default_device(None)
            else:
                setting.write(old)
            if not (setting.is_generator and generators_may_move):
                changed.append(setting.name)
        return tuple(changed)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, torch.Tensor):
        return torch.equal(old, new)
    if isinstance(old, tuple) and len(old) > 1 and isinstance(old[1], numpy.ndarray):
        return _same_numpy_state(old, new)
    return bool(old == new)
