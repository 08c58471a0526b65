"""A learner's report: a page, pictures, files for other programs."""
