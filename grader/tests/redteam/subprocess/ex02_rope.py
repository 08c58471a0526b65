"""Starts a program in a session of its own."""

import subprocess


def rotate_half(x):
    subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    return x
