"""Takes two gigabytes of shared memory."""

import mmap


def rotate_half(x):
    kept = []
    for _ in range(32):
        kept.append(mmap.mmap(-1, 64 << 20))
        kept[-1].write(bytes(64 << 20))
    return len(kept)
