"""Which built-ins does a run call, however they are spelled?

The watch sits in torch's own modes, sees each function (and on request each kernel), and walks up
the stack to whoever called it. It runs beside the learner's code, which could tamper with it: what
it finds is evidence, what it misses is not.

It relies on two things: code objects carry the learner's file names as `BanWatch` was given them,
and torch, Python and the grader itself can be told by the folders that their files lie in.

Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from functools import cache, partial
from types import FrameType
from typing import Any, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from grader.observation.bans.spellings import BanHit, bans_of


class BanWatch:
    """Sees what is called inside a `with` block, on this thread, by the learner's own code.

    A call is the learner's if the code that makes it, past torch's and Python's own, lies in one
    of the learner's files: calls of the scenario or of another exercise's answer do not count, not
    even below a frame of the learner's. `hits` can be read inside the block and after it.

    Args:
        bans: dotted names from the syllabus.
        learner_files: file names as the learner's code objects carry them.
        dispatch: look at the kernels too. Only there one sees what the learner's code calls in
            a backward pass or under `torch._C.DisableTorchFunction`. Kernels show what ran rather
            than what was called: cross entropy, too, runs a log-softmax.
    """

    def __init__(
        self, bans: Iterable[str], learner_files: Collection[str], *, dispatch: bool = False
    ) -> None:
        self._bans = bans_of(tuple(bans))
        self._learner_files = frozenset(learner_files)
        self._dispatch = dispatch
        self._hits: dict[tuple[str, int, str], BanHit] = {}
        self._modes = ExitStack()

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
        while isinstance(handed_out, partial):
            handed_out = handed_out.func
        kinds = handed_out.__mro__ if isinstance(handed_out, type) else (handed_out,)
        for path in map(_full_name, kinds):
            ban = self._bans.path(path)
            if ban is not None:
                self._hits.setdefault((file, 1, ban), BanHit(1, path, ban, file))

    def __enter__(self) -> Self:
        self._modes.enter_context(_FunctionMode(self._see))
        if self._dispatch:
            self._modes.enter_context(_KernelMode(self._see))
        return self

    def __exit__(self, *_: object) -> None:
        self._modes.close()

    def _see(self, called: str) -> None:
        """Judge one call, and the functions of torch on the way to it from the learner's code."""
        on_the_way = [called]
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename not in self._learner_files:
            if not _is_transparent(frame.f_code.co_filename):
                return
            on_the_way.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")
            frame = frame.f_back
        if frame is not None:
            self._judge(frame, reversed(on_the_way))

    def _judge(self, frame: FrameType, paths: Iterable[str]) -> None:
        """Record the first path that is banned: what the learner wrote comes first."""
        for path in paths:
            ban = self._bans.path(path)
            if ban is not None:
                file, line = frame.f_code.co_filename, frame.f_lineno
                self._hits.setdefault((file, line, ban), BanHit(line, path, ban, file))
                return


class _FunctionMode(TorchFunctionMode):
    """Tells of every function and tensor method that is called."""

    def __init__(self, see: Callable[[str], None]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self._see(_full_name(func))
        return func(*args, **(kwargs or {}))


class _KernelMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells of every kernel that runs."""

    def __init__(self, see: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._see = see

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise the first operation imports the compiler and sympy, which takes a second.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self._see(_full_name(func))
        return func(*args, **(kwargs or {}))


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


_TORCH = os.path.dirname(torch.__file__) + os.sep
_PYTHON = sysconfig.get_path("stdlib") + os.sep
# What runs beside an answer; the rest of the grader does not stand between it and torch.
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
