"""Other correct ways to compute the reference of ex17_train_step, which round differently."""

import torch


class no_safety_term:
    """clipping divides by the norm itself, without 1e-6"""

    def clip_grad_norm_(parameters, max_norm):
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for gradient in gradients:
            gradient.mul_((max_norm / norm).clamp(max=1.0))
        return norm
