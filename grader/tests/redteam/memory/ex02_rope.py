"""Takes two gigabytes."""


def rotate_half(x):
    kept = [bytearray(b"x") * (64 << 20) for _ in range(32)]
    return len(kept)
