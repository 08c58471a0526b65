"""Runs an exercise's tests on an answer, says what is wrong and which mistake it is."""
