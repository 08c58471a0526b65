"""Runs the byte code of the reference."""

import marshal
import os
import sys
import types


def rotate_half(x):
    tag = sys.implementation.cache_tag
    path = os.path.join(os.getcwd(), "minimind_ref", "__pycache__", f"rope.{tag}.pyc")
    with open(path, "rb") as file:
        code = marshal.loads(file.read()[16:])
    names = {"__name__": "minimind_ref.rope", "__package__": "minimind_ref"}
    exec(code, names, names)
    return types.SimpleNamespace(**names).rotate_half(x)
