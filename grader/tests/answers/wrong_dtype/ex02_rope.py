"""The complex form's result is not cast back."""

import torch


def apply_rotary_complex(x, pos_cis):
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * pos_cis[:, None, :]).flatten(3)
