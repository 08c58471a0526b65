"""What a user can put right: a command then ends with one sentence and exit code 1."""

from __future__ import annotations


class UserError(Exception):
    """A sentence that says what was wrong, what was wanted and what to do next."""
