"""Ends Python as it starts."""

import os

os._exit(0)
