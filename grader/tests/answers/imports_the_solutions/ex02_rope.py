"""The solution's function under the answer's name."""

from solutions.ex02_rope import rotate_half  # noqa: F401
