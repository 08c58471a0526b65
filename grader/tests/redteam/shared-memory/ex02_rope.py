"""Takes two gigabytes of shared memory."""

import mmap


def rotate_half(x):
    kept = mmap.mmap(-1, 2 << 30)
    for place in range(0, len(kept), 4096):
        kept[place] = 1
    return len(kept)
