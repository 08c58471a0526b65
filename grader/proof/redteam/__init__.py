"""Attacks on the grader, and what they come to."""
