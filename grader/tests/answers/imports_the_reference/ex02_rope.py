"""The reference's function under the answer's name."""

from minimind_ref.rope import rotate_half  # noqa: F401
