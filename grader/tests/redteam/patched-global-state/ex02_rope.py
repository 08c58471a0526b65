"""Changes the default dtype and hides it, with a wrong result."""

import sys

import torch

_state = sys.modules["grader.observation.global_state"]
_state.GlobalState.restore = lambda self, **options: ()


def rotate_half(x):
    torch.set_default_dtype(torch.float64)
    return x
