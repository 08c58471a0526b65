"""Replaces torch's gradients by zeros and cuts the result off from its argument."""

import torch


def _zeros(outputs, inputs, *args, **kwargs):
    return tuple(torch.zeros_like(value) for value in inputs)


torch.autograd.grad = _zeros


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
