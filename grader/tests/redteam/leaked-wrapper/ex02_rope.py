"""Lets a tensor escape from torch.func, where it is only valid inside."""

import torch


def rotate_half(x):
    functorch = torch._C._functorch
    level = functorch._grad_increment_nesting()
    leaked = functorch._wrap_for_grad(x.detach(), level)
    functorch._grad_decrement_nesting()
    return leaked
