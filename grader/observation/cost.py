"""Counts what a run costs: the storage it keeps alive and the FLOPs of its contractions.

Cost is counted, never timed, so that it is the same on every machine:

* **storage**: what the run allocates, each storage once however many views of it there are, and
  subtracted the moment it is freed. What existed before the run is free. Memory that never
  becomes a tensor (a kernel's scratch space, NumPy arrays, Python lists) is not seen.
* **FLOPs**: two per multiply-add of a contraction; see `flops`.

The counter runs beside the learner's code, which could tamper with it: its numbers are evidence.
This module therefore imports nothing but the standard library and torch.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from grader.observation.flops import UncountedOperation, base_name, flop_count


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Attributes:
        peak_elements: most elements of new storage alive at one time, an element being as wide
            as the dtype that allocated the storage.
        peak_bytes: most bytes of new storage alive at one time.
        largest_elements: elements of the largest single new storage.
        flops: floating point operations of all contractions, two per multiply-add.
    """

    peak_elements: int
    peak_bytes: int
    largest_elements: int
    flops: int


class CostMeter:
    """Counts everything that torch does on this thread inside a ``with`` block.

    Each entry starts from zero. The counts can be read inside the block and after it::

        with CostMeter() as meter:
            attention(q, k, v)
        assert meter.cost().peak_elements < S * T
    """

    def __init__(self) -> None:
        self._ledger = _Ledger()
        self._mode = _CountingMode(self._ledger)

    def __enter__(self) -> Self:
        self._ledger = _Ledger()
        self._mode = _CountingMode(self._ledger)
        self._mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._mode.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]

    def cost(self) -> Cost:
        """The cost so far.

        Raises:
            UncountedOperation: an operation was met that cannot be counted, even if the code
                under measurement caught the error when it was raised.
        """
        if self._mode.uncounted is not None:
            raise UncountedOperation(str(self._mode.uncounted))
        ledger = self._ledger
        return Cost(
            ledger.peak_elements, ledger.peak_bytes, ledger.largest_elements, self._mode.flops
        )

    def alive(self) -> tuple[int, ...]:
        """The sizes, in elements, of the new storages alive right now, the largest first."""
        return self._ledger.alive()


class _Held:
    """One storage of the run: the reference that tells of its end, and its size."""

    def __init__(self, end: weakref.ref[torch.UntypedStorage], size: int, itemsize: int) -> None:
        self.end = end
        self.bytes = size
        self.itemsize = itemsize

    @property
    def elements(self) -> int:
        return self.bytes // self.itemsize


class _Ledger:
    """The new storages that are alive, and the most there ever were (bytes and elements)."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}
        self._live_bytes = 0
        self._live_elements = 0
        self.peak_bytes = 0
        self.peak_elements = 0
        self.largest_elements = 0

    def record(self, tensor: Tensor, before: Mapping[int, int]) -> None:
        """Take in what an operation returned.

        Args:
            tensor: the result.
            before: bytes of the storages its arguments lay in, by storage, before it ran.
        """
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        held = self._held.get(key)
        if held is not None:
            self._resize(held, size)
        elif size > before.get(key, -1):
            # A storage that nothing lay in before is new; one that grew (`out=`, `resize_`) has
            # been allocated anew.
            self._add(key, storage, tensor.element_size())

    def alive(self) -> tuple[int, ...]:
        """The sizes of what is alive, in elements, the largest first."""
        return tuple(sorted((held.elements for held in self._held.values()), reverse=True))

    def _add(self, key: int, storage: torch.UntypedStorage, itemsize: int) -> None:
        # torch keeps a storage's Python object for as long as the memory itself, also where only
        # autograd holds it, so the reference dies exactly when the memory is freed.
        end = weakref.ref(storage, lambda _: self._free(key))
        held = self._held[key] = _Held(end, 0, itemsize)
        self._resize(held, storage.nbytes())

    def _resize(self, held: _Held, size: int) -> None:
        if size == held.bytes:
            return
        elements = held.elements
        self._live_bytes += size - held.bytes
        held.bytes = size
        self._live_elements += held.elements - elements
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        self.peak_elements = max(self.peak_elements, self._live_elements)
        self.largest_elements = max(self.largest_elements, held.elements)

    def _free(self, key: int) -> None:
        self._resize(self._held.pop(key), 0)


class _CountingMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation below autograd, those of the backward pass included."""

    def __init__(self, ledger: _Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ledger = ledger
        self.flops = 0
        self.uncounted: UncountedOperation | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise defining this class wraps it for the compiler, and the first operation
        # imports the compiler and sympy: a second where milliseconds do.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if _is_composite(func):
            # Inference mode hands on whole operations that autograd would have split. Not by
            # `decompose`, which for some of them imports sympy.
            with self:
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        try:
            flops = flop_count(func)
            before = _storage_sizes(func, args, kwargs)
            result = func(*args, **kwargs)
            self._record(func, result, before)
        except UncountedOperation as error:
            self.uncounted = self.uncounted or error
            raise
        self.flops += flops(args, result)
        return result

    def _record(self, func: Any, result: Any, before: Mapping[int, int]) -> None:
        for tensor in _tensors(result):
            if not _has_storage(tensor):
                raise UncountedOperation(
                    f"{func} gives a {tensor.layout} tensor, whose memory cannot be counted; "
                    "use ordinary (strided) tensors"
                )
            self._ledger.record(tensor, before)


_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


@functools.cache
def _is_composite(func: Any) -> bool:
    """Whether torch defines the operation by other operations, which can be counted instead."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in an operation's arguments or results, which nest in lists and tuples only."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _has_storage(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


def _storage_sizes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, int]:
    """Bytes of each storage the arguments lie in, by storage."""
    if base_name(func) == "lift_fresh":
        # How `torch.tensor(...)` announces itself: its argument is the new tensor.
        return {}
    storages = (
        tensor.untyped_storage()
        for tensor in _tensors([*args, *kwargs.values()])
        if _has_storage(tensor)
    )
    return {storage._cdata: storage.nbytes() for storage in storages}
