"""Bringing a clone up to date without touching a learner's work."""
