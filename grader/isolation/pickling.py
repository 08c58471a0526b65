"""What the judge sends to a worker, as bytes; nothing ever comes back this way."""

from __future__ import annotations

import io
import os
from types import CodeType, ModuleType
from typing import Any

import cloudpickle
import torch
from torch import Tensor

from grader.isolation.worker import code_of, tensor_of


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Cloudpickle, but for two things.

    An ordinary tensor goes as its bytes: torch's own way takes ten times as long. Ordinary is all
    that a copy of the bytes can bring back; strides and a graph it cannot.

    Code keeps the name of its file, without the folder, which is nobody's business. Some versions
    of cloudpickle drop it, and what code without a file calls counts as called by the answer.
    """

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, CodeType):
            _, arguments = self.dispatch_table[CodeType](value)
            return code_of, (os.path.basename(value.co_filename), arguments)
        ordinary = type(value) is Tensor and value.layout is torch.strided
        if ordinary and value.device.type == "cpu" and value.is_contiguous() and value.numel():
            if not (value.requires_grad or value.is_conj() or value.is_neg()):
                flat = value.reshape(-1).view(torch.uint8)
                return tensor_of, (flat.numpy().tobytes(), value.dtype, tuple(value.shape))
        return super().reducer_override(value)


def pickled(value: object) -> bytes:
    """A value as bytes for a worker, scenarios included."""
    with io.BytesIO() as into:
        _Pickler(into).dump(value)
        return into.getvalue()


def register_by_value(module: ModuleType) -> None:
    """Ship a test module's functions with the scenario instead of naming the module."""
    cloudpickle.register_pickle_by_value(module)
