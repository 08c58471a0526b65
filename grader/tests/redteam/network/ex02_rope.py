"""Listens and calls itself, as it could call anybody."""

import socket


def rotate_half(x):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), timeout=5):
            raise RuntimeError("REACHED the network")
