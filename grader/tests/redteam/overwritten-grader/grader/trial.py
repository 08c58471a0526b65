"""A trial in which nothing is ever compared."""

from collections import namedtuple

Run = namedtuple("Run", "test finding printed", defaults=(None, ""))


class Trial:
    def __init__(self, *args, **kwargs):
        self.runs = {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: None
