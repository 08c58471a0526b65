"""One learner's day: progress, history, watch, update, report."""
