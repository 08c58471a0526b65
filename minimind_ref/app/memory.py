"""How the C library's memory is kept between steps, and how much of it a computation takes."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable

import torch

# From malloc.h of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 2**30


def keep_freed_memory() -> None:
    """Let the process keep what it frees, in pieces of up to a gigabyte.

    By default, glibc gives large tensors back to the system at once, and a new one is then cleared
    page by page: in a training step on a CPU that took half the time of all elementwise operations.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _KEPT)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """The most memory that tensors made by a computation take at a time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    results = profiled.profiler.kineto_results if profiled.profiler else None
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in (results.events() if results else ())
        if event.name() == "[memory]"
    )
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
