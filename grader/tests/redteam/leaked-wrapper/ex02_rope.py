"""Lets a tensor escape from torch.func, where it is only valid inside."""

import torch

_leaked = []


def _keep(x):
    _leaked.append(x)
    return x.sum()


def rotate_half(x):
    torch.func.grad(_keep)(x.detach())
    return _leaked[0]
