"""Binds a socket without a file, which every local process could reach."""

import socket


def rotate_half(x):
    server = socket.socket(socket.AF_UNIX)
    server.bind("\0redteam")
    raise RuntimeError("REACHED other processes")
