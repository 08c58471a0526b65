"""The experiments as a learner sees them: run, told in words, and drawn."""
