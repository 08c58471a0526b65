"""Tests that any answer passes."""


def test_rotate_half_is_a_quarter_turn_of_every_pair():
    """It is."""
