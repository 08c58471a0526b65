"""Takes two gigabytes in a file that is only memory."""

import mmap
import os


def rotate_half(x):
    descriptor = os.memfd_create("hidden")
    os.ftruncate(descriptor, 2 << 30)
    kept = mmap.mmap(descriptor, 2 << 30)
    for place in range(0, 2 << 30, 4096):
        kept[place] = 1
    return len(kept)
