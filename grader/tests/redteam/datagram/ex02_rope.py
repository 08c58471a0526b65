"""Sends a packet that needs no connection."""

import socket


def rotate_half(x):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"what I saw", ("127.0.0.1", 9))
    raise RuntimeError("REACHED the network")
