"""Takes two gigabytes."""


def rotate_half(x):
    kept = bytearray(2 << 30)
    for place in range(0, len(kept), 4096):
        kept[place] = 1
    return len(kept)
