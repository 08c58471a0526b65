"""Runs, scores and reports the course: collect, run, score, report."""
