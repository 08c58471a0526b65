"""The syntax tree of an answer's text, made once for all in the judge who look at it."""

from __future__ import annotations

import ast
import gc
from functools import lru_cache

# Python 3.11 searches a formatted string from its beginning for each expression in it.
_MOST_BRACES = 5_000


class UnreadableSource(ValueError):
    """The source nests too deeply or is too tangled to be read: nothing can be said about it."""


def too_tangled() -> UnreadableSource:
    return UnreadableSource(
        "this file is too tangled to be checked for what the exercise forbids: "
        "write it with fewer braces and fewer star imports"
    )


@lru_cache(maxsize=1)
def parsed(text: str) -> ast.Module | None:
    """The tree of a text, which nobody may change; None where it is no Python.

    Raises UnreadableSource, RecursionError or MemoryError for text that only takes up time.
    """
    if text.count("{") > _MOST_BRACES:
        raise too_tangled()
    collects = gc.isenabled()
    gc.disable()  # a hundred thousand nodes are made, and none of them is garbage yet
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):  # ValueError: null bytes
        return None
    finally:
        if collects:
            gc.enable()
