"""Not handed in: an answer is one file."""

import torch


def joined(first, second):
    return torch.cat((first, second), dim=-1)
