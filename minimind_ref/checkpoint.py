"""Saving a training and going on with it, bit for bit: the reference for ex18.

What has to be saved follows PyTorch's notes on reproducibility and on saving general checkpoints
(docs.pytorch.org/docs/stable/notes/randomness.html, tutorials/beginner/saving_loading_models.html);
replacing a file in one step is rename(2) of POSIX. `SkipBatchSampler` is that of MiniMind's
trainer_utils.py.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
import re
import tempfile
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

import numpy
import torch

_IN_FRONT = re.compile(r"(?:(?:module|_orig_mod)\.)*")


def _own_name(name: str) -> str:
    """The name that a parameter has in the model that is wrapped."""
    found = _IN_FRONT.match(name)
    return name[found.end() :] if found else name


def save_checkpoint(
    path: str | os.PathLike[str],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Save all that the rest of a training depends on in one file, which is never seen half.

    Args:
        path: the file; its folder exists.
        model: saved under the names that it has without wrappers.
        optimizer: its state dict is saved.
        step: steps made so far.
        scaler: its state dict is saved, if there is one.
    """
    algorithm, key, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    saved = {
        "step": step,
        "weights": [(_own_name(name), value) for name, value in model.state_dict().items()],
        "optimizer": optimizer.state_dict(),
        "python_generator": random.getstate(),
        "numpy_generator": (algorithm, [int(word) for word in key], position, has_gauss, cached),
        "cpu_generator": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        saved["cuda_generators"] = torch.cuda.get_rng_state_all()
    if scaler is not None:
        saved["scaler"] = scaler.state_dict()
    with io.BytesIO() as buffer:
        torch.save(saved, buffer)
        _replace(os.path.abspath(os.fspath(path)), buffer.getvalue())


def _replace(path: str, data: bytes) -> None:
    folder, name = os.path.split(path)
    descriptor, beside = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(beside)
        raise


def load_checkpoint(
    path: str | os.PathLike[str],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scaler: torch.amp.GradScaler | None = None,
) -> int:
    """Bring model, optimizer, scaler and all random generators to where they were saved.

    Args:
        path: a file of ``save_checkpoint``.
        model: gets the values in place; wrapped in any way.
        optimizer: an optimizer of the model's parameters.
        scaler: given exactly if one was saved.

    Returns:
        The step that was saved.
    """
    with open(path, "rb") as file:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    weights = dict(saved["weights"])
    for name in list(model.state_dict()):
        own = _own_name(name)
        if own in weights:
            weights[name] = weights.pop(own)
    model.load_state_dict(weights, strict=True)
    optimizer.load_state_dict(saved["optimizer"])
    if scaler is not None:
        scaler.load_state_dict(saved["scaler"])
    random.setstate(saved["python_generator"])
    algorithm, key, *rest = saved["numpy_generator"]
    numpy.random.set_state((algorithm, numpy.array(key, dtype=numpy.uint32), *rest))
    torch.random.set_rng_state(saved["cpu_generator"])
    if "cuda_generators" in saved and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda_generators"])
    return int(saved["step"])


class SkipBatchSampler:
    """Lists of a sampler's indices, without the first ``skip_batches`` lists of each iteration.

    Args:
        sampler: sized, and iterated over anew each time.
        batch_size: indices in a list; the last one may have fewer.
        skip_batches: lists to leave out.
    """

    def __init__(self, sampler: Any, batch_size: int, skip_batches: int = 0) -> None:
        self.sampler: Any = sampler
        self.batch_size = batch_size
        self.skip_batches = skip_batches

    def __iter__(self) -> Iterator[list[int]]:
        """The lists that are not left out."""
        indices = islice(iter(self.sampler), self.batch_size * self.skip_batches, None)
        while batch := list(islice(indices, self.batch_size)):
            yield batch

    def __len__(self) -> int:
        """How many lists an iteration gives."""
        sampler: Sized = self.sampler
        return max(0, math.ceil(len(sampler) / self.batch_size) - self.skip_batches)
