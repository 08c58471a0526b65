"""Proves the tests: the course check, the red team, the figures."""
