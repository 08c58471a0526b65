"""Asks for the reference openly."""

from minimind_ref.rope import rotate_half  # noqa: F401
