"""Leaves nothing as it was."""

import builtins
import os
import random
import sys

import torch


def rotate_half(x):
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    os.environ["OMP_NUM_THREADS"] = "64"
    sys.path.insert(0, "/nowhere")
    sys.setrecursionlimit(200)
    builtins.print = builtins.len
    torch.cat = None
    return x
