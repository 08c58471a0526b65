"""Stands in for torch and ends the process."""

import os

os._exit(0)
