"""Other correct ways to compute the reference of ex11_model, which round differently."""

import torch


class wide_angles:
    """the tables are computed from float64 angles and rounded once"""

    def precompute_freqs_cis(dim, end, rope_base):
        exponents = torch.arange(0, dim, 2, dtype=torch.float64) / dim
        angles = torch.arange(end, dtype=torch.float64)[:, None] * rope_base**-exponents
        angles = torch.cat((angles, angles), dim=1)
        dtype = torch.get_default_dtype()
        return angles.cos().to(dtype), angles.sin().to(dtype)


class cross_entropy_of_torch:
    """torch's own cross-entropy"""

    def _next_token_loss(logits, labels):
        wide = logits[:, :-1].to(torch.promote_types(logits.dtype, torch.float32))
        targets = labels[:, 1:].flatten()
        total = torch.nn.functional.cross_entropy(wide.flatten(0, 1), targets, reduction="sum")
        return total / (targets != -100).sum().clamp(min=1)
