"""Sees which built-ins a run calls, however they are spelled.

The watch is a function mode of torch: torch calls it for every function and tensor method, and it
walks up the stack to find out who made the call. It runs beside the learner's code, which could
tamper with it, so what it finds is evidence, but finding nothing proves nothing. Torch does not
call it in a backward pass or under `torch._C.DisableTorchFunction`: there only the source scan
finds something, as far as names are written out.

It relies on code objects that carry the learner's file names as `BanWatch` was given them, and on
the folders in which the files of torch, Python and `grader.observation` lie.

Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Collection, Iterable
from functools import cache, lru_cache, partial
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from grader.observation.bans.spellings import BanHit, bans_of
from grader.observation.calls import CALLED_BY_THE_SCENARIO


class BanWatch(TorchFunctionMode):
    """Sees what is called inside a `with` block, on this thread, by the learner's own code.

    A call is the learner's if the code that makes it, past torch's and Python's own, lies in one
    of the learner's files: calls of the scenario or of another exercise's answer do not count, not
    even below a frame of the learner's. A call is also the learner's if the scenario called
    something of the answer's and no file stands between the two, as with an answer that is
    `operator.methodcaller("softmax")` or comes from `exec`. `hits` can be read inside the block and
    after it.

    Args:
        bans: dotted names from the syllabus.
        learner_files: file names as the learner's code objects carry them.
    """

    def __init__(self, bans: Iterable[str], learner_files: Collection[str]) -> None:
        super().__init__()
        self._bans = bans_of(tuple(bans))
        self._learner_files = frozenset(learner_files)
        self._answer_file = ""
        self._hits: dict[tuple[str, int, str], BanHit] = {}

    @property
    def hits(self) -> tuple[BanHit, ...]:
        """One for each line and ban, in the order of the calls."""
        return tuple(self._hits.values())

    def look_at(self, handed_out: object, file: str = "") -> None:
        """Record something that the answer hands out, if it is itself the built-in.

        The scenario's own calls do not count, and `from torch.nn import RMSNorm` leaves no others.

        Args:
            handed_out: what the scenario got from the answer by name.
            file: the learner's file, for the hit; its line is not known and given as 1.
        """
        self._answer_file = file
        while isinstance(handed_out, partial):
            handed_out = handed_out.func
        kinds = handed_out.__mro__ if isinstance(handed_out, type) else (handed_out,)
        for path in map(_full_name, kinds):
            self._judge(file, 1, [path])

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        try:
            called = _known_name(func)
        except TypeError:  # it has no hash
            called = _full_name(func)
        self._see(called, sys._getframe(1))
        return func(*args, **kwargs) if kwargs else func(*args)

    def _see(self, called: str, frame: FrameType | None) -> None:
        """Judge one call, and the functions of torch on the way to it from the learner's code."""
        on_the_way = [called]
        while frame is not None:
            code = frame.f_code
            if code.co_filename in self._learner_files:
                self._judge(code.co_filename, frame.f_lineno, reversed(on_the_way))
                return
            if not _is_transparent(code.co_filename):
                return
            if code.co_qualname == CALLED_BY_THE_SCENARIO:
                self._judge(self._answer_file, 1, reversed(on_the_way))
                return
            on_the_way.append(f"{frame.f_globals.get('__name__')}.{code.co_qualname}")
            frame = frame.f_back

    def _judge(self, file: str, line: int, paths: Iterable[str]) -> None:
        """Record the first path that is banned: what the learner wrote comes first."""
        for path in paths:
            ban = self._bans.path(path)
            if ban is not None:
                self._hits.setdefault((file, line, ban), BanHit(line, path, ban, file))
                return


def _full_name(func: Any) -> str:
    """The full dotted name of something that torch calls; without `torch` for what is not its."""
    if isinstance(func, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        return f"torch.ops.{func}"
    name = getattr(func, "__name__", "")
    owner = getattr(func, "__objclass__", None)
    if owner is not None:
        return f"torch.Tensor.{name}" if issubclass(torch.Tensor, owner) else name
    module = getattr(func, "__module__", None) or ""
    return f"{module.replace('torch._C._nn', 'torch.nn.functional')}.{name}"


_known_name = lru_cache(maxsize=4096)(_full_name)
"""The same, remembered: torch calls few functions, each of them often."""

_TORCH = os.path.dirname(torch.__file__) + os.sep
_PYTHON = sysconfig.get_path("stdlib") + os.sep
# `grader.observation` runs beside an answer, so its frames may stand between the answer and torch
# (those of `Recorder` and of this watch do). Calls from the rest of the grader are the judge's own.
_OBSERVATION = os.path.dirname(os.path.dirname(_full_name.__code__.co_filename)) + os.sep


@cache
def _is_transparent(filename: str) -> bool:
    """Whether code in a file only passes on the calls of whoever called it.

    So does code without a file (`<string>`): generated code, or an `exec` that is to hide a call.
    """
    if filename.startswith(_PYTHON):
        # Packages may be installed below Python itself, the reference among them.
        return "site-packages" not in filename and "dist-packages" not in filename
    return filename.startswith((_TORCH, _OBSERVATION, "<"))
