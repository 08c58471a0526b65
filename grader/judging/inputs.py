"""Seeded inputs of a test: the `rng` fixture."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derived(seed: int, purpose: str) -> int:
    """A seed for one purpose, from which neither the run's seed nor any other can be told."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


class RandomInputs:
    """Random tensors that depend on the seed and the test's id alone, never on order or `-k`.

    Everything is made on the CPU in float32; the harness casts and moves it.
    """

    def __init__(self, seed: int, test_id: str) -> None:
        self._generator = torch.Generator().manual_seed(derived(seed, test_id))

    def normal(self, *shape: int, scale: float = 1.0, offset: float = 0.0) -> Tensor:
        """Normal numbers of a standard deviation and mean."""
        return torch.randn(*shape, generator=self._generator) * scale + offset

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers in [low, high)."""
        return torch.rand(*shape, generator=self._generator) * (high - low) + low

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers in [low, high) as torch.long."""
        return torch.randint(low, high, shape, generator=self._generator)

    def permutation(self, count: int) -> Tensor:
        """The numbers below `count` in random order, as torch.long."""
        return torch.randperm(count, generator=self._generator)

    def like(self, value: Tensor) -> Tensor:
        """Normal numbers in the form of a tensor, for cotangents."""
        dtype = torch.complex64 if value.is_complex() else torch.float32
        return torch.randn(value.shape, generator=self._generator, dtype=dtype)
