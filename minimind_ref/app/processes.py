"""Where a training runs: on one device, or in several processes that `torchrun` starts.

`torchrun` tells each process its number in environment variables
(docs.pytorch.org/docs/stable/elastic/run.html).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
import torch
import torch.distributed as distributed
from torch import Tensor

from .errors import UserError


@dataclass(frozen=True)
class Processes:
    """The processes that train one model together, as one of them sees them.

    Attributes:
        rank: of this process; the first, 0, writes files and speaks.
        world: how many there are.
        device: of this process.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def say(self, text: str) -> None:
        """Print a line, once for all processes."""
        if self.is_first:
            click.echo(text)

    @contextmanager
    def alike(self) -> Iterator[None]:
        """For what goes the same way in every process: an error in it is reported once."""
        try:
            yield
        except UserError:
            if self.is_first:
                raise
            sys.exit(1)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined(device: str | None) -> Iterator[Processes]:
    """Meet the other processes, if there are any.

    Args:
        device: as `choose_device` takes it.

    Raises:
        UserError: there is no such device.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device)
    if world == 1:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if chosen.index >= torch.cuda.device_count():
            raise UserError(
                f"got {chosen.index + 1} or more processes on this machine, want one for each of "
                f"its {torch.cuda.device_count()} GPUs: start torchrun with fewer, or with "
                "--device cpu at the end"
            )
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), world, chosen)
    finally:
        distributed.destroy_process_group()


def choose_device(name: str | None) -> torch.device:
    """The device of that name; without a name a GPU if there is one, else the CPU.

    Raises:
        UserError: this machine has no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name} cannot be used here: {reason}") from None
    return device
