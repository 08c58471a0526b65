"""What every turn goes through breaks, in the same way whoever asks."""


def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    return _turned(q, cos, sin), _turned(k, cos, sin)


def _turned(x, cos, sin):
    first, second = x.chunk(1, dim=-1)
    return x
