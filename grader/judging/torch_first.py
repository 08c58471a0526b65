"""Imports torch as fast as it can be; whoever runs tests imports this module before any other.

With the garbage collector off, torch's import takes two thirds of the time; with one thread, two
runs side by side do not wait for each other's barriers. Both must be set before torch is there.
"""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
gc.disable()
import torch  # noqa: E402, F401

gc.freeze()
gc.enable()
