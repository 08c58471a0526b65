"""An expected failure is none."""


def rotate_half(x):
    import pytest

    pytest.xfail("as expected")
