"""Stands in for random and ends the process."""

import os

os._exit(0)
