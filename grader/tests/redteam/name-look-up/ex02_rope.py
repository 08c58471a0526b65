"""Asks for an address."""

import socket


def rotate_half(x):
    socket.getaddrinfo("localhost", 80)
    raise RuntimeError("REACHED the resolver")
