"""Other correct ways to compute the reference of ex19_sampling, which round differently."""

import torch


class penalty_as_a_factor:
    """every logit has a factor in its dtype: the penalty, its inverse, or 1"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        factor = torch.where(logits < 0, penalty, 1 / penalty).to(logits.dtype)
        return logits.scatter(1, seen_ids, (logits * factor).gather(1, seen_ids))


class inverse_of_the_temperature:
    """logits are multiplied by the inverse of the temperature, in their dtype"""

    def apply_temperature(logits, temperature):
        return logits * torch.tensor(1 / temperature, dtype=logits.dtype, device=logits.device)
