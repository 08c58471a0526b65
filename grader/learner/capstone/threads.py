"""How the threads of a training wait for each other; imported before torch, which reads it once."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Have threads that wait sleep at once instead of spinning, unless somebody chose otherwise.

    Spinning saves some hundredths of the time where nobody else computes. Beside one busy process
    on two processors it takes the time of the thread that is waited for, and a step takes four
    times as long. Only for GNU's and LLVM's OpenMP, which is what torch has on Linux and macOS.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
