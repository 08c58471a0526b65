"""Hands out the reference's function."""

import importlib

rotate_half = importlib.import_module("minimind_ref.rope").rotate_half
