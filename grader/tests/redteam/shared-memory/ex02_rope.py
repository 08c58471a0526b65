"""Takes one and a half gigabytes of shared memory, at once."""

import mmap

import torch


def rotate_half(x):
    kept = mmap.mmap(-1, 3 << 29)
    torch.frombuffer(kept, dtype=torch.uint8)[::4096] = 1
    return len(kept)
