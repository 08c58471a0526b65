"""Makes a file with a hole."""

import os


def rotate_half(x):
    path = os.path.join(os.environ.get("HOME", "/tmp"), "redteam-sparse")
    with open(path, "wb") as file:
        file.truncate(100 << 20)
    return x
