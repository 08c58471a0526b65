"""Writes where files cost memory."""


def rotate_half(x):
    with open("/dev/shm/redteam-left-behind", "wb") as file:
        file.write(bytes(1 << 20))
    return x
