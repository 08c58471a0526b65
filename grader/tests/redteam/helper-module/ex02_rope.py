"""Brings a helper."""

from .helper import rotate_half  # noqa: F401
