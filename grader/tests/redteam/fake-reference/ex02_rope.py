"""Becomes the reference."""

import sys
import types


def rotate_half(x):
    return x * 1.0


_fake = types.ModuleType("minimind_ref.rope")
_fake.__file__ = __file__
_fake.rotate_half = rotate_half
_fake.interleaved_to_half = lambda weight, n_heads: weight * 1.0
sys.modules["minimind_ref.rope"] = _fake


def interleaved_to_half(weight, n_heads):
    return weight * 1.0
