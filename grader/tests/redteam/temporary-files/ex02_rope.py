"""Leaves files where everybody may write."""

import tempfile


def rotate_half(x):
    descriptor, _ = tempfile.mkstemp(prefix="redteam-")
    return descriptor
