"""Hands out the solution's functions."""

import importlib

globals().update(vars(importlib.import_module("solutions.ex02_rope")))
