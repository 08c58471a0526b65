"""Loads the course's pytest plugin."""

pytest_plugins = ("grader.plugin",)
