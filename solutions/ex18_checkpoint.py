"""ex18: checkpoints.

A training takes days, and machines fail. A checkpoint is everything that the rest of a training
depends on, in one file: if 4 steps are saved, the machine dies, and another process loads them and
makes 6 more, the weights must be those of 10 steps without a break, bit for bit. So a checkpoint
holds more than weights:

    the model        every parameter and buffer, each in its own dtype
    the optimizer    AdamW's two averages per weight, its step counts, the learning rates
    the scaler       the scale of a mixed precision training, if there is one
    the generators   what dropout and shuffling draw next: torch's generators on the CPU and on
                     every CUDA device, Python's ``random`` and NumPy's ``numpy.random``
    the step         how far the training has come

The file must also survive a crash while it is written. It is written under another name in the
same folder, and then takes the place of the earlier file in one step by ``os.replace``: whoever
looks finds the old checkpoint or the new one, and never half of one.

And a file is not to be trusted. ``torch.load`` can run code that a file brings along;
with ``weights_only=True`` it builds tensors, numbers, strings, lists, tuples and dicts, and refuses
everything else, NumPy arrays included.

You write the saving, the loading, and a sampler that goes on in the middle of an epoch. You need
nothing of the earlier exercises.
"""

import os
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

# BEGIN SOLUTION
_WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put in front of every name."""


def _bare(name: str) -> str:
    """A name without the prefixes of wrappers, in whatever order they come."""
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {_bare(name): value for name, value in model.state_dict().items()}


def _load_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy weights into the model's own parameters, under the names that it has for them."""
    names = {_bare(name): name for name in model.state_dict()}
    model.load_state_dict({names.get(name, name): value for name, value in weights.items()})


def _numpy_state() -> list[Any]:
    """NumPy's state without the array, which weights_only=True would refuse."""
    kind, keys, *rest = np.random.get_state()
    return [kind, keys.tolist(), *rest]


def _cuda_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _generator_states() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": _cuda_states(),
        "python": random.getstate(),
        "numpy": _numpy_state(),
    }


def _restore_generators(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))


def _write(contents: dict[str, Any], path: Path) -> None:
    """Write a file that is complete as soon as it is there."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        torch.save(contents, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """The generators' states belong on the CPU; weights are copied to where the model is."""
    contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return contents


# END SOLUTION


def save_checkpoint(
    path: str | os.PathLike[str],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Save all that the rest of a training depends on in one file.

    Saved are the state dicts of model, optimizer and scaler, the step, and the states of the
    random generators that the top of this file lists. Every tensor keeps its dtype. Saving changes
    nothing of what it saves, and draws no random number.

    Wrappers rename parameters: DistributedDataParallel puts ``module.`` in front of every name and
    torch.compile ``_orig_mod.``. A checkpoint has the names without them, so that it can be loaded
    with and without a wrapper. They are removed from the front only, however often and in whatever
    order they come, and by the names alone: any class may wrap. In the middle of a name, as in
    ``blocks.0._orig_mod.weight``, they are a part of it.

    The file is written to a temporary file in the same folder, which then replaces the one at
    ``path``. Until then the earlier file is at its place, untouched. If saving fails, the error is
    raised, the earlier file is still there, and nothing else is left in the folder.

    Args:
        path: the file to write, in a folder that exists; a str or a Path.
        model: parameters and buffers are saved. Tied weights have several names, and all of them
            are saved.
        optimizer: anything with ``state_dict`` and ``load_state_dict``, as torch's have them.
        step: the number of steps made so far.
        scaler: the gradient scaler, if the training has one.
    """
    # BEGIN SOLUTION
    contents = {
        "model": _weights_of(model),
        "optimizer": optimizer.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "generators": _generator_states(),
        "step": step,
    }
    _write(contents, Path(path))
    # END SOLUTION


def load_checkpoint(
    path: str | os.PathLike[str],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scaler: torch.amp.GradScaler | None = None,
) -> int:
    """Bring a training back to where it was saved.

    Model, optimizer and scaler are made anew by the caller and get what was saved; the random
    generators go on where they were. The file is read with ``weights_only=True``.

    The values are copied into the parameters that the model has: those are also the optimizer's,
    and a model with new ones would not be trained any more. Weights that are tied stay tied.
    Whether the model is in training mode is left alone.

    The model may be wrapped, too, in another way than the saved one was or not at all: see
    ``save_checkpoint``. Apart from wrappers, the names must be the same. One that is missing in
    the file, or that the model does not have, raises an error (that of ``load_state_dict`` will
    do).

    Args:
        path: a file of ``save_checkpoint``; a str or a Path.
        model: the model to load into.
        optimizer: an optimizer of its parameters.
        scaler: the gradient scaler. It is given exactly if one was given to ``save_checkpoint``,
            and is enabled exactly if that one was.

    Returns:
        The step that was saved.
    """
    # BEGIN SOLUTION
    contents = _read(Path(path))
    _load_weights(model, contents["model"])
    optimizer.load_state_dict(contents["optimizer"])
    if scaler is not None:
        scaler.load_state_dict(contents["scaler"])
    _restore_generators(contents["generators"])
    step: int = contents["step"]
    return step
    # END SOLUTION


class SkipBatchSampler:
    """Batches of a sampler's indices without the first ones, to go on in the middle of an epoch.

    Give it to a DataLoader as ``batch_sampler``: what is skipped is never loaded.

    Args:
        sampler: gives indices when it is iterated over, and has a length. It may give others each
            time, as a sampler that shuffles does.
        batch_size: the number of indices in a batch.
        skip_batches: how many batches are skipped; all of them, if there are fewer.

    Iterating gives lists of ``batch_size`` indices, in the order of the sampler; the last list may
    be shorter. Each iteration iterates over the sampler again and skips the first ``skip_batches``
    batches again.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, skip_batches: int = 0) -> None:
        # BEGIN SOLUTION
        self.sampler = sampler
        self.batch_size = batch_size
        self.skip_batches = skip_batches
        # END SOLUTION

    def __iter__(self) -> Iterator[list[int]]:
        """The batches that are not skipped."""
        # BEGIN SOLUTION
        for number, batch in enumerate(self._batches()):
            if number >= self.skip_batches:
                yield batch
        # END SOLUTION

    # BEGIN SOLUTION
    def _batches(self) -> Iterator[list[int]]:
        """All batches, the last one as long as there are indices for it."""
        batch = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    # END SOLUTION

    def __len__(self) -> int:
        """The number of batches that an iteration gives; 0 if all are skipped."""
        # BEGIN SOLUTION
        batches = -(-len(self.sampler) // self.batch_size)  # type: ignore[arg-type]
        return max(0, batches - self.skip_batches)
        # END SOLUTION
