"""A table of one row is broadcast in silence."""

import torch


def apply_rotary_complex(x, pos_cis):
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * pos_cis[:, None, :][: x.shape[1]]).flatten(3).to(x.dtype)
