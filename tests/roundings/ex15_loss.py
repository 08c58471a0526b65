"""Other correct ways to compute the reference of ex15_loss, which round differently."""

import torch


class chunks_as_graphs_of_their_own:
    """each chunk's gradient is rounded to its argument's dtype and added up there, as autograd
    does"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        following, counted = _following(labels, ignore_index)
        pieces = [x.split(chunk_size, dim=1) for x in (hidden[:, :-1], following, counted)]
        summed = sum(_summed(h @ weight.T, f, c) for h, f, c in zip(*pieces, strict=True))
        return summed / _divisor(counted)


class chunks_widened_first:
    """factors are widened, and each chunk's gradient is rounded to its argument's dtype"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        following, counted = _following(labels, ignore_index)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        pieces = [x.split(chunk_size, dim=1) for x in (hidden[:, :-1], following, counted)]
        summed = sum(
            _summed(h.to(wide) @ weight.to(wide).T, f, c) for h, f, c in zip(*pieces, strict=True)
        )
        return summed / _divisor(counted)
