"""Wrong; a pytest.ini comes with it."""


def rotate_half(x):
    return x
